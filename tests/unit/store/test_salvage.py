"""What can be read of a damaged table is read, row by row where it must be; and parents are saved before their children."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from palpate.errors import LedgerError
from palpate.nouns import Answer, Case, Form, Outcome, Perturbation, Polarity, Prompt, Reading, Response, Status, Trial
from palpate.store import keys, salvage
from palpate.store.integrity import check_ledger
from palpate.store.ledger import Ledger
from palpate.store.salvage import readable_rows
from palpate.store.salvage import salvage as save

IDENTITY = {"kind": "test"}
CASES = tuple(Case(f"c-{i}", i % 2, f"g-{i}", f"{i:032x}", image=None) for i in range(6))  # type: ignore[arg-type]
PROMPT = Prompt("p", "Is there?", Form.YES_NO, Polarity.POSITIVE, "target")
NONE = Perturbation()


def key_of(case: Case) -> str:
    digests = keys.model_digest(IDENTITY), keys.image_digest(case), keys.perturbation_digest(NONE, 1, 0), keys.prompt_digest(PROMPT)
    return keys.trial_key(*digests, 0)


def written(path: Path) -> None:
    """Six answers, the second an error that was asked again, all read."""
    with Ledger(path, create=True) as book:
        book.add_session("2026-01-01T00:00:00+00:00", {"palpate": "0"})
        book.add_model("m", IDENTITY, {"device": "cpu"})
        book.add_cases("t", CASES)
        book.add_prompts("t", [PROMPT])
        book.add_perturbation(NONE, keys.perturbation_digest(NONE, 1, 0))
        task = {"cases": [c.id for c in CASES], "prompts": [], "best_accuracy": None, "left_out": 0}
        book.add_plan({"models": {}, "tasks": {"t": task}, "perturbations": [], "repeats": 1})
        trials = [Trial(key_of(c), "m", "t", c.id, NONE, PROMPT) for c in CASES]
        answer = Answer(Status.OK, "Yes.", 1.0, 0.5, 3, 2, 0.1)
        failed = Answer(Status.ERROR, error="timed out")
        book.append([(t, Response(t.key, 1, failed if i == 1 else answer)) for i, t in enumerate(trials)])
        book.append([(trials[1], Response(trials[1].key, 2, answer))])
        unread = book.unread("rules-1", 0, 100)
        book.append_readings([(u.row, Reading(u.response.key, 1, "rules-1", Outcome.POSITIVE, (0, 3), "yes")) for u in unread])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    written(tmp_path / "ledger.sqlite")
    return tmp_path / "ledger.sqlite"


def edit(path: Path, command: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(command)
        db.commit()


def test_a_whole_ledger_is_saved_whole(path: Path, tmp_path: Path) -> None:
    assert check_ledger(path).whole
    found = save(path, tmp_path / "new.sqlite")
    assert not any(found.dropped.values())
    assert found.kept == dict(check_ledger(path).rows)
    assert check_ledger(tmp_path / "new.sqlite").whole
    with Ledger(path) as old, Ledger(tmp_path / "new.sqlite") as new:
        assert list(old.texts()) == list(new.texts())
        assert old.plan() == new.plan()
        assert old.cases("t") == new.cases("t")
        assert old.readings(key_of(CASES[1])) == new.readings(key_of(CASES[1]))


CHILDREN = {
    "a model": ("UPDATE model SET identity = '[]'", {"model": 0, "environment": 0, "response": 0, "reading": 0, "label": 6}),
    "a case": ("UPDATE case_ SET image = 'x' WHERE id = 1", {"case_": 6, "response": 6, "reading": 5}),
    "a lost case": ("DELETE FROM case_ WHERE id = 1", {"case_": 5, "label": 5, "plan": 0, "response": 6, "reading": 5}),
    "a label": ("UPDATE label SET label = 7 WHERE id = 1", {"label": 5, "response": 7}),
    "a prompt": ("UPDATE prompt SET record = 'null'", {"prompt": 0, "response": 0}),
    "a prompt without a text": ("UPDATE prompt SET record = '{}'", {"prompt": 0, "response": 0}),
    "a plan": ("UPDATE plan SET plan = '{}'", {"plan": 0, "response": 7}),
    "a plan that is no JSON": ("UPDATE plan SET plan = '{'", {"plan": 0}),
    "a session": ("UPDATE session SET environment = '{'", {"session": 0, "response": 7}),
    "a status": ("UPDATE response SET status = 'good' WHERE id = 1", {"response": 6, "reading": 5}),
    "an outcome": ("UPDATE reading SET outcome = 'maybe' WHERE response = 1", {"response": 7, "reading": 5}),
}


@pytest.mark.parametrize("what", CHILDREN)
def test_what_is_not_whole_takes_its_children_along(path: Path, tmp_path: Path, what: str) -> None:
    command, kept = CHILDREN[what]
    edit(path, command)
    found = save(path, tmp_path / "new.sqlite")
    assert {table: found.kept[table] for table in kept} == kept
    assert check_ledger(tmp_path / "new.sqlite").whole or what == "a case"


def test_nothing_is_written_over(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="is there already"):
        save(path, path)
    assert path.read_bytes() == before


class Broken:
    """A table of which some rows cannot be read, as a broken page has it; ``lost`` whether its extent can."""

    def __init__(self, rows: set[int], broken: set[int], lost: bool) -> None:
        self.rows, self.broken, self.lost, self.asked = rows, broken, lost, 0

    def execute(self, query: str, bounds: tuple[int, int] = (0, 0)) -> Any:
        self.asked += 1
        if query.startswith("PRAGMA"):
            return _One([2 if "count" in query else 1024])  # room for 128 rows
        if "min(" in query:
            if self.lost:
                raise sqlite3.DatabaseError("database disk image is malformed")
            return _One([min(self.rows | self.broken, default=None), max(self.rows | self.broken, default=None)])
        within = set(range(bounds[0], bounds[1] + 1))
        if within & self.broken:
            raise sqlite3.DatabaseError("database disk image is malformed")
        return _One([], [(n,) for n in sorted(within & self.rows)])


class _One:
    def __init__(self, one: list[Any], rest: list[tuple[int]] | None = None) -> None:
        self.one, self.rest = one, rest or []

    def fetchone(self) -> list[Any]:
        return self.one

    def fetchall(self) -> list[tuple[int]]:
        return self.rest

    def __iter__(self) -> Iterator[tuple[int]]:
        return iter(self.rest)


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("broken", [set(), {1}, {7, 8, 9}, set(range(40, 80)), {100}], ids=str)
def test_every_row_that_can_be_read_is_read_once(broken: set[int], lost: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(salvage, "BATCH", 16)
    whole = set(range(1, 101)) - broken - {50, 51}
    table = Broken(whole, broken, lost)
    assert [n for (n,) in readable_rows(table, "t", "a")] == sorted(whole)  # type: ignore[arg-type]
    assert table.asked < 500


def test_an_empty_table_has_no_rows() -> None:
    assert list(readable_rows(Broken(set(), set(), False), "t", "a")) == []  # type: ignore[arg-type]


def test_a_seal_is_of_everything_recorded() -> None:
    first = Response("ab" * 16, 1, Answer(Status.OK, "Yes", 1.0, 0.5, 3, 2, 0.1))
    others = [
        replace(first, key="ac" * 16),
        replace(first, attempt=2),
        *(replace(first, answer=replace(first.answer, **{name: value})) for name, value in CHANGES.items()),
    ]
    seals = [keys.seal(r) for r in (first, *others)]
    assert len(set(seals)) == len(seals)
    assert all(len(s) == keys.SEAL_BYTES for s in seals)
    whole_number = replace(first, answer=replace(first.answer, margin=1))
    assert keys.seal(whole_number) == seals[0]  # the ledger gives back 1.0


CHANGES = {
    "status": Status.TRUNCATED,
    "text": "Yes.",
    "margin": None,
    "mass": 0.25,
    "tokens_in": None,
    "tokens_out": 3,
    "seconds": 0.2,
    "error": "x",
}
