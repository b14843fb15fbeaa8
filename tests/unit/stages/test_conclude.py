"""Conclusions: every question answered once per model or pair, by the estimate its measure declares, with null and MDE beside."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from palpate.nouns import VERDICTS, Estimate
from palpate.questions import TITLES
from palpate.registry import parts
from palpate.report.questions import QUESTIONS
from palpate.report.tables import render_conclusions
from palpate.results import Results
from palpate.stages.conclude import conclude, headlines
from palpate.store.folder import conclusions_json
from small import Cli

BA = Estimate(
    "ba_all", {"model": "m", "task": "t", "cell": "target"}, 0.7, 0.6, 0.8, 0.95, "x", 9, 9, verdict="above chance", mde=0.1
)
SPREAD = replace(BA, measure="prompt_spread", value=0.03, low=0.0, high=0.06, verdict="undetermined", mde=0.05)
NULL = replace(SPREAD, measure="prompt_spread_null", value=0.04, low=0.02, high=0.06, verdict=None, mde=None)


def test_every_headline_is_an_estimate_of_its_measure_and_what_stands_beside_it_exists() -> None:
    known = {e for m in parts("measures").values() for e in m.estimates}
    answered = set()
    for measure in parts("measures").values():
        for headline in headlines(measure):
            answered.add(measure.question)
            assert headline.estimate in measure.estimates
            assert set(headline.beside) <= known
            assert not isinstance(headline.null, str) or headline.null in known
    assert set(range(1, 8)) == answered


def test_a_question_is_answered_by_its_headline_with_the_null_beside_it() -> None:
    found = {c.question: c for c in conclude([BA, SPREAD, NULL])}
    assert (found[1].verdict, found[1].estimate, found[1].null, found[1].mde) == ("above chance", BA, 0.5, 0.1)
    assert (found[2].verdict, found[2].null) == ("undetermined", NULL)
    assert found[2].title == "Depends on the wording?"
    assert found[3].verdict == "not examined"
    assert found[3].why


def test_only_the_whole_cell_answers_and_a_reason_is_passed_on() -> None:
    one = replace(BA, by={**BA.by, "prompt": "p"})
    blurred = replace(BA, by={**BA.by, "perturbation": "blur-3"})
    empty = replace(BA, by={**BA.by, "task": "u"}, value=None, low=None, high=None, verdict=None, reason="no case was read")
    found = [c for c in conclude([one, blurred, empty]) if c.question == 1]
    assert [(c.verdict, c.why, c.by["task"]) for c in found] == [("not measured", "no case was read", "u")]


def test_the_report_asks_the_same_questions() -> None:
    assert {q.number: q.title for q in QUESTIONS} == dict(TITLES)


def test_a_run_answers_its_questions(finished: Path) -> None:
    results = Results.open(finished)
    found = results.questions()
    assert {c.question for c in found} == set(range(1, 8))
    about = {(c.question, c.by.get("model") or c.by.get("tuned"), c.by.get("cell")) for c in found if c.by}
    assert {(q, m, c) for q in (1, 2, 3) for m in ("base", "tuned") for c in ("target", "abnormal")} <= about
    assert (4, "tuned", "target") in about
    for c in found:
        assert c.verdict in VERDICTS | {"no verdict", "not measured", "not examined"}
        assert c.estimate is None or c.estimate in results.estimates
        assert c.null is None or isinstance(c.null, float) or c.null in results.estimates
    tested = [c for c in found if c.verdict in ("undetermined", "not shown to be selective", "equivalent")]
    assert tested
    # Where no case is ever answered differently there is no noise to look through.
    assert [c for c in tested if c.question < 5 and c.mde is None and c.estimate.value] == []
    assert {c.by["model"] for c in results.questions(1, where={"model": "base"})} == {"base"}


def test_the_verb_prints_them(finished: Path, cli: Cli) -> None:
    shown = cli("questions", finished).stdout
    for title in TITLES.values():
        assert shown.count(title) == 1
    assert "not measured" in shown
    asked = json.loads(cli("questions", finished, "2", "--format", "json", "--where", "model=base").stdout)
    assert {(c["question"], c["title"]) for c in asked} == {(2, "Depends on the wording?")}
    assert asked[0]["null"]["measure"] == "prompt_spread_null"


@pytest.mark.parametrize("estimates", [[], [replace(BA, value=None, low=None, high=None, verdict=None, mde=None, reason="why")]])
def test_tables_show_what_is_not_there(estimates: list[Estimate]) -> None:
    found = conclude(estimates)
    assert "not" in render_conclusions(found)
    assert json.loads(conclusions_json(found))[0]["mde"] is None
