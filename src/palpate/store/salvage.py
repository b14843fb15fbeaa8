"""Out of a damaged ledger, a new one with every row that is whole. The damaged file is left as it is."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from palpate.errors import LedgerError
from palpate.store import keys
from palpate.store.integrity import OUTCOMES, STATUSES
from palpate.store.ledger import RESPONSE_COLUMNS, Ledger, open_mode, prompt_from, response_from

BATCH = 5_000
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Salvaged:
    """Rows kept per table, and rows that could be read but were not whole (those on broken pages cannot be counted)."""

    kept: Mapping[str, int]
    dropped: Mapping[str, int]


def salvage(damaged: Path, target: Path) -> Salvaged:
    """Write a new ledger of what is whole. Raises LedgerError where ``target`` exists or nothing can be read."""
    if target.exists():
        raise LedgerError("is there already", where=str(target), expected="a new place")
    Ledger(target, create=True).close()
    address = f"{damaged.resolve().as_uri()}?{open_mode(damaged, read_only=True)}"
    try:
        with closing(sqlite3.connect(address, uri=True)) as old, closing(sqlite3.connect(target)) as new:
            rescue = _Rescue(old, new)
            rescue.all()
            new.commit()
    except sqlite3.Error as fault:
        target.unlink(missing_ok=True)
        raise LedgerError(f"nothing can be read of it: {fault}", where=str(damaged)) from None
    return Salvaged(rescue.kept, rescue.dropped)


@dataclass
class _Rescue:
    """Copies table by table, parents first, so that each row's references are known to be whole."""

    old: sqlite3.Connection
    new: sqlite3.Connection
    kept: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    digests: dict[str, dict[int, str]] = field(default_factory=dict)  # table → row number → digest

    def all(self) -> None:
        self._copy("session", "id, started, environment", lambda row: _json(row[2]))
        self._copy("model", "id, digest, name, identity", _model_whole, digest=1)
        self._copy("environment", "id, model, environment", lambda row: row[1] in self.digests["model"] and _json(row[2]))
        self._copy("case_", "id, task, name, image", _any, digest=3)
        self._copy("plan", "id, digest, plan", self._plan_whole)
        self._copy("label", "id, case_, label, grp, facts", lambda row: row[1] in self.digests["case_"] and row[2] in (0, 1))
        self._copy("perturbation", "id, digest, name, severity", _any, digest=1)
        self._copy("prompt", "id, task, digest, record", _prompt_whole, digest=2)
        columns = RESPONSE_COLUMNS.replace("r.", "") + ", model, case_, perturbation, prompt, repeat, seal"
        self._copy("response", columns, self._response_whole, digest=1)
        self._copy("reading", "response, method, outcome, low, high, rule", self._reading_whole, key="response")

    def _copy(self, table: str, columns: str, whole: Callable[[Row], bool], digest: int | None = None, key: str = "rowid") -> None:
        self.kept[table] = self.dropped[table] = 0
        digests = self.digests.setdefault(table, {})
        command = f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({','.join('?' * (columns.count(',') + 1))})"
        for row in readable_rows(self.old, table, columns, key):
            if not whole(row):
                self.dropped[table] += 1
                continue
            self.kept[table] += self.new.execute(command, row).rowcount
            if digest is not None:
                digests[row[0]] = row[digest]

    def _plan_whole(self, row: Row) -> bool:
        """A plan whose cases are not all there could not be measured; going on with the study records it anew."""
        if not _json(row[2]) or keys.digest(json.loads(row[2])) != row[1]:
            return False
        known = set(self.new.execute("SELECT task, name FROM case_"))
        planned = json.loads(row[2])["tasks"].items()
        return all((task, case) in known for task, entry in planned for case in entry["cases"])

    def _response_whole(self, row: Row) -> bool:
        *columns, model, case, perturbation, prompt, repeat, seal = row
        of = self.digests
        if columns[3] not in STATUSES:
            return False
        try:
            digests = of["model"][model], of["case_"][case], of["perturbation"][perturbation], of["prompt"][prompt]
        except KeyError:  # what it was asked of is not whole
            return False
        key = keys.trial_key(*digests, repeat)
        return bool(key == columns[1].hex() and keys.seal(response_from(tuple(columns))) == seal)

    def _reading_whole(self, row: Row) -> bool:
        return row[0] in self.digests["response"] and row[2] in OUTCOMES


def _any(row: Row) -> bool:
    """A row of names and a digest that nothing can recompute."""
    return all(value is not None for value in row)


def _json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _model_whole(row: Row) -> bool:
    return _json(row[3]) and bool(keys.model_digest(json.loads(row[3])) == row[1])


def _prompt_whole(row: Row) -> bool:
    try:
        return bool(keys.prompt_digest(prompt_from(json.loads(row[3]))) == row[2])
    except (ValueError, KeyError, TypeError):
        return False


def readable_rows(db: sqlite3.Connection, table: str, columns: str, key: str = "rowid") -> Iterator[tuple[Any, ...]]:
    """The rows of a damaged table that can still be read, in the order of ``key``: what fails is halved until it is one row."""
    try:
        low, high = db.execute(f"SELECT min({key}), max({key}) FROM {table}").fetchone()
    except sqlite3.Error:
        low, high = 0, _largest(db)
    waiting = [] if low is None else [(low, high)]
    query = f"SELECT {columns} FROM {table} WHERE {key} BETWEEN ? AND ? ORDER BY {key}"
    while waiting:
        first, last = waiting.pop()
        try:
            rows = db.execute(query, (first, last)).fetchall() if last - first < BATCH else None
        except (sqlite3.Error, UnicodeDecodeError):
            rows = [] if first == last else None
        if rows is None:
            middle = (first + last) // 2
            waiting += [(middle + 1, last), (first, middle)]
        else:
            yield from rows


def _largest(db: sqlite3.Connection) -> int:
    """A bound on row numbers where the table cannot say: no row is smaller than 16 bytes."""
    pages, size = db.execute("PRAGMA page_count").fetchone()[0], db.execute("PRAGMA page_size").fetchone()[0]
    return int(pages * size // 16)
