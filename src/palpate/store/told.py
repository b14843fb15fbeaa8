"""What models said in words, and how it was read, for the keys asked about: descriptions, which no other table holds as texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from palpate.nouns import OUTCOME_CODE, Outcome, Status
from palpate.store.ledger import Ledger

AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Told:
    """The last attempt at one trial. ``text`` None: it was never asked, failed, was blocked, or has nothing to read.

    ``read``: under the name of each reading, its code into OUTCOMES.
    """

    text: str | None = None
    read: Mapping[str, int] = field(default_factory=dict)


def told(ledger: Ledger, keys: Sequence[bytes]) -> Iterator[Told]:
    """What was said to each of the trials, in order."""
    for start in range(0, len(keys), AT_ONCE):
        batch = list(keys[start : start + AT_ONCE])
        found: dict[bytes, tuple[int, str | None]] = {}
        for key, row, status, text in ledger._select(_RESPONSES.format(marks=_marks(batch)), batch):
            found[key] = row, text if status in (Status.OK, Status.TRUNCATED) and text.strip() else None
        rows = [row for row, _ in found.values()]
        read: dict[int, dict[str, int]] = {row: {} for row in rows}
        for row, by, outcome in ledger._select(_READINGS.format(marks=_marks(rows)), rows):
            read[row][by] = OUTCOME_CODE[Outcome(outcome)]
        for key in batch:
            there = found.get(key)
            yield Told() if there is None else Told(there[1], read[there[0]])


_RESPONSES = "SELECT key, id, status, text FROM response WHERE key IN ({marks}) ORDER BY attempt"
_READINGS = "SELECT response, method, outcome FROM reading WHERE response IN ({marks})"


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))
