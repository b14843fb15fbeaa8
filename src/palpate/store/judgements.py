"""What models said of answers: the replies behind the readings of an asking method, by the content of the question.

Append-only like everything in the ledger: a failed question is a row with its cause, asked again it is a new attempt.
"""

from __future__ import annotations

from collections.abc import Sequence

from palpate.nouns import Answer, Status
from palpate.store.ledger import Ledger

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
