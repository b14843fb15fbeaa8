"""The ledger: one SQLite file that only ever grows.

No row is updated or deleted. A retry is a new attempt, a changed reader a new reading, a corrected label a new row of
``label``, a changed study a new row of ``plan``. A response is identified by its trial's content key; the columns beside
it say as what it was first asked. The driver alone writes; each finished batch of Blocks is one
transaction, so a killed run keeps every committed one and loses at most the one in flight.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from palpate.errors import LedgerError
from palpate.nouns import (
    Answer,
    Case,
    Form,
    Outcome,
    Perturbation,
    Polarity,
    Prompt,
    Reading,
    Response,
    Status,
    Trial,
)
from palpate.store import keys
from palpate.store.columns import OF_ANSWERS, AnswerTable, KeyIndex, answer_table, key_index
from palpate.store.migrations import READERS, migrate
from palpate.store.selection import EVERY, Selection

SCHEMA_VERSION = 4  # a change here needs a step in migrations.py
READABLE = frozenset(("1", "2", "3", "4"))
"""Schemas that can be read as they are, where a folder may not be written."""
CHUNK = 20_000  # rows at a time
MOST_KEYS = 16_000_000  # held in memory, 16 bytes each, to pass over what is answered: see Ledger.answered
SCHEMA = """
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
  error TEXT, seal BLOB NOT NULL, UNIQUE (key, attempt));
