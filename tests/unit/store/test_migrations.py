"""A ledger written under an older schema opens, keeps every row as it was, and can be written to again."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from palpate.errors import LedgerError
from palpate.nouns import Answer, Response, Status
from palpate.store import keys, migrations
from palpate.store.ledger import SCHEMA_VERSION, Ledger
from palpate.store.migrations import STEPS, migrate

KEYS = [bytes([i] * 16) for i in range(5)]
ROWS = [
    (KEYS[0], 1, "ok", "Yes", 1.5, 0.9, 10, 2, 0.25, None),
    (KEYS[1], 1, "error", "", None, None, None, None, None, "timed out"),
    (KEYS[1], 2, "ok", "", 0.0, 1.0, 3, 0, 1e-9, None),
    (KEYS[2], 1, "truncated", "Nein…\x00 🫁", -3.25, 0.125, None, None, None, None),
    (KEYS[3], 1, "blocked", "no", None, None, None, None, None, "filter"),
]
VERSION_1 = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE session (id INTEGER PRIMARY KEY, started TEXT NOT NULL, environment TEXT NOT NULL);
CREATE TABLE plan (id INTEGER PRIMARY KEY, digest TEXT NOT NULL, plan TEXT NOT NULL);
CREATE TABLE model (id INTEGER PRIMARY KEY, digest TEXT NOT NULL, name TEXT NOT NULL, identity TEXT NOT NULL,
  UNIQUE (digest, name));
CREATE TABLE environment (id INTEGER PRIMARY KEY, model INTEGER NOT NULL REFERENCES model, environment TEXT NOT NULL,
  UNIQUE (model, environment));
CREATE TABLE case_ (id INTEGER PRIMARY KEY, task TEXT NOT NULL, name TEXT NOT NULL, image TEXT NOT NULL,
  UNIQUE (task, name, image));
CREATE TABLE label (id INTEGER PRIMARY KEY, case_ INTEGER NOT NULL REFERENCES case_, label INTEGER NOT NULL,
  grp TEXT NOT NULL, facts TEXT NOT NULL);
CREATE TABLE perturbation (id INTEGER PRIMARY KEY, digest TEXT NOT NULL, name TEXT NOT NULL, severity INTEGER NOT NULL,
  UNIQUE (digest));
CREATE TABLE prompt (id INTEGER PRIMARY KEY, task TEXT NOT NULL, digest TEXT NOT NULL, record TEXT NOT NULL,
  UNIQUE (task, record));
CREATE TABLE response (id INTEGER PRIMARY KEY, key BLOB NOT NULL, attempt INTEGER NOT NULL,
  model INTEGER NOT NULL REFERENCES model, case_ INTEGER NOT NULL REFERENCES case_,
  perturbation INTEGER NOT NULL REFERENCES perturbation, prompt INTEGER NOT NULL REFERENCES prompt, repeat INTEGER NOT NULL,
  status TEXT NOT NULL, text TEXT NOT NULL, margin REAL, mass REAL, tokens_in INTEGER, tokens_out INTEGER, seconds REAL,
  error TEXT, UNIQUE (key, attempt));
CREATE TABLE reading (response INTEGER NOT NULL REFERENCES response, method TEXT NOT NULL, outcome TEXT NOT NULL,
  low INTEGER, high INTEGER, rule TEXT NOT NULL, PRIMARY KEY (response, method)) WITHOUT ROWID;
INSERT INTO meta VALUES ('schema', '1');
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.sqlite"
    with sqlite3.connect(path) as db:
        db.executescript(VERSION_1)
        db.executemany(
            "INSERT INTO response (key, attempt, model, case_, perturbation, prompt, repeat, status, text, margin, mass,"
            " tokens_in, tokens_out, seconds, error) VALUES (?,?,1,1,1,1,0,?,?,?,?,?,?,?,?)",
            ROWS,
        )
        db.execute("INSERT INTO reading VALUES (1, 'rules-1', 'positive', 0, 3, 'leading yes')")
    db.close()
    return path


def rows(path: Path) -> list[tuple[object, ...]]:
    db = sqlite3.connect(path)
    found = db.execute(
        "SELECT key, attempt, status, text, margin, mass, tokens_in, tokens_out, seconds, error FROM response ORDER BY id"
    ).fetchall()
    db.close()
    return found


def test_every_row_is_kept_and_sealed(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "BATCH", 2)
    with Ledger(old) as book:
        assert book.attempts()[KEYS[1]] == (2, False)
        assert [r.by for r in book.readings(KEYS[0].hex())] == ["rules-1"]
    assert rows(old) == ROWS
    db = sqlite3.connect(old)
    assert db.execute("SELECT value FROM meta WHERE name='schema'").fetchone() == (str(SCHEMA_VERSION),)
    seals = [seal for (seal,) in db.execute("SELECT seal FROM response ORDER BY id")]
    db.close()
    assert seals == [keys.seal(Response(k.hex(), a, Answer(Status(status), *rest))) for k, a, status, *rest in ROWS]
    assert len(set(seals)) == len(ROWS)


def test_a_second_opening_changes_nothing(old: Path) -> None:
    Ledger(old).close()
    before = old.read_bytes()
    Ledger(old).close()
    assert old.read_bytes() == before


def test_an_old_ledger_is_read_without_being_touched(old: Path) -> None:
    before = old.read_bytes()
    with Ledger(old, read_only=True) as book:
        assert len(list(book.texts())) == len(ROWS)
    assert old.read_bytes() == before


def test_a_step_that_fails_leaves_the_old_ledger(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(db: sqlite3.Connection) -> None:
        STEPS[1](db)
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("palpate.store.ledger.migrate", lambda db, version, wanted: breaks(db))
    with pytest.raises(LedgerError, match="free some space"):
        Ledger(old)
    monkeypatch.undo()
    assert rows(old) == ROWS
    Ledger(old).close()


@pytest.mark.parametrize("version", ["0", "99", "new"])
def test_a_schema_nobody_knows_is_refused(old: Path, version: str) -> None:
    with sqlite3.connect(old) as db:
        db.execute("UPDATE meta SET value=?", (version,))
    db.close()
    for read_only in (False, True):
        with pytest.raises(LedgerError, match=f"has schema {version}"):
            Ledger(old, read_only=read_only)


def test_there_is_a_step_from_every_version_to_the_present_one() -> None:
    assert sorted(STEPS) == list(range(1, SCHEMA_VERSION))
    assert migrate(sqlite3.connect(":memory:"), SCHEMA_VERSION, SCHEMA_VERSION) == SCHEMA_VERSION
