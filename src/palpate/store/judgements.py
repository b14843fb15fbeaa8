"""What models said of answers: the replies behind the readings of an asking method, by the content of the question.

Append-only like everything in the ledger: a failed question is a row with its cause, asked again it is a new attempt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from palpate.nouns import Answer, Status
from palpate.store.keys import model_digest
from palpate.store.ledger import Ledger

Margins = Mapping[bytes, tuple[float | None, float | None]]
"""Key of a question → margin and mass."""
_COLUMNS = "status, text, margin, mass, tokens_in, tokens_out, seconds, error"


class Judgements:
    """The replies in a ledger. Keys are made as those of trials are; the same question to the same model is one key."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def last(self, key: str) -> tuple[int, Answer] | None:
        """(attempt, reply) of the last attempt; None where it was never asked."""
        rows = self._ledger._select(
            f"SELECT attempt, {_COLUMNS} FROM judgement WHERE key = ? ORDER BY attempt DESC LIMIT 1", (bytes.fromhex(key),)
        )
        row = next(rows, None)
        return None if row is None else (int(row[0]), Answer(Status(row[1]), *row[2:]))

    def append(self, replies: Sequence[tuple[str, int, Answer]]) -> None:
        """Append (key, attempt, reply) in one transaction. Raises LedgerError where one is there already, or the disk is full."""
        rows = [
            (bytes.fromhex(key), attempt, a.status, a.text, a.margin, a.mass, a.tokens_in, a.tokens_out, a.seconds, a.error)
            for key, attempt, a in replies
        ]
        with self._ledger._transaction() as db:
            db.executemany(f"INSERT INTO judgement (key, attempt, {_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)", rows)

    def margins(self) -> Margins:
        """Of every question the last reply's margin and mass, where the model gave them."""
        if not self._ledger.has_readers:
            return {}
        rows = self._ledger._select("SELECT key, margin, mass FROM judgement WHERE margin IS NOT NULL ORDER BY attempt")
        return {key: (margin, mass) for key, margin, mass in rows}

    def identity(self, spec: str) -> str | None:
        """Digest of what the model is that the reading described so (a digest) asks; None where it never read."""
        query = "SELECT record FROM reader WHERE spec = ? ORDER BY id DESC LIMIT 1"
        row = next(self._ledger._select(query, (spec,)), None) if self._ledger.has_readers else None
        return None if row is None else model_digest(json.loads(row[0])["identity"])

    def cases(self, rows: Sequence[int]) -> Mapping[int, tuple[int, Mapping[str, Any]]]:
        """Row of a response → the label last recorded of its case, and the case's facts."""
        found = {}
        for row in rows:
            label, facts = next(self._ledger._select(_CASE, (row,)))
            found[row] = (int(label), json.loads(facts))
        return found


_CASE = "SELECT l.label, l.facts FROM response r JOIN label l ON l.case_ = r.case_ WHERE r.id = ? ORDER BY l.id DESC LIMIT 1"