CREATE TABLE reading (response INTEGER NOT NULL REFERENCES response, method TEXT NOT NULL, outcome TEXT NOT NULL,
  low INTEGER, high INTEGER, rule TEXT NOT NULL, PRIMARY KEY (response, method)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Unread:
    """A response to be read: its row number, and the task and prompt it was asked under."""

    row: int
    task: str
    prompt: Prompt
    response: Response


class Ledger:
    """An open ledger. Use as a context manager; raises LedgerError for a file that is none, or is from a newer Palpate."""

    def __init__(self, path: Path, *, create: bool = False, read_only: bool = False) -> None:
        self.path = path
        self._rows: dict[tuple[str, ...], int] = {}  # (noun, name…) → row number, for what this process added
        self._prompts: dict[str, Prompt] = {}  # by their records: the same prompt is the same object
        if not create and not path.exists():
            raise LedgerError("no ledger here", where=str(path), expected="a run folder", hint="`palpate run STUDY.toml --out RUN`")
        try:
            self._db = sqlite3.connect(f"{path.resolve().as_uri()}?{open_mode(path, read_only)}", uri=True, isolation_level=None)
        except sqlite3.Error as fault:
            raise self._trouble(fault) from None
        try:
            self._prepare(create, read_only)
        except sqlite3.Error as fault:
            self._db.close()
            raise self._trouble(fault) from None
        except LedgerError:
            self._db.close()
            raise

    def _prepare(self, create: bool, read_only: bool) -> None:
        db = self._db
        if not read_only:
            # WAL with full sync: a committed transaction survives a killed process and a power cut.
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
        if create and not db.execute("SELECT 1 FROM sqlite_master WHERE name='meta'").fetchone():
            with self._transaction():
                for statement in (SCHEMA + READERS).split(";"):
                    if statement.strip():
                        db.execute(statement)
                db.execute("INSERT INTO meta VALUES ('schema', ?)", (str(SCHEMA_VERSION),))
        (version,) = db.execute("SELECT value FROM meta WHERE name='schema'").fetchone() or ("unknown",)
        if version.isdecimal() and int(version) < SCHEMA_VERSION and not read_only:
            with self._transaction():
                version = str(migrate(db, int(version), SCHEMA_VERSION))
        self.has_readers = version not in ("1", "2")
        self.scattered = version in ("1", "2", "3")  # its keys are of version 1
        readable = READABLE if read_only else {str(SCHEMA_VERSION)}
        if version not in readable:
            raise LedgerError(
                f"has schema {version}", where=str(self.path), expected=f"schema {SCHEMA_VERSION}", hint="update Palpate"
            )

    def _trouble(self, fault: sqlite3.Error) -> LedgerError:
        text, damaged = str(fault), f"the file is damaged: `palpate check {self.path.parent} --salvage NEW` saves what is whole"
        hints = {
            "full": "free some space; what was committed is safe, run again to go on",
            "readonly": "the folder or file is read-only: choose another --out",
            "unable to open": "the folder cannot be written: choose another --out",
            "not a database": "the file is no ledger: choose another --out",
            "malformed": damaged,
            "decode": damaged,
            "no such table": "the file is no ledger, or its run had not begun: `palpate run STUDY.toml --out RUN`",
            "locked": "another run writes to this ledger: wait for it to end",
        }
        hint = next((h for word, h in hints.items() if word in text), "")
        return LedgerError(f"the ledger cannot be used: {text}", where=str(self.path), hint=hint)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK") if self._db.in_transaction else None
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as fault:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise self._trouble(fault) from None

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the ledger is complete without any other file beside it."""
        self._db.close()

    def _select(self, query: str, values: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query. A damaged file may open well and fail here."""
        try:
            yield from self._db.execute(query, values)
        except sqlite3.Error as fault:
            raise self._trouble(fault) from None

    def _chunks(self, query: str, values: Sequence[object] = ()) -> Iterator[list[tuple[Any, ...]]]:
        """The same, many rows at a time."""
        try:
            cursor = self._db.execute(query, values)
            while rows := cursor.fetchmany(CHUNK):
                yield rows
        except sqlite3.Error as fault:
            raise self._trouble(fault) from None

    # ------------------------------------------------------------ what is asked

    def add_session(self, started: str, environment: Mapping[str, Any]) -> None:
        """Record that a run started, and where."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO session (started, environment) VALUES (?, ?)", (started, json.dumps(environment, sort_keys=True))
            )

    def sessions(self) -> list[dict[str, Any]]:
        """Every start of this run, oldest first."""
        rows = self._select("SELECT started, environment FROM session ORDER BY id")
        return [{"started": started, **json.loads(environment)} for started, environment in rows]

    def add_model(self, name: str, identity: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Record a model's identity, and each environment it was run in."""
        text = json.dumps(identity, sort_keys=True, default=str)
        with self._transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO model (digest, name, identity) VALUES (?,?,?)", (keys.model_digest(identity), name, text)
            )
            (row,) = db.execute("SELECT id FROM model WHERE digest=? AND name=?", (keys.model_digest(identity), name)).fetchone()
            where = json.dumps(environment, sort_keys=True, default=str)
            db.execute("INSERT OR IGNORE INTO environment (model, environment) VALUES (?, ?)", (row, where))
            self._rows["model", name] = row

    def models(self) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
        """Model name → (identity, latest environment): of those of one name the one the last plan asks, else the last."""
        planned = (self.plan() or {}).get("models", {})
        rows = self._select(
            "SELECT m.name, m.identity, e.environment, m.digest FROM model m JOIN environment e ON e.model = m.id"
            " ORDER BY m.id, e.id"
        )
        ordered = sorted(rows, key=lambda row: planned.get(row[0]) == row[3])
        return {name: (json.loads(identity), json.loads(environment)) for name, identity, environment, _ in ordered}

    def add_cases(self, task: str, cases: Iterable[Case]) -> None:
        """Record a task's cases. No pixels, no file names; a corrected label or group is a new row of ``label``."""
        # Looked up here rather than per case: labels have no index, and a task may have a hundred thousand cases.
        rows = self._select(f"SELECT c.name, l.case_, l.label, l.grp, l.facts {_LABELLED} ORDER BY l.id", (task,))
        last = {name: record for name, *record in rows}
        with self._transaction() as db:
            for case in cases:
                image = keys.image_digest(case)
                db.execute("INSERT OR IGNORE INTO case_ (task, name, image) VALUES (?,?,?)", (task, case.id, image))
                (row,) = db.execute("SELECT id FROM case_ WHERE task=? AND name=? AND image=?", (task, case.id, image)).fetchone()
                new = [row, case.label, case.group, json.dumps(dict(case.metadata), sort_keys=True, default=str)]
                if last.get(case.id) != new:
                    db.execute("INSERT INTO label (case_, label, grp, facts) VALUES (?,?,?,?)", new)
                self._rows["case", task, case.id] = row

    def cases(self, task: str) -> dict[str, tuple[str, int, str, dict[str, Any]]]:
        """Case name → (image digest, label, group, metadata) as last recorded."""
        rows = self._select(f"SELECT c.name, c.image, l.label, l.grp, l.facts {_LABELLED} ORDER BY l.id", (task,))
        return {name: (image, label, group, json.loads(facts)) for name, image, label, group, facts in rows}

    def add_prompts(self, task: str, prompts: Iterable[Prompt]) -> None:
        """Record a task's prompts with all their factors."""
        with self._transaction() as db:
            for prompt in prompts:
                record = json.dumps(asdict(prompt), sort_keys=True)
                db.execute(
                    "INSERT OR IGNORE INTO prompt (task, digest, record) VALUES (?,?,?)", (task, keys.prompt_digest(prompt), record)
                )
                (row,) = db.execute("SELECT id FROM prompt WHERE task=? AND record=?", (task, record)).fetchone()
                self._rows["prompt", task, prompt.name] = row

    def add_perturbation(self, perturbation: Perturbation, digest: str) -> None:
        """Record a perturbation under its digest."""
        with self._transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO perturbation (digest, name, severity) VALUES (?,?,?)",
                (digest, perturbation.name, perturbation.severity),
            )
            (row,) = db.execute("SELECT id FROM perturbation WHERE digest=?", (digest,)).fetchone()
            self._rows["perturbation", str(perturbation)] = row

    def add_plan(self, plan: Mapping[str, Any]) -> None:
        """Record what this run's study asks for; the last plan is the one that is measured."""
        text, digest = json.dumps(plan, sort_keys=True), keys.digest(plan)
        with self._transaction() as db:
            last = db.execute("SELECT digest FROM plan ORDER BY id DESC LIMIT 1").fetchone()
            if last is None or last[0] != digest:
                db.execute("INSERT INTO plan (digest, plan) VALUES (?, ?)", (digest, text))

    def plan(self) -> dict[str, Any] | None:
        """The last plan, None where there is none yet."""
        row = next(self._select("SELECT plan FROM plan ORDER BY id DESC LIMIT 1"), None)
        return None if row is None else dict(json.loads(row[0]))

    # ------------------------------------------------------------ what came back

    def attempts(self, keys: Sequence[bytes] | None = None) -> dict[bytes, tuple[int, bool]]:
        """Key → (attempts so far, whether the last one ended as an error), of every key, or of those given."""
        chosen = "" if keys is None else f"WHERE key IN ({','.join('?' * len(keys))})"
        rows = self._select(f"SELECT key, attempt, status FROM response {chosen} ORDER BY attempt", tuple(keys or ()))
        return {key: (attempt, status == Status.ERROR) for key, attempt, status in rows}

    def append(self, answered: Iterable[tuple[Trial, Response]]) -> None:
        """Append responses in one transaction; their models, cases, prompts and perturbations must have been added.

        Raises LedgerError where a key and attempt are there already, or the disk is full.
        """
        find = self._rows
        rows = [
            (
                bytes.fromhex(r.key),
                r.attempt,
                find["model", t.model],
                find["case", t.task, t.case],
                find["perturbation", str(t.perturbation)],
                find["prompt", t.task, t.prompt.name],
                t.repeat,
                *(r.answer.status, r.answer.text, r.answer.margin, r.answer.mass),
                *(r.answer.tokens_in, r.answer.tokens_out, r.answer.seconds, r.answer.error),
                keys.seal(r),
            )
            for t, r in answered
        ]
        with self._transaction() as db:
            db.executemany(
                "INSERT INTO response (key, attempt, model, case_, perturbation, prompt, repeat, status, text, margin, mass,"
                " tokens_in, tokens_out, seconds, error, seal) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                rows,
            )

    def unread(self, method: str, after: int, limit: int, of: Selection = EVERY) -> list[Unread]:
        """The next ``limit`` of the selected responses past row ``after`` that ``method`` has not read, errors apart."""
        rows = list(
            self._select(
                f"SELECT p.task, p.record, {RESPONSE_COLUMNS} FROM response r JOIN prompt p ON p.id = r.prompt"
                f" WHERE r.id > ?{of.condition} AND r.status != 'error'"
                " AND NOT EXISTS (SELECT 1 FROM reading WHERE response = r.id AND method = ?) ORDER BY r.id LIMIT ?",
                (after, *of.values, method, limit),
            )
        )
        for record in {row[1] for row in rows} - self._prompts.keys():  # few, of many answers
            self._prompts[record] = prompt_from(json.loads(record))
        return [Unread(row[2], row[0], self._prompts[row[1]], response_from(row[2:])) for row in rows]

    def reader(self, spec: str) -> str | None:
        """Under which name the reading the study describes so (a digest) was last kept; None where it never read."""
        if not self.has_readers:
            return None
        row = next(self._select("SELECT method FROM reader WHERE spec = ? ORDER BY id DESC LIMIT 1", (spec,)), None)
        return None if row is None else str(row[0])

    def add_reader(self, spec: str, by: str, record: Mapping[str, Any]) -> None:
        """Record that the reading described so is kept under the name ``by``, and what the model it asks is."""
        if self.reader(spec) != by:
            text = json.dumps(record, sort_keys=True, default=str)
            with self._transaction() as db:
                db.execute("INSERT INTO reader (spec, method, record) VALUES (?, ?, ?)", (spec, by, text))

    def n_unread(self, method: str, of: Selection = EVERY) -> int:
        """How many responses have something to read and have not been read by ``method``, as ``unread`` gives them."""
        rows = self._select(
            f"SELECT count(*) FROM response r WHERE r.status != 'error'{of.condition}"
            " AND NOT EXISTS (SELECT 1 FROM reading WHERE response = r.id AND method = ?)",
            (*of.values, method),
        )
        return int(next(rows)[0])

    def append_readings(self, readings: Sequence[tuple[int, Reading]]) -> None:
        """Append readings, each with the row number ``unread`` gave its response, in one transaction."""
        rows = [(row, r.by, r.outcome, *(r.span or (None, None)), r.rule) for row, r in readings]
        with self._transaction() as db:
            db.executemany("INSERT INTO reading (response, method, outcome, low, high, rule) VALUES (?,?,?,?,?,?)", rows)

    def answers(self, method: str) -> AnswerTable:
        """The last attempt of every key with its reading by ``method``, as columns."""
        query = f"SELECT {OF_ANSWERS} FROM response r LEFT JOIN reading d ON d.response = r.id AND d.method = ? ORDER BY r.id"
        return answer_table(self._chunks(query, (method,)))

    def answered(self) -> KeyIndex:
        """The keys that have an answer by now, of the first sixteen million answers: whoever is not among them may have one."""
        return key_index(self._chunks("SELECT key FROM response WHERE status != 'error' ORDER BY id LIMIT ?", (MOST_KEYS,)))

    def read_by(self) -> dict[str, int]:
        """Every reading method and version that read answers here → how many it read, most first."""
        return dict(self._select("SELECT method, count(*) FROM reading GROUP BY method ORDER BY count(*) DESC, method"))

    def responses(self, key: str) -> list[Response]:
        """Every attempt at a trial, first to last."""
        rows = self._select(f"SELECT {RESPONSE_COLUMNS} FROM response r WHERE key=? ORDER BY attempt", (bytes.fromhex(key),))
        return [response_from(row) for row in rows]

    def find(self, beginning: str) -> list[tuple[Trial, int]]:
        """At most two trials whose key begins so, each as it was first asked and with its label as last recorded."""
        beginning = beginning.lower()
        if not 0 < len(beginning) <= 32 or set(beginning) - set("0123456789abcdef"):
            return []
        rows = self._select(
            "SELECT lower(hex(r.key)), m.name, c.task, c.name, v.name, v.severity, p.record, r.repeat,"
            " (SELECT l.label FROM label l WHERE l.case_ = c.id ORDER BY l.id DESC LIMIT 1)"
            " FROM response r JOIN model m ON m.id = r.model JOIN case_ c ON c.id = r.case_"
            " JOIN perturbation v ON v.id = r.perturbation JOIN prompt p ON p.id = r.prompt"
            " WHERE r.attempt = 1 AND r.key BETWEEN ? AND ? LIMIT 2",  # by the index, however many there are
            tuple(bytes.fromhex(beginning.ljust(32, digit)) for digit in "0f"),
        )
        return [
            (Trial(key, model, task, case, Perturbation(name, severity), prompt_from(json.loads(record)), repeat), label)
            for key, model, task, case, name, severity, record, repeat, label in rows
        ]

    def readings(self, key: str) -> list[Reading]:
        """Every reading of every attempt at a trial."""
        rows = self._select(
            "SELECT r.attempt, d.method, d.outcome, d.low, d.high, d.rule FROM reading d JOIN response r ON r.id = d.response"
            " WHERE r.key=? ORDER BY r.attempt, d.method",
            (bytes.fromhex(key),),
        )
        found = []
        for attempt, by, outcome, low, high, rule in rows:
            span = None if low is None else (low, high)
            found.append(Reading(key, attempt, by, Outcome(outcome), span, rule))
        return found

    def texts(self) -> Iterator[tuple[str, int, str, str]]:
        """(key, attempt, status, text) of every response, by key: what two runs of one study are compared by."""
        for key, attempt, status, text in self._select("SELECT key, attempt, status, text FROM response ORDER BY key, attempt"):
            yield key.hex(), attempt, status, text

    def ended(self) -> dict[bytes, tuple[Status, str]]:
        """Key → (status, cause of an error) of every trial's last attempt."""
        rows = self._select("SELECT key, status, error FROM response ORDER BY attempt")
        return {key: (Status(status), error or "") for key, status, error in rows}

    def tokens(self) -> dict[str, tuple[int, int, int, int]]:
        """Model → (attempts that were answered or counted, those whose tokens were counted, their tokens in, and out)."""
        rows = self._select(
            "SELECT m.name, count(*), count(r.tokens_in), coalesce(sum(r.tokens_in), 0), coalesce(sum(r.tokens_out), 0)"
            " FROM response r JOIN model m ON m.id = r.model WHERE r.status != 'error' OR r.tokens_in IS NOT NULL GROUP BY m.name"
        )
        return {name: (attempts, counted, tokens_in, tokens_out) for name, attempts, counted, tokens_in, tokens_out in rows}

    def seconds(self) -> float:
        """Model seconds spent on all answers together."""
        return float(next(self._select("SELECT coalesce(sum(seconds), 0) FROM response"))[0])


