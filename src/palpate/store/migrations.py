"""Older ledgers brought to the present schema, a step a version, inside one transaction: all of it or nothing.

A step may add and fill columns or tables, and name trials anew; it never changes what was recorded of them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import replace

from palpate.nouns import Answer, Response, Status
from palpate.store import keys

BATCH = 10_000

READERS = """
CREATE TABLE reader (id INTEGER PRIMARY KEY, spec TEXT NOT NULL, method TEXT NOT NULL, record TEXT NOT NULL);
CREATE TABLE judgement (key BLOB NOT NULL, attempt INTEGER NOT NULL, status TEXT NOT NULL, text TEXT NOT NULL,
  margin REAL, mass REAL, tokens_in INTEGER, tokens_out INTEGER, seconds REAL, error TEXT, PRIMARY KEY (key, attempt));
CREATE TABLE human_reading (id INTEGER PRIMARY KEY, response INTEGER NOT NULL REFERENCES response,
  annotator TEXT NOT NULL, outcome TEXT NOT NULL, stratum TEXT NOT NULL);
"""
"""What reads and what people read: part of the schema from version 3 on."""


def migrate(db: sqlite3.Connection, version: int, wanted: int) -> int:
    """Take an open ledger, in a transaction, from ``version`` towards ``wanted``; returns how far there are steps."""
    while version < wanted and version in STEPS:
        STEPS[version](db)
        version += 1
        db.execute("UPDATE meta SET value=? WHERE name='schema'", (str(version),))
    return version


def _add_seals(db: sqlite3.Connection) -> None:
    """1 → 2: every response gets the digest of what was recorded of it."""
    db.execute("ALTER TABLE response ADD COLUMN seal BLOB")
    last = -1
    while rows := db.execute(
        "SELECT id, key, attempt, status, text, margin, mass, tokens_in, tokens_out, seconds, error FROM response"
        " WHERE id > ? ORDER BY id LIMIT ?",
        (last, BATCH),
    ).fetchall():
        sealed = []
        for row, key, attempt, status, *rest in rows:
            sealed.append((keys.seal(Response(key.hex(), attempt, Answer(Status(status), *rest))), row))
        db.executemany("UPDATE response SET seal=? WHERE id=?", sealed)
        last = rows[-1][0]


def _add_readers(db: sqlite3.Connection) -> None:
    """2 → 3: the tables of judges and of people's readings."""
    for statement in filter(str.strip, READERS.split(";")):
        db.execute(statement)


def _gather_keys(db: sqlite3.Connection) -> None:
    """3 → 4: keys of one model and image stand together. A row that is not whole keeps the key it has, and is found by a check."""
    last = -1
    while rows := db.execute(_WHOLE, (last, BATCH)).fetchall():
        changed = []
        for row, key, attempt, status, *said, seal, model, image, perturbation, prompt, repeat in rows:
            asked = (model, image, perturbation, prompt, repeat)
            response = Response(key.hex(), attempt, Answer(Status(status), *said))
            if None not in asked and keys.scattered_key(*asked) == response.key and keys.seal(response) == seal:
                response = replace(response, key=keys.trial_key(*asked))
                changed.append((bytes.fromhex(response.key), keys.seal(response), row))
        db.executemany("UPDATE response SET key=?, seal=? WHERE id=?", changed)
        last = rows[-1][0]


_WHOLE = (
    "SELECT r.id, r.key, r.attempt, r.status, r.text, r.margin, r.mass, r.tokens_in, r.tokens_out, r.seconds, r.error, r.seal,"
    " m.digest, c.image, v.digest, p.digest, r.repeat FROM response r"
    " LEFT JOIN model m ON m.id = r.model LEFT JOIN case_ c ON c.id = r.case_"
    " LEFT JOIN perturbation v ON v.id = r.perturbation LEFT JOIN prompt p ON p.id = r.prompt WHERE r.id > ? ORDER BY r.id LIMIT ?"
)
STEPS: Mapping[int, Callable[[sqlite3.Connection], None]] = {1: _add_seals, 2: _add_readers, 3: _gather_keys}
"""Version → the step that leads from it to the next."""
