"""Answers chosen by columns: every filter against brute force over the ledger's own rows, pages without gap or repeat, kept up."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from palpate.nouns import OUTCOMES, Answer, Case, Form, Outcome, Perturbation, Polarity, Prompt, Reading, Response, Status, Trial
from palpate.store import keys, shown
from palpate.store.browsing import Columns, Wanted
from palpate.store.ledger import Ledger
from palpate.store.people import People

RULES, OTHER = "rules/1", "other/1"
CHANGES = (Perturbation(), Perturbation("blur", 2))
MODELS, TASKS = ("base", "tuned"), ("t1", "t2")
PROMPTS = (
    Prompt("p.yes", "Is it?", Form.YES_NO, Polarity.POSITIVE, "target", None, {"suffix": "none"}),
    Prompt("p.no", "Is it not?", Form.YES_NO, Polarity.NEGATIVE, "target", None, {"suffix": "short"}),
    Prompt("p.open", "What?", Form.OPEN, Polarity.POSITIVE, "open", None, {"suffix": "none"}),
)


def case_of(task: str, i: int) -> Case:
    return Case(f"{task}-{i}", i % 2, f"g{i}", f"digest-{task}-{i}", None, metadata={"view": "PA"})  # type: ignore[arg-type]


def trial(model: str, task: str, i: int, change: Perturbation, prompt: Prompt, repeat: int) -> Trial:
    key = keys.digest([model, task, i, str(change), prompt.name, repeat])[:32]
    return Trial(key, model, task, f"{task}-{i}", change, prompt, repeat)


def trials() -> list[Trial]:
    return [
        trial(m, t, i, c, p, r) for m in MODELS for t in TASKS for i in range(6) for c in CHANGES for p in PROMPTS for r in range(2)
    ]


def response(t: Trial, attempt: int, status: Status = Status.OK) -> Response:
    error = "timeout" if status is Status.ERROR else None
    return Response(t.key, attempt, Answer(status, "" if error else "Yes, it is.", 0.5, 0.9, error=error))


def rows_of(ledger: Ledger) -> list[tuple[int, bytes]]:
    return list(ledger._select("SELECT id, key FROM response ORDER BY id"))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """288 trials, some first failed and asked again; read by two methods with gaps; a person read a few."""
    chance = random.Random(4)
    with Ledger(tmp_path / "ledger.sqlite", create=True) as ledger:
        for model in MODELS:
            ledger.add_model(model, {"name": model}, {})
        for task in TASKS:
            ledger.add_cases(task, [case_of(task, i) for i in range(6)])
            ledger.add_prompts(task, PROMPTS)
        for change in CHANGES:
            ledger.add_perturbation(change, keys.digest(str(change)))
        ends = [Status.OK, Status.OK, Status.OK, Status.TRUNCATED, Status.BLOCKED, Status.ERROR]
        first = [(t, response(t, 1, chance.choice(ends))) for t in trials()]
        ledger.append(first)
        ledger.append(
            [(t, response(t, 2, Status.OK)) for t, r in first if r.answer.status is Status.ERROR and chance.random() < 0.6]
        )
        read_some(ledger, chance)
        sample = [row for row, _ in rows_of(ledger)][::17]
        People(ledger).append([(row, "ann", chance.choice([Outcome.POSITIVE, Outcome.HEDGE]), "s") for row in sample])
        yield ledger


def read_some(ledger: Ledger, chance: random.Random) -> None:
    texts = list(ledger._select("SELECT id, lower(hex(key)), attempt, status FROM response"))
    weights = [8, 8, 2, 1, 1, 1, 1]
    readings = []
    for row, key, attempt, status in texts:
        if status == Status.ERROR:
            continue
        first = chance.choices(OUTCOMES, weights)[0]
        if chance.random() < 0.9:
            readings.append((row, Reading(key, attempt, RULES, first, (0, 3), "first-word")))
        if chance.random() < 0.3:
            other = first if chance.random() < 0.7 else chance.choice(OUTCOMES)
            readings.append((row, Reading(key, attempt, OTHER, other, None, "")))
        if chance.random() < 0.2:
            readings.append((row, Reading(key, attempt, "rules/0", Outcome.HEDGE, None, "an older version, of no account")))
    ledger.append_readings(readings)


def taken(ledger: Ledger) -> Columns:
    columns = Columns()
    assert columns.catch_up(ledger, (RULES, OTHER))
    return columns


# ---------------------------------------------------------------- brute force


def everything(ledger: Ledger) -> list[dict[str, Any]]:
    """Every trial by its last attempt, as plain dictionaries."""
    last: dict[str, tuple[int, int, str]] = {}
    for row, key, attempt, status in ledger._select("SELECT id, lower(hex(key)), attempt, status FROM response ORDER BY attempt"):
        last[key] = (row, attempt, status)
    people = dict(ledger._select("SELECT response, outcome FROM human_reading ORDER BY id"))
    found = []
    for t in trials():
        if t.key in last:
            row, attempt, status = last[t.key]
            read = {r.by: r.outcome for r in ledger.readings(t.key) if r.attempt == attempt}
            label = int(t.case.split("-")[1]) % 2
            found.append({"trial": t, "row": row, "status": status, "read": read, "label": label, "person": people.get(row)})
    return sorted(found, key=lambda a: a["row"])


def flips(every: list[dict[str, Any]], one: dict[str, Any]) -> bool:
    t, outcome = one["trial"], one["read"].get(RULES)
    place = (t.model, t.task, t.case, t.perturbation, t.prompt.cell)
    group = [a for a in every if _place(a["trial"]) == place]
    sides = {o: {a["trial"].prompt.name for a in group if a["read"].get(RULES) == o} for o in (Outcome.POSITIVE, Outcome.NEGATIVE)}
    several = any(p != q for p in sides[Outcome.POSITIVE] for q in sides[Outcome.NEGATIVE])
    return outcome in sides and several


def _place(t: Trial) -> tuple[object, ...]:
    return t.model, t.task, t.case, t.perturbation, t.prompt.cell


def holds(wanted: Wanted, every: list[dict[str, Any]], one: dict[str, Any]) -> bool:
    t, primary = one["trial"], one["read"].get(RULES)
    right = primary == (Outcome.POSITIVE if one["label"] else Outcome.NEGATIVE)
    outcome = {
        "": True,
        "right": right,
        "wrong": primary in (Outcome.POSITIVE, Outcome.NEGATIVE) and not right,
        "unread": primary is None and one["status"] != "error",
    }.get(wanted.outcome, primary == wanted.outcome)
    counted = {o for o in (primary, one["read"].get(OTHER), one["person"]) if o is not None}
    name, _, value = wanted.factor.partition("=")
    return all(
        (
            wanted.model in ("", t.model),
            wanted.task in ("", t.task),
            wanted.perturbation in ("", str(t.perturbation)),
            wanted.form in ("", t.prompt.form),
            wanted.cell in ("", t.prompt.cell),
            wanted.prompt in ("", t.prompt.name),
            not wanted.factor or t.prompt.factors.get(name) == value,
            wanted.status in ("", one["status"]),
            wanted.label in ("", str(one["label"])),
            outcome,
            not wanted.disagree or len(counted) > 1,
            not wanted.flips or flips(every, one),
        )
    )


FILTERS = [
    Wanted(),
    Wanted(model="tuned"),
    Wanted(task="t2", label="1"),
    Wanted(perturbation="blur-2", form="yes-no"),
    Wanted(cell="open"),
    Wanted(prompt="p.no"),
    Wanted(factor="suffix=none", model="base"),
    *(Wanted(status=s) for s in Status),
    *(Wanted(outcome=o) for o in (*OUTCOMES, "right", "wrong", "unread")),
    Wanted(flips=True),
    Wanted(disagree=True),
    Wanted(flips=True, outcome="wrong", task="t1", perturbation="none"),
    Wanted(disagree=True, label="0", status="ok", model="base"),
]
NOTHING = [
    Wanted(model="no such"),
    Wanted(task="'; --"),
    Wanted(factor="="),
    Wanted(factor="suffix"),
    Wanted(status="x"),
    Wanted(label="2"),
    Wanted(outcome="%"),
]


@pytest.mark.parametrize("wanted", FILTERS, ids=str)
def test_a_filter_finds_what_brute_force_finds(ledger: Ledger, wanted: Wanted) -> None:
    every = everything(ledger)
    expected = tuple(a["row"] for a in every if holds(wanted, every, a))
    page = taken(ledger).page(wanted, 1000)
    assert page.rows == expected
    assert page.total == len(expected)
    assert (page.ahead, page.after, page.before) == (0, None, None)


def test_the_filters_of_these_tests_tell_answers_apart(ledger: Ledger) -> None:
    columns = taken(ledger)
    totals = [columns.page(w, 1).total for w in FILTERS]
    assert totals[0] == len(trials())
    assert all(0 < n < totals[0] for n in totals[1:])


@pytest.mark.parametrize("wanted", NOTHING, ids=str)
def test_a_filter_for_what_is_not_there_finds_nothing(ledger: Ledger, wanted: Wanted) -> None:
    assert taken(ledger).page(wanted, 10).total == 0


def test_opposite_answers_to_repeats_of_one_wording_are_no_flip(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite", create=True) as ledger:
        ledger.add_model("base", {}, {})
        ledger.add_cases("t1", [case_of("t1", 0), case_of("t1", 1)])
        ledger.add_prompts("t1", PROMPTS)
        ledger.add_perturbation(CHANGES[0], "d")
        asked = [trial("base", "t1", i, CHANGES[0], PROMPTS[p], r) for i, p, r in ((0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 1, 1))]
        ledger.append([(t, response(t, 1)) for t in asked])
        said = (Outcome.POSITIVE, Outcome.NEGATIVE) * 2
        ledger.append_readings([(i + 1, Reading(t.key, 1, RULES, o)) for i, (t, o) in enumerate(zip(asked, said, strict=True))])
        assert taken(ledger).page(Wanted(flips=True), 10).rows == (3, 4)


# ---------------------------------------------------------------- pages


@pytest.mark.parametrize("newest", [False, True])
@pytest.mark.parametrize("wanted", [Wanted(), Wanted(outcome="wrong"), Wanted(outcome="off-topic", task="t1")], ids=str)
def test_pages_forward_and_back_are_the_whole_list(ledger: Ledger, wanted: Wanted, newest: bool) -> None:
    columns = taken(ledger)
    whole = columns.page(wanted, 10_000, newest=newest).rows
    assert list(whole) == sorted(whole, reverse=newest)
    pages = [columns.page(wanted, 7, newest=newest)]
    while (after := pages[-1].after) is not None:
        pages.append(columns.page(wanted, 7, after=after, newest=newest))
        assert pages[-1].ahead == sum(len(p.rows) for p in pages[:-1])
    assert tuple(row for page in pages for row in page.rows) == whole
    for earlier, later in pairwise(pages):
        assert later.before is not None
        assert columns.page(wanted, 7, before=later.before, newest=newest).rows == earlier.rows
    assert pages[0].before is None


def test_a_page_after_a_row_that_does_not_match_begins_with_the_next_that_does(ledger: Ledger) -> None:
    columns = taken(ledger)
    rows = columns.page(Wanted(model="tuned"), 1000).rows
    assert columns.page(Wanted(model="tuned"), 3, after=rows[4] - 1).rows[0] == rows[4]
    past = columns.page(Wanted(), 3, after=10**14)
    assert (past.rows, past.after) == ((), None)


# ---------------------------------------------------------------- keeping up


def test_what_is_written_meanwhile_is_taken_in(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts that replace earlier ones, readings of old answers, a corrected label, a new case: as if all had been there."""
    monkeypatch.setattr("palpate.store.browsing.CHUNK", 13)
    columns = taken(ledger)
    last = {key: (attempt, error) for key, (attempt, error) in ledger.attempts().items()}
    again = [t for t in trials() if last[bytes.fromhex(t.key)][1]]
    assert again
    ledger.append([(t, response(t, last[bytes.fromhex(t.key)][0] + 1)) for t in again])
    chance = random.Random(5)
    unread = [(row, r) for row, r in ((u.row, u.response) for u in ledger.unread(OTHER, 0, 500))]
    ledger.append_readings([(row, Reading(r.key, r.attempt, OTHER, chance.choice(OUTCOMES))) for row, r in unread])
    People(ledger).append([(2, "bob", Outcome.NEGATIVE, "s"), (2, "bob", Outcome.HEDGE, "s")])
    relabelled = [replace(case_of("t1", i), label=1) for i in range(6)]
    ledger.add_cases("t1", [*relabelled, case_of("t1", 7)])
    assert columns.catch_up(ledger, (RULES, OTHER))
    fresh = taken(ledger)
    for wanted in FILTERS:
        assert columns.page(wanted, 1000) == fresh.page(wanted, 1000), wanted
    assert columns.people(2) == {"person bob": Outcome.HEDGE}
    assert columns.page(Wanted(label="0", task="t1"), 1).total == 0


