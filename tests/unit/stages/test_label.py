"""Labelling: a stratified sample, the same for everyone, shown blind, kept append-only, and brought to the measures."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from palpate.errors import RunError
from palpate.nouns import Form, Outcome, Polarity, Prompt
from palpate.results import Results
from palpate.stages.label import AT_LEAST, CHOICES, allocation, check_alias, draw, means, record, waiting
from palpate.stages.measure import panels
from palpate.store.ledger import Ledger
from palpate.store.people import People

P, N = Outcome.POSITIVE, Outcome.NEGATIVE


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Results:
    shutil.copytree(finished, tmp_path / "run")
    return Results.open(tmp_path / "run")


@pytest.fixture
def ledger(run: Results):
    with Ledger(run.folder.ledger_path) as book:
        yield book


def rows(drawn) -> list[int]:
    return [row for d in drawn for row in d.rows]


def test_a_sample_has_every_stratum_and_the_size_asked_for(run: Results, ledger: Ledger) -> None:
    sample = draw(run.study, ledger, 60)
    assert len(set(rows(sample))) == len(rows(sample)) == 60
    models, forms, outcomes = zip(*(d.stratum.split(" | ") for d in sample), strict=True)
    assert set(models) == {"base", "tuned"}
    assert set(forms) == {"yes-no", "A-B", "B-A"}
    assert {"positive", "negative"} <= set(outcomes)


def test_it_is_the_same_for_everyone_and_a_larger_one_holds_it(run: Results, ledger: Ledger) -> None:
    assert draw(run.study, ledger, 40) == draw(run.study, ledger, 40)
    assert set(rows(draw(run.study, ledger, 40))) <= set(rows(draw(run.study, ledger, 80)))
    assert len(rows(draw(run.study, ledger, 10**6))) == 2 * 12 * 12


def test_the_same_text_to_the_same_question_is_read_once(run: Results, ledger: Ledger) -> None:
    sample = draw(run.study, ledger, 200)
    assert len(sample) < 200
    assert len({(d.prompt.text, d.text, d.stratum) for d in sample}) == len(sample)


def test_the_order_tells_nothing_of_the_strata(run: Results, ledger: Ledger) -> None:
    order = [d.stratum for d in draw(run.study, ledger, 200)]
    assert order != sorted(order)
    changes = sum(a != b for a, b in pairwise(order))
    assert changes > len(order) / 2


def test_allocation_favours_the_rare_and_never_gives_more_than_there_is() -> None:
    given = allocation({"a": 10_000, "b": 400, "c": 3}, 100)
    assert sum(given.values()) == 100
    assert given["c"] == 3
    assert AT_LEAST < given["b"] < given["a"] < 90
    assert allocation({"a": 4, "b": 2}, 100) == {"a": 4, "b": 2}
    assert allocation({}, 10) == {}
    assert sum(allocation(dict.fromkeys("abcdefghij", 50), 7).values()) == 7


def test_readings_are_kept_and_the_last_of_a_person_counts(run: Results, ledger: Ledger) -> None:
    sample = draw(run.study, ledger, 30)
    record(ledger, "x", sample[0], P)
    record(ledger, "x", sample[0], N)
    assert set(People(ledger).by_row("x").values()) == {N}
    assert len(waiting(sample, ledger, "x")) == len(sample) - 1
    assert len(waiting(sample, ledger, "y")) == len(sample)
    (count,) = next(ledger._select("SELECT count(*) FROM human_reading"))
    assert count == 2 * len(sample[0].rows)


def test_of_several_people_most_decide_and_a_tie_decides_nothing(run: Results, ledger: Ledger) -> None:
    first, second = draw(run.study, ledger, 30)[:2]
    for alias, outcome in (("x", P), ("y", N), ("z", N)):
        record(ledger, alias, first, outcome)
    for alias, outcome in (("x", P), ("y", N)):
        record(ledger, alias, second, outcome)
    assert set(People(ledger).by_key().values()) == {N}
    assert len(People(ledger).by_key()) == len(first.rows)
    assert People(ledger).annotators() == ["x", "y", "z"]


def test_what_people_read_reaches_the_panels_and_the_measure(run: Results, ledger: Ledger) -> None:
    assert all(p.human is None for p in panels(run.study, ledger))
    by = {r: o for r, _, _, _, o in People(ledger).read_answers(run.study.reading_by(ledger))}
    sample = draw(run.study, ledger, 120)
    for d in sample:
        record(ledger, "x", d, Outcome(by[d.rows[0]]))
    found = list(panels(run.study, ledger))
    assert sum(int((p.human >= 0).sum()) for p in found) == 120
    assert all((p.human[p.human >= 0] == p.outcome[p.human >= 0]).all() for p in found)
    ledger.close()
    kappas = Results.open(run.folder.path).measure("reading_kappa", by=["model", "reading"])
    assert [(e.by["reading"], e.value) for e in kappas] == [("rules", 1.0), ("rules", 1.0)]


def test_nothing_read_is_an_error_that_says_what_to_do(run: Results, ledger: Ledger) -> None:
    from dataclasses import replace

    task = run.study.tasks[0]
    other = replace(run.study, tasks=(replace(task, rubric=replace(task.rubric, positive=("x",))),))
    with pytest.raises(RunError, match="palpate read"):
        draw(other, ledger, 10)


def test_descriptions_are_not_drawn(run: Results, ledger: Ledger) -> None:
    assert all(d.prompt.form.closed for d in draw(run.study, ledger, 10**6))


@pytest.mark.parametrize("alias", ["", "a b", "x" * 33, "<b>", "a\nb"])
def test_an_alias_is_short_and_plain(alias: str) -> None:
    with pytest.raises(RunError, match="alias"):
        check_alias(alias)


def test_what_an_answer_means_is_spelt_out() -> None:
    yes_no = Prompt("p", "Normal?", Form.YES_NO, Polarity.NEGATIVE, "abnormal")
    assert means(yes_no) == "“Yes” says that the condition is absent, “no” that it is present."
    ab = Prompt("p", "?", Form.AB, Polarity.POSITIVE, "target", ("Pneumonia", "No pneumonia"))
    assert means(ab) == "A (Pneumonia) says that the condition is present, B (No pneumonia) that it is absent."


def test_every_outcome_can_be_chosen_once() -> None:
    assert [outcome for _, outcome, _ in CHOICES] == list(dict.fromkeys(o for _, o, _ in CHOICES))
    assert {outcome for _, outcome, _ in CHOICES} == set(Outcome)
    assert len({key for key, _, _ in CHOICES} | {"s", "q"}) == len(Outcome) + 2


def test_in_the_terminal(run: Results, cli) -> None:
    from click.testing import CliRunner

    from palpate.cli import main

    folder = str(run.folder.path)
    call = ["label", folder, "--terminal", "--as", "x", "-n", "20"]
    first = CliRunner().invoke(main, call, input="z\ns\np\nn\nq\n")
    assert first.exit_code == 0, first.output
    assert "2 of " in first.output.splitlines()[-1]
    assert "base" not in first.output
    assert "tuned" not in first.output
    rest = CliRunner().invoke(main, call, input="u\n" * 30)
    with Ledger(run.folder.ledger_path) as ledger:
        assert waiting(draw(run.study, ledger, 20), ledger, "x") == []
    assert rest.exit_code == 0
    assert cli("label", folder, "--as", "not an alias", exit_code=2).output
