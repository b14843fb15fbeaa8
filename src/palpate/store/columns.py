"""A ledger's answers as columns: what measures read, without the texts, and in tens of bytes an answer.

Ten million answers are 0.4 GB here. As rows of Python they would be ten times that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from palpate.nouns import OUTCOME_CODE, Status
from palpate.store.keys import KEY_BYTES

STATUS_CODE = {status: code for code, status in enumerate(Status)}
Rows = Sequence[tuple[Any, ...]]


class KeyIndex:
    """Many keys, looked up many at a time: 16 bytes a key."""

    def __init__(self, keys: NDArray[np.uint64]) -> None:
        """``keys``: (n, 2), each key's first and last eight bytes as numbers, in the order of the first."""
        self._first, self._last = keys[:, 0], keys[:, 1]

    def __len__(self) -> int:
        return len(self._first)

    def places(self, wanted: bytes) -> NDArray[np.int64]:
        """Where each of the keys, 16 bytes each one after another, stands; −1 where it does not."""
        first, last = as_numbers(wanted).T
        found = np.full(len(first), -1, dtype=np.int64)
        at = np.searchsorted(self._first, first)
        left = np.flatnonzero(at < len(self._first))
        while len(left):  # once, but where keys share their first eight bytes
            here = at[left]
            same = self._first[here] == first[left]
            hit = same & (self._last[here] == last[left])
            found[left[hit]] = here[hit]
            left = left[same & ~hit]
            at[left] += 1
            left = left[at[left] < len(self._first)]
        return found


def as_numbers(keys: bytes) -> NDArray[np.uint64]:
    """(n, 2) of n keys one after another: big-endian, so that their order as numbers is their order as bytes."""
    return np.frombuffer(keys, dtype=">u8").astype(np.uint64).reshape(-1, KEY_BYTES // 8)


def key_index(chunks: Iterable[Rows]) -> KeyIndex:
    """Of rows (key,), a key in one of them at most."""
    parts = [as_numbers(b"".join([row[0] for row in rows])) for rows in chunks]
    keys = np.concatenate(parts) if parts else np.empty((0, 2), dtype=np.uint64)
    parts.clear()
    return KeyIndex(keys[np.argsort(keys[:, 0])])


@dataclass(frozen=True, slots=True)
class AnswerTable:
    """The last attempt of every answered key, as columns in the order of the keys.

    ``status``: codes of STATUS_CODE. ``outcome``: codes of OUTCOME_CODE, −1 where there is no reading. ``margin``, ``mass``: NaN
    where there is none. ``cause``: of an error, its place in ``causes``; −1 for all else.
    """

    keys: KeyIndex
    status: NDArray[np.int8]
    outcome: NDArray[np.int8]
    margin: NDArray[np.float64]
    mass: NDArray[np.float64]
    cause: NDArray[np.int32]
    causes: tuple[str, ...]

    @property
    def error(self) -> NDArray[np.bool_]:
        """True where the last attempt failed."""
        return np.asarray(self.status == STATUS_CODE[Status.ERROR])

    def places(self, keys: Iterable[bytes]) -> NDArray[np.int64]:
        """Where each key's answer stands in the columns; −1 where it was never asked."""
        return self.keys.places(b"".join(keys))


OF_ANSWERS = "r.key, r.attempt, r.status, d.outcome, r.margin, r.mass, r.error"


def answer_table(chunks: Iterable[Rows]) -> AnswerTable:
    """Of rows OF_ANSWERS, every attempt in the order it was recorded."""
    outcomes: dict[str | None, int] = {**{str(o): code for o, code in OUTCOME_CODE.items()}, None: -1}
    statuses = {str(s): code for s, code in STATUS_CODE.items()}
    causes: dict[str, int] = {}
    parts: list[tuple[NDArray[Any], ...]] = [_columns([], outcomes, statuses, causes)]
    parts += [_columns(rows, outcomes, statuses, causes) for rows in chunks]
    keys, attempt, status, outcome, margin, mass, cause = (np.concatenate(column) for column in zip(*parts, strict=True))
    parts.clear()
    order = np.lexsort((attempt, keys[:, 1], keys[:, 0]))
    keys = keys[order]
    last = np.ones(len(keys), dtype=bool)
    last[:-1] = (keys[1:] != keys[:-1]).any(axis=1)
    order = order[last]
    taken = (status[order], outcome[order], margin[order], mass[order], cause[order])
    return AnswerTable(KeyIndex(keys[last]), *taken, tuple(causes))


def _columns(
    rows: Rows, outcomes: dict[str | None, int], statuses: dict[str, int], causes: dict[str, int]
) -> tuple[NDArray[Any], ...]:
    keys, attempt, status, outcome, margin, mass, error = zip(*rows, strict=True) if rows else ((),) * 7
    return (
        as_numbers(b"".join(keys)),
        np.array(attempt, dtype=np.int32),
        np.array([statuses[s] for s in status], dtype=np.int8),
        np.array([outcomes[o] for o in outcome], dtype=np.int8),
        np.array(margin, dtype=np.float64),  # None becomes NaN
        np.array(mass, dtype=np.float64),
        np.array(
            [causes.setdefault(e or "", len(causes)) if s == "error" else -1 for s, e in zip(status, error, strict=True)],
            dtype=np.int32,
        ),
    )


def _cause(status: str, error: str | None, causes: dict[str, int]) -> int:
    return causes.setdefault(error or "", len(causes)) if status == Status.ERROR else -1
