"""People's readings in the ledger: every one kept, the last of a person counted, an older ledger simply without any."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from palpate.errors import LedgerError
from palpate.executors.local import LocalExecutor
from palpate.nouns import Outcome
from palpate.stages.ask import ask
from palpate.stages.plan import plan
from palpate.stages.read import read
from palpate.store.ledger import Ledger
from palpate.store.people import People
from palpate.study import Study

P, N, H = Outcome.POSITIVE, Outcome.NEGATIVE, Outcome.HEDGE


@pytest.fixture
def ledger(small_study: Path, tmp_path: Path) -> Iterator[Ledger]:
    study = Study.load(small_study)
    with Ledger(tmp_path / "ledger.sqlite", create=True) as book:
        planned = plan(study)
        planned.write(book)
        ask(planned, book, LocalExecutor(1, study.seed))
        read(study, book)
        yield book


def test_nobody_has_read_anything_at_first(ledger: Ledger) -> None:
    people = People(ledger)
    assert (people.by_row("x"), people.by_key(), people.annotators()) == ({}, {}, [])


def test_every_reading_is_kept_and_the_last_counts(ledger: Ledger) -> None:
    people = People(ledger)
    people.append([(1, "x", P, "s"), (2, "x", N, "s")])
    people.append([(1, "x", H, "s")])
    assert people.by_row("x") == {1: H, 2: N}
    assert list(ledger._select("SELECT outcome, stratum FROM human_reading ORDER BY id")) == [(P, "s"), (N, "s"), (H, "s")]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([("x", P)], P),
        ([("x", P), ("y", P)], P),
        ([("x", P), ("y", N)], None),
        ([("x", P), ("y", N), ("z", N)], N),
        ([("x", P), ("y", N), ("z", H)], None),
        ([("x", P), ("x", N), ("y", N)], N),  # a person who changed their mind has one voice
        ([("x", N), ("x", P), ("y", N)], None),
    ],
)
def test_what_most_people_read_is_what_the_answer_says(ledger: Ledger, given, expected) -> None:
    for alias, outcome in given:
        People(ledger).append([(1, alias, outcome, "s")])
    (key,) = next(ledger._select("SELECT key FROM response WHERE id = 1"))
    assert People(ledger).by_key() == ({key: expected} if expected else {})


def test_answers_come_with_what_the_sample_is_drawn_by(ledger: Ledger, small_study: Path) -> None:
    by = Study.load(small_study).reading_by(ledger)
    found = list(People(ledger).read_answers(by))
    assert len(found) == 2 * 12 * 12
    assert {form for *_, form, _ in found} == {"yes-no", "A-B", "B-A"}
    assert list(People(ledger).read_answers("nothing@1")) == []
    texts = list(People(ledger).texts_of([found[0][0], found[5][0]]))
    assert [row for row, *_ in texts] == [found[0][0], found[5][0]]
    assert all(task == "pneumonia_cxr" and prompt["text"] and text for _, task, prompt, text in texts)


def test_a_ledger_from_before_people_could_read_is_one_nobody_read(ledger: Ledger, tmp_path: Path) -> None:
    ledger.close()
    db = sqlite3.connect(tmp_path / "ledger.sqlite")
    for table in ("reader", "judgement", "human_reading"):
        db.execute(f"DROP TABLE {table}")
    db.execute("UPDATE meta SET value=2 WHERE name='schema'")
    db.commit()
    db.close()
    with Ledger(tmp_path / "ledger.sqlite", read_only=True) as old:
        people = People(old)
        assert (people.by_row("x"), people.by_key(), people.annotators()) == ({}, {}, [])
    with Ledger(tmp_path / "ledger.sqlite") as grown:
        People(grown).append([(1, "x", P, "s")])
        assert People(grown).by_row("x") == {1: P}


def test_what_cannot_be_written_is_a_ledger_error(ledger: Ledger, tmp_path: Path) -> None:
    ledger.close()
    with Ledger(tmp_path / "ledger.sqlite", read_only=True) as closed, pytest.raises(LedgerError):
        People(closed).append([(1, "x", P, "s")])
