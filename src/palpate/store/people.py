"""What people read in answers: append-only like everything in the ledger. A person's later reading of an answer is a new row."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from palpate.nouns import Outcome
from palpate.store.ledger import Ledger

HumanReading = tuple[int, str, Outcome, str]
"""(row of the response, the annotator's alias, what the answer says, the stratum it was drawn from)."""


class People:
    """The readings that people gave, and the answers they can be asked about."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def read_answers(self, method: str) -> Iterator[tuple[int, bytes, str, str, str]]:
        """(row, key, model's digest, form, outcome) of every response read by ``method``, the last first; one row at a time."""
        models: dict[int, str] = dict(self._ledger._select("SELECT id, digest FROM model"))
        records = self._ledger._select("SELECT id, record FROM prompt")
        forms: dict[int, str] = {row: json.loads(record)["form"] for row, record in records}
        rows = self._ledger._select(
            "SELECT r.id, r.key, r.model, r.prompt, d.outcome FROM reading d CROSS JOIN response r ON r.id = d.response"
            " WHERE d.method = ? ORDER BY d.response DESC",
            (method,),
        )
        for row, key, model, prompt, outcome in rows:
            yield row, key, models[model], forms[prompt], outcome

    def texts_of(self, rows: Iterable[int]) -> Iterator[tuple[int, str, dict[str, Any], str]]:
        """(row, task, prompt's record, text) of responses by their row numbers."""
        for row in rows:
            query = "SELECT p.task, p.record, r.text FROM response r JOIN prompt p ON p.id = r.prompt WHERE r.id = ?"
            for task, prompt, text in self._ledger._select(query, (row,)):
                yield row, task, json.loads(prompt), text

    def append(self, readings: Sequence[HumanReading]) -> None:
        """Append in one transaction. Raises LedgerError."""
        with self._ledger._transaction() as db:
            db.executemany("INSERT INTO human_reading (response, annotator, outcome, stratum) VALUES (?,?,?,?)", readings)

    def by_row(self, annotator: str) -> dict[int, Outcome]:
        """Row of a response → that person's last reading of it."""
        if not self._ledger.has_readers:
            return {}
        rows = self._ledger._select("SELECT response, outcome FROM human_reading WHERE annotator = ? ORDER BY id", (annotator,))
        return {row: Outcome(outcome) for row, outcome in rows}

    def by_key(self) -> dict[bytes, Outcome]:
        """Trial key → what people read in its last attempt: what most of them gave, each counted once; a tie is no reading."""
        if not self._ledger.has_readers:
            return {}
        rows = self._ledger._select(
            "SELECT r.key, h.annotator, h.outcome FROM human_reading h JOIN response r ON r.id = h.response"
            " WHERE r.attempt = (SELECT max(attempt) FROM response WHERE key = r.key) ORDER BY h.id"
        )
        last: dict[bytes, dict[str, str]] = {}
        for key, annotator, outcome in rows:
            last.setdefault(key, {})[annotator] = outcome
        found = ((key, _most(given.values())) for key, given in last.items())
        return {key: Outcome(outcome) for key, outcome in found if outcome is not None}

    def annotators(self) -> list[str]:
        """Everyone who read an answer, by alias."""
        rows = (
            self._ledger._select("SELECT DISTINCT annotator FROM human_reading ORDER BY annotator")
            if self._ledger.has_readers
            else ()
        )
        return [alias for (alias,) in rows]


def _most(outcomes: Iterable[str]) -> str | None:
    (first, n), *others = Counter(outcomes).most_common(2)
    return None if others and others[0][1] == n else first