def test_little_time_takes_in_a_part_and_goes_on_later(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palpate.store.browsing.CHUNK", 10)
    columns, calls = Columns(), 1
    while not columns.catch_up(ledger, (RULES, OTHER), seconds=0):
        calls += 1
        assert calls < 500
    assert calls > 20
    for wanted in FILTERS:
        assert columns.page(wanted, 1000) == taken(ledger).page(wanted, 1000), wanted


def test_another_reader_is_read_by_from_then_on(ledger: Ledger) -> None:
    columns = taken(ledger)
    assert columns.catch_up(ledger, (OTHER,))
    fresh = Columns()
    fresh.catch_up(ledger, (OTHER,))
    for wanted in FILTERS:
        assert columns.page(wanted, 1000) == fresh.page(wanted, 1000), wanted


def test_what_is_foretold_is_chosen_by_until_it_is_read(ledger: Ledger) -> None:
    columns = taken(ledger)
    unread = [one["row"] for one in everything(ledger) if RULES not in one["read"] and one["status"] != Status.ERROR]
    walked, row = [], 0
    while (found := columns.unread_after(row)) is not None:
        walked.append(row := found)
    assert set(unread) <= set(walked)
    before = columns.page(Wanted(outcome="hedge"), 500).total
    columns.foretell(dict.fromkeys(unread, Outcome.HEDGE) | {10**6: Outcome.HEDGE})
    assert columns.page(Wanted(outcome="hedge"), 500).total == before + len(unread)
    assert columns.page(Wanted(outcome="unread"), 500).total == 0


def test_an_empty_ledger_has_nothing(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite", create=True) as ledger:
        columns = taken(ledger)
    for wanted in FILTERS:
        assert columns.page(wanted, 10).rows == ()
    assert columns.label_row(3) == 0


# ---------------------------------------------------------------- of one case, and what is read from the ledger


def test_the_answers_of_a_case(ledger: Ledger) -> None:
    columns, every = taken(ledger), everything(ledger)
    (row,) = next(ledger._select("SELECT id FROM case_ WHERE name = 't2-3'"))
    mine = [a for a in every if a["trial"].case == "t2-3"]
    assert columns.of_case(row) == tuple(a["row"] for a in mine)
    (blurred,) = next(ledger._select("SELECT id FROM perturbation WHERE name = 'blur'"))
    some = [a["row"] for a in mine if a["trial"].perturbation.name == "blur" and a["trial"].model == "base"]
    assert columns.of_case(row, blurred, ("base",)) == tuple(some)
    assert columns.perturbations_of(row) == [1, 2]
    assert columns.neighbours(row) == (row - 1, row + 1)
    assert columns.neighbours(1)[0] is None
    assert columns.neighbours(6) == (5, None)
    assert columns.label(row) == 1


def test_shown_answers_are_the_ledgers(ledger: Ledger) -> None:
    every = everything(ledger)[:40]
    found = shown.answers(ledger, [a["row"] for a in reversed(every)], 3)
    for answer, expected in zip(found, reversed(every), strict=True):
        t = expected["trial"]
        assert (answer.key, answer.model, answer.task, answer.case) == (t.key, t.model, t.task, t.case)
        assert (answer.prompt, answer.perturbation, answer.repeat) == (t.prompt, t.perturbation, t.repeat)
        assert answer.text == ("" if expected["status"] == "error" else "Yes")
        assert {r.by: r.outcome for r in answer.readings} == expected["read"]
    case = shown.case(ledger, found[0].case_row, taken(ledger).label_row(found[0].case_row))
    assert case is not None
    assert (case.name, case.facts) == (found[0].case, {"view": "PA"})
    assert shown.case(ledger, 999, 0) is None
    assert shown.perturbation(ledger, 2) == (Perturbation("blur", 2), keys.digest("blur-2"))
    assert shown.perturbation(ledger, 99) is None


def test_every_query_of_a_page_goes_by_row_number() -> None:
    """20,000 answers: none of the queries may walk through a table."""
    from palpate.store import browsing
    from palpate.store.ledger import SCHEMA

    db = sqlite3.connect(":memory:")
    db.executescript(SCHEMA)
    db.execute("INSERT INTO model VALUES (1, 'd', 'm', '{}')")
    db.execute("INSERT INTO perturbation VALUES (1, 'd', 'none', 0)")
    db.execute("INSERT INTO prompt VALUES (1, 't', 'd', '{}')")
    db.executemany("INSERT INTO case_ VALUES (?, 't', ?, 'i')", [(i, str(i)) for i in range(1, 2001)])
    db.executemany("INSERT INTO label VALUES (?, ?, 0, 'g', '{}')", [(i, i) for i in range(1, 2001)])
    many = [(i, i.to_bytes(4, "big"), i % 2000 + 1) for i in range(1, 20_001)]
    db.executemany(
        "INSERT INTO response (id, key, attempt, model, case_, perturbation, prompt, repeat, status, text, seal)"
        " VALUES (?,?,1,1,?,1,1,0,'ok','Yes',x'')",
        many,
    )
    db.executemany("INSERT INTO reading VALUES (?,'m','positive',0,3,'')", [(i,) for i, *_ in many])
    db.execute("ANALYZE")
    queries = {
        shown.ANSWERS.format(marks="?,?,?"): (9, 1, 2, 3),
        shown.READINGS.format(marks="?,?,?"): (1, 2, 3),
        shown.LABEL: (5,),
        browsing._ANSWERS: (100, 50),
        browsing._EARLIER: (100, 150),
        browsing._READINGS.format(method="WHEN ? THEN 0"): ("m", 100, 50),
    }
    for query, values in queries.items():
        steps = [step for *_, step in db.execute(f"EXPLAIN QUERY PLAN {query}", values)]
        assert any("PRIMARY KEY" in step for step in steps), steps
        walked = [s for s in steps if s.startswith("SCAN") and not re_small(s)]
        assert walked == [], steps
        assert not any("TEMP B-TREE" in step for step in steps), steps
    db.close()


def re_small(step: str) -> bool:
    """A table of a row or a few is walked through, rightly."""
    return step.split()[1] in {"m", "v", "p"}
