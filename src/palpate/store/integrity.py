"""Is a ledger whole? Every key recomputed, every seal compared, every reference followed.

SQLite finds a page whose structure is broken. What it cannot see — a flipped bit inside an answer, a row edited by hand — the
seals show, for each is a digest of everything recorded of its response.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from palpate.errors import LedgerError
from palpate.nouns import Outcome, Status
from palpate.store import keys
from palpate.store.ledger import RESPONSE_COLUMNS, SCHEMA_VERSION, open_mode, prompt_from, response_from

TABLES = ("session", "plan", "model", "environment", "case_", "label", "perturbation", "prompt", "response", "reading")
SHOWN = 5  # places named per kind of damage
STATUSES, OUTCOMES = frozenset(map(str, Status)), frozenset(map(str, Outcome))


@dataclass(frozen=True, slots=True)
class Damage:
    """One kind of damage: how often it was found, and the first places."""

    kind: str
    count: int
    places: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found: rows per table, and every kind of damage (none: the ledger is whole)."""

    path: Path
    rows: Mapping[str, int]
    damage: tuple[Damage, ...] = ()

    @property
    def whole(self) -> bool:
        """True where nothing is amiss."""
        return not self.damage


@dataclass
class _Findings:
    count: dict[str, int] = field(default_factory=dict)
    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, place: str = "", count: int = 1) -> None:
        self.count[kind] = self.count.get(kind, 0) + count
        named = self.places.setdefault(kind, [])
        if place and len(named) < SHOWN:
            named.append(place)

    def all(self) -> tuple[Damage, ...]:
        return tuple(Damage(kind, n, tuple(self.places[kind])) for kind, n in self.count.items())


def check_ledger(path: Path) -> Checked:
    """Check a ledger, writing nothing. Raises LedgerError for a file that is no ledger at all."""
    with closing(_opened(path)) as db:
        found = _Findings()
        rows: dict[str, int] = {}
        for table in TABLES:
            with _noting(found, table):
                rows[table] = _count(db, table)
        for look in (_structure, _references, _identities, _responses, _attempts, _readings, _plan):
            with _noting(found, look.__name__.strip("_")):
                look(db, found)
    return Checked(path, rows, found.all())


@contextmanager
def _noting(found: _Findings, what: str) -> Iterator[None]:
    """A broken page may stop one look and leave the others."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError, json.JSONDecodeError) as fault:
        found.add("unreadable", f"{what}: {fault}")


def _opened(path: Path) -> sqlite3.Connection:
    """The file for reading, as it is. Raises LedgerError where it is none, or of an older schema."""
    try:
        db = sqlite3.connect(f"{path.resolve().as_uri()}?{open_mode(path, read_only=True)}", uri=True, isolation_level=None)
        try:
            tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
        except sqlite3.Error:
            db.close()
            raise
    except sqlite3.Error as fault:
        raise LedgerError(f"cannot be checked: {fault}", where=str(path), expected="a ledger") from None
    version = _version(db) if "meta" in tables else "none"
    if version not in (None, str(SCHEMA_VERSION)):
        db.close()
        hint = "any verb that writes, `palpate read RUN` say, brings an older ledger up to date"
        raise LedgerError(f"has schema {version}", where=str(path), expected=f"schema {SCHEMA_VERSION}", hint=hint)
    return db


def _version(db: sqlite3.Connection) -> str | None:
    """The schema the ledger says it has; None where the page that says so is broken, which the structure's check names."""
    try:
        return str(db.execute("SELECT value FROM meta WHERE name='schema'").fetchone()[0])
    except (sqlite3.Error, TypeError):
        return None


def _count(db: sqlite3.Connection, table: str) -> int:
    return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def _structure(db: sqlite3.Connection, found: _Findings) -> None:
    for (line,) in db.execute("PRAGMA integrity_check(100)"):
        if line != "ok":
            found.add("damaged page or index", line.splitlines()[0])


