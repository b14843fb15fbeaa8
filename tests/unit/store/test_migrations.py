"""A ledger written under an older schema opens, keeps every row as it was, and can be written to again."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from palpate.errors import LedgerError
from palpate.nouns import Answer, Form, Perturbation, Polarity, Prompt, Response, Status
from palpate.store import keys, migrations
from palpate.store.ledger import SCHEMA_VERSION, Ledger
from palpate.store.migrations import STEPS, migrate
from palpate.store.planned import Planned

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


# ---------------------------------------------------------------- 3 → 4: keys that stand together

ASKED = ("m" * 32, "i" * 32, "v" * 32)  # digests of the model, the image and the change


def scattered(path: Path, damaged: bool = False) -> list[Response]:
    """A ledger of schema 3: two prompts, one of them asked twice, and a row of which nothing is known but its key."""
    with Ledger(path, create=True):
        pass
    given = [
        ("p" * 32, 1, Answer(Status.ERROR, error="timed out")),
        ("p" * 32, 2, Answer(Status.OK, "No")),
        ("q" * 32, 1, Answer(Status.OK, "Yes", 1.5)),
    ]
    responses = [Response(keys.scattered_key(*ASKED, prompt, 0), attempt, answer) for prompt, attempt, answer in given]
    responses.append(Response("ab" * 16, 1, Answer(Status.OK, "Perhaps")))
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO model VALUES (1, ?, 'base', '{}')", ASKED[:1])
        db.execute("INSERT INTO case_ VALUES (1, 'chest', 'c-1', ?)", ASKED[1:2])
        db.execute("INSERT INTO perturbation VALUES (1, ?, 'none', 0)", ASKED[2:])
        db.executemany("INSERT INTO prompt VALUES (?, 'chest', ?, ?)", [(1, "p" * 32, "{}"), (2, "q" * 32, "{ }")])
        for response, prompt in zip(responses, (1, 1, 2, 9), strict=True):
            a = response.answer
            seal = keys.seal(response) if not damaged else b"?" * 8
            db.execute(
                "INSERT INTO response (key, attempt, model, case_, perturbation, prompt, repeat, status, text, margin, error, seal)"
                " VALUES (?,?,1,1,1,?,0,?,?,?,?,?)",
                (bytes.fromhex(response.key), response.attempt, prompt, a.status, a.text, a.margin, a.error, seal),
            )
        db.execute("UPDATE meta SET value='3'")
    db.close()
    return responses


def test_keys_of_an_older_ledger_are_gathered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "BATCH", 2)
    path = tmp_path / "ledger.sqlite"
    before = scattered(path)
    with Ledger(path) as book:
        assert not book.scattered
        first, second = (keys.trial_key(*ASKED, prompt * 32, 0) for prompt in "pq")
        assert book.attempts() == {bytes.fromhex(first): (2, False), bytes.fromhex(second): (1, False), b"\xab" * 16: (1, False)}
        assert [r.answer for r in book.responses(first)] == [r.answer for r in before[:2]]
    db = sqlite3.connect(path)
    rows = db.execute("SELECT lower(hex(key)), attempt, seal FROM response ORDER BY id").fetchall()
    db.close()
    names = (first, first, second, "ab" * 16)
    assert rows == [(k, r.attempt, keys.seal(Response(k, r.attempt, r.answer))) for k, r in zip(names, before, strict=True)]


def test_a_row_that_is_not_whole_keeps_its_key(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    before = scattered(path, damaged=True)
    with Ledger(path) as book:
        assert book.attempts().keys() == {bytes.fromhex(r.key) for r in before}


def test_an_older_ledger_that_may_only_be_read_is_looked_up_by_its_own_keys(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    scattered(path)
    plan = {
        "models": {"base": ASKED[0]},
        "tasks": {"chest": {"cases": ["c-1"], "prompts": [], "best_accuracy": None, "left_out": 0}},
        "perturbations": [{"name": "none", "severity": 0, "digest": ASKED[2]}],
        "repeats": 2,
    }
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO label VALUES (1, 1, 0, 'g-1', '{}')")
        db.execute("INSERT INTO plan VALUES (1, ?, ?)", (keys.digest(plan), json.dumps(plan)))
    db.close()
    question = Prompt("a", "Is there?", Form.YES_NO, Polarity.POSITIVE, "target")
    asked = [(*ASKED, keys.prompt_digest(question), repeat) for repeat in (0, 1)]
    with Ledger(path, read_only=True) as book:
        found = list(Planned(book).keys("chest", "base", Perturbation(), (question,)))
    assert [k.hex() for k in found] == [keys.scattered_key(*of) for of in asked]
    with Ledger(path) as book:
        assert [k.hex() for k in Planned(book).keys("chest", "base", Perturbation(), (question,))] == [
            keys.trial_key(*of) for of in asked
        ]