def open_mode(path: Path, read_only: bool) -> str:
    """How SQLite opens the file. A WAL ledger in a folder that cannot be written opens only where SQLite is told that
    nothing changes it; a log left beside it by a killed run is then out of reach, so that is said of clean ones alone."""
    if not read_only:
        return "mode=rwc"
    log = path.with_name(f"{path.name}-wal")
    clean = not log.exists() or log.stat().st_size == 0
    return "mode=ro&immutable=1" if clean and not os.access(path.parent, os.W_OK) else "mode=ro"


_LABELLED = "FROM case_ c JOIN label l ON l.case_ = c.id WHERE task=?"
RESPONSE_COLUMNS = "r.id, r.key, r.attempt, r.status, r.text, r.margin, r.mass, r.tokens_in, r.tokens_out, r.seconds, r.error"


def response_from(row: tuple[Any, ...]) -> Response:
    """A Response from a row of RESPONSE_COLUMNS."""
    _, key, attempt, status, text, margin, mass, tokens_in, tokens_out, seconds, error = row
    return Response(key.hex(), attempt, Answer(_STATUS[status], text, margin, mass, tokens_in, tokens_out, seconds, error))


_STATUS = {str(status): status for status in Status}


def prompt_from(raw: Mapping[str, Any]) -> Prompt:
    """A Prompt from its JSON record, as ``dataclasses.asdict`` wrote it."""
    options = (raw["options"][0], raw["options"][1]) if raw["options"] else None
    return Prompt(raw["name"], raw["text"], Form(raw["form"]), Polarity(raw["polarity"]), raw["cell"], options, raw["factors"])