def _references(db: sqlite3.Connection, found: _Findings) -> None:
    for table, row, parent, _ in db.execute("PRAGMA foreign_key_check"):
        found.add("orphan", f"{table} row {row} refers to no {parent}")


def _identities(db: sqlite3.Connection, found: _Findings) -> None:
    """Digests of models and prompts, recomputed from what is recorded of them."""
    for row, digest, identity in db.execute("SELECT id, digest, identity FROM model"):
        if keys.model_digest(json.loads(identity)) != digest:
            found.add("identity differs from its digest", f"model row {row}")
    for row, digest, record in db.execute("SELECT id, digest, record FROM prompt"):
        if keys.prompt_digest(prompt_from(json.loads(record))) != digest:
            found.add("identity differs from its digest", f"prompt row {row}")


_SEALED = f"SELECT {RESPONSE_COLUMNS}, r.seal, m.digest, c.image, v.digest, p.digest, r.repeat FROM response r"
_JOINED = (
    " LEFT JOIN model m ON m.id = r.model LEFT JOIN case_ c ON c.id = r.case_"
    " LEFT JOIN perturbation v ON v.id = r.perturbation LEFT JOIN prompt p ON p.id = r.prompt"
)


def _responses(db: sqlite3.Connection, found: _Findings) -> None:
    """Key, seal and status of every response."""
    for *columns, seal, model, image, perturbation, prompt, repeat in db.execute(_SEALED + _JOINED):
        place = f"response row {columns[0]}"
        if columns[3] not in STATUSES:
            found.add("unknown status", place)
            continue
        if keys.seal(response_from(tuple(columns))) != seal:
            found.add("changed since it was written", place)
        digests = (model, image, perturbation, prompt)  # None for an orphan, which is found as one
        if None not in digests and keys.trial_key(*digests, repeat) != columns[1].hex():
            found.add("key differs from what was asked", place)
        if columns[3] == Status.ERROR and columns[4]:
            found.add("an error with a text", place)


def _attempts(db: sqlite3.Connection, found: _Findings) -> None:
    before = "SELECT 1 FROM response p WHERE p.key = r.key AND p.attempt = r.attempt - 1"
    for (row,) in db.execute(f"SELECT id FROM response r WHERE attempt > 1 AND NOT EXISTS ({before})"):
        found.add("an attempt is missing before it", f"response row {row}")
    for (row,) in db.execute(f"SELECT id FROM response r WHERE attempt > 1 AND EXISTS ({before} AND p.status != 'error')"):
        found.add("asked again though answered", f"response row {row}")


def _readings(db: sqlite3.Connection, found: _Findings) -> None:
    query = (
        "SELECT d.response, d.outcome, d.low, d.high, r.status, r.text FROM reading d JOIN response r ON r.id = d.response"
        " WHERE d.low IS NOT NULL OR r.status = 'error' OR d.outcome NOT IN (SELECT value FROM json_each(?))"
    )
    for row, outcome, low, high, status, text in db.execute(query, (json.dumps(sorted(OUTCOMES)),)):
        if outcome not in OUTCOMES:
            found.add("unknown outcome", f"reading of response row {row}")
        elif status == Status.ERROR:
            found.add("a reading of an error", f"reading of response row {row}")
        elif not 0 <= low <= (len(text) if high is None else high) <= len(text):
            found.add("evidence outside the text", f"reading of response row {row}")


def _plan(db: sqlite3.Connection, found: _Findings) -> None:
    """Every plan fits its digest, and the last one's cases are there."""
    last: dict[str, Any] | None = None
    for row, digest, text in db.execute("SELECT id, digest, plan FROM plan ORDER BY id"):
        last = json.loads(text)
        if keys.digest(last) != digest:
            found.add("identity differs from its digest", f"plan row {row}")
    known = set(db.execute("SELECT task, name FROM case_"))
    for task, entry in (last or {"tasks": {}})["tasks"].items():
        for case in entry["cases"]:
            if (task, case) not in known:
                found.add("a planned case is missing", f"task {task!r}, case {case!r}")
