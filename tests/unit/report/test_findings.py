"""Verdicts in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from palpate.nouns import Estimate
from palpate.registry import parts
from palpate.report import words
from palpate.report.findings import CHANCE, RELATIONS, WORDINGS, Finding, findings, summary, tally, unmeasured
from palpate.report.questions import MEASURED, QUESTIONS
from palpate.report.view import ReportView
from synthetic_report import MODELS, NO_ANSWER, TASKS, estimate

BY: Mapping[str, str] = {"model": MODELS[0], "task": TASKS[0][0], "cell": "target"}
PAIR = {"base": MODELS[0], "tuned": MODELS[1], "relation": "parent", "task": TASKS[0][0], "cell": "target"}


def small(view: ReportView, *estimates: Estimate) -> ReportView:
    return replace(view, models=view.models[:1], tasks=view.tasks[:1], estimates=estimates)


def found(view: ReportView, question: int, *estimates: Estimate) -> Finding:
    return next(f for f in findings(small(view, *estimates)) if f.question == question)


def test_accuracy_is_said_as_a_clinician_reads_it(view: ReportView) -> None:
    f = found(view, 1, estimate("ba_all", 0.9, 0.047, "above chance", **BY))
    assert f.sentence == (
        "phantom-llava answers 0.90 of brain tumour questions right (both classes weighted alike; 95 % interval 0.85–0.95), "
        "of a possible 0.975; chance is 0.50. Better than chance."
    )
    assert (f.symbol, f.verdict, f.short, f.between, f.tone) == ("✓", "above chance", "0.90 of 0.975", "0.85–0.95", "good")


def test_accuracy_of_what_was_answered_is_said_where_it_differs(view: ReportView) -> None:
    whole = estimate("ba_all", 0.8, 0.05, "above chance", **BY)
    assert "Of those it answers, 0.88 (0.83–0.93)." in found(view, 1, whole, estimate("ba_answered", 0.88, 0.049, **BY)).sentence
    assert found(view, 1, whole, estimate("ba_answered", 0.88, 0.049, **BY)).also == "answered 0.88"
    assert "Of those" not in found(view, 1, whole, estimate("ba_answered", 0.801, 0.05, **BY)).sentence


def test_where_the_best_is_unknown_none_is_claimed(view: ReportView) -> None:
    task = replace(view.tasks[0], best_accuracy=None)
    one = replace(small(view, estimate("ba_all", 0.9, 0.05, "above chance", **BY)), tasks=(task,))
    assert "possible" not in findings(one)[0].sentence
    assert findings(one)[0].short == "0.90"


@pytest.mark.parametrize("verdict", sorted(CHANCE))
def test_every_verdict_on_chance_has_symbol_and_words(view: ReportView, verdict: str) -> None:
    f = found(view, 1, estimate("ba_all", 0.5, 0.05, verdict, **BY))
    assert f.symbol == words.SYMBOLS[verdict]
    assert f.verdict == verdict
    assert CHANCE[verdict] in f.sentence


def test_spread_is_said_beside_what_sampling_alone_gives(view: ReportView) -> None:
    f = found(
        view,
        2,
        estimate("prompt_spread", 0.05, 0.02, "fragile", **BY),
        estimate("prompt_spread_naive", 0.062, **BY),
        estimate("prompt_spread_null", 0.016, 0.008, **BY),
        estimate("flip_rate", 0.12, 0.02, **BY),
    )
    assert f.sentence == (
        "Over 8 wordings the accuracy of phantom-llava on brain tumour moves by 6 points (standard deviation); sampling alone "
        "would make it 1.6 (0.8–2.4). The wording itself: 5 points (95 % interval 3–7). Two wordings disagree on 12 % of images. "
        "Fragile: it depends on how one asks."
    )
    assert f.symbol == "✗"


@pytest.mark.parametrize("verdict", sorted(WORDINGS))
def test_a_spread_without_its_null_is_still_said(view: ReportView, verdict: str) -> None:
    f = found(view, 2, estimate("prompt_spread", 0.01, 0.005, verdict, **BY))
    assert "moves by 1.0 points beyond sampling noise" in f.sentence
    assert WORDINGS[verdict] in f.sentence


def refusing(view: ReportView, rate: float, half: float, difference: float, verdict: str, silent: float | None = None) -> Finding:
    return found(
        view,
        3,
        estimate("refusal_rate", rate, half, **BY),
        estimate("no_answer_rate", rate if silent is None else silent, half, **BY),
        estimate("refusal_difference", difference, 0.01, verdict, **BY),
    )


def test_refusing_by_the_truth_is_selective(view: ReportView) -> None:
    f = refusing(view, 0.11, 0.01, 0.07, "selective", silent=0.13)
    assert (f.symbol, f.verdict, f.short) == ("✗", "selective", "13 % open")
    assert "refuses 11 % of brain tumour questions (95 % interval 10–12 %); 13 % end without a definite answer" in f.sentence
    assert f.sentence.endswith("it refuses 7 percentage points more often where the condition is present.")
    assert "where the condition is absent" in refusing(view, 0.11, 0.01, -0.07, "selective").sentence


def test_refusing_at_random_is_not_called_selective(view: ReportView) -> None:
    f = refusing(view, 0.11, 0.01, 0.004, "not shown to be selective")
    assert (f.symbol, f.verdict) == ("≈", "leaves some open")
    assert "do not show to be more than chance" in f.sentence


def test_never_refusing_is_only_promised_where_the_images_allow(view: ReportView) -> None:
    assert refusing(view, 0.0, 0.01, 0.0, "not shown to be selective").verdict == "answers"
    few = refusing(view, 0.0, 0.08, 0.0, "not shown to be selective")
    assert (few.symbol, few.verdict) == ("✓", "none seen")


@pytest.mark.parametrize(
    ("value", "verdict", "symbol", "said"),
    [
        (0.12, "better", "✓", "better by 12 points of balanced accuracy (95 % interval 8 to 16)."),
        (-0.08, "worse", "✗", "worse by 8 points of balanced accuracy (95 % interval −12 to −4)."),
        (0.01, "equivalent", "≈", "the same within ±5 points of balanced accuracy (+1) (95 % interval −3 to +5)."),
        (0.03, "undetermined", "?", "+3 points of balanced accuracy, too uncertain for a verdict (95 % interval −1 to +7)."),
    ],
)
def test_tuning_has_four_ends(view: ReportView, value: float, verdict: str, symbol: str, said: str) -> None:
    f = found(view, 4, estimate("delta_ba_all", value, 0.04, verdict, **PAIR), estimate("delta_ba_all_mde", 0.058, **PAIR))
    assert f.sentence.startswith(f"phantom-llava-med against phantom-llava on brain tumour: {said}")
    assert f.short.endswith(" point") == (value == 0.01)
    assert (f.symbol, f.base, f.model) == (symbol, MODELS[0], MODELS[1])
    assert ("6 points and more" in f.sentence) == (verdict in ("undetermined", "equivalent"))


def test_other_wordings_are_said_with_their_wider_interval(view: ReportView) -> None:
    wider = estimate("delta_ba_all_over_wordings", 0.12, 0.07, "better", **PAIR)
    f = found(view, 4, estimate("delta_ba_all", 0.12, 0.04, "better", **PAIR), wider)
    assert "For other wordings of the same question: 5 to 19." in f.sentence


@pytest.mark.parametrize("relation", sorted(RELATIONS))
def test_a_difference_of_siblings_is_not_called_tuning(view: ReportView, relation: str) -> None:
    f = found(view, 4, estimate("delta_ba_all", 0.12, 0.04, "better", **{**PAIR, "relation": relation}))
    assert RELATIONS[relation] in f.sentence


@pytest.mark.parametrize(("question", "measure"), [(1, "ba_all"), (2, "prompt_spread"), (3, "refusal_rate"), (4, "delta_ba_all")])
def test_undefined_says_why_and_is_no_zero(view: ReportView, question: int, measure: str) -> None:
    f = found(view, question, estimate(measure, None, **(PAIR if question == 4 else BY)))
    assert (f.symbol, f.verdict, f.number) == ("–", "not measured", "–")
    assert f.sentence.endswith(f"not measured: {NO_ANSWER}.")
    assert "0" not in f.sentence
    assert f.why == NO_ANSWER
    assert unmeasured([f, f, found(view, 1, estimate("ba_all", 0.9, 0.05, "above chance", **BY))]) == [(NO_ANSWER, 2)]


def test_what_was_never_estimated_says_so(view: ReportView) -> None:
    assert {f.question for f in findings(small(view))} == {1, 2, 3}
    assert all(f.sentence.endswith("not measured: no estimate was made.") for f in findings(small(view)))


def test_perturbed_images_have_no_say_in_the_verdict(view: ReportView) -> None:
    blank = estimate("delta_ba_all", -0.3, 0.04, "worse", **PAIR, perturbation="blank")
    assert not [f for f in findings(small(view, blank)) if f.question == 4]


def test_the_summary_gathers_tasks_of_one_verdict(view: ReportView) -> None:
    groups = summary(findings(view), view, MODELS[0], 1)
    assert [(g.symbol, g.verdict, [t for t, _ in g.tasks]) for g in groups] == [
        ("✓", "above chance", ["brain tumour", "pneumonia", "malignant skin lesion"]),
        ("≈", "at chance", ["invasive ductal carcinoma"]),
    ]
    assert groups[0].tasks[0][1] == "0.90 of 0.975"
    assert summary(findings(view), view, MODELS[0], 4) == []


def test_the_summary_names_the_base_where_there_are_two(view: ReportView) -> None:
    other = {**PAIR, "base": MODELS[2]}
    two = small(view, estimate("delta_ba_all", 0.1, 0.04, "better", **PAIR), estimate("delta_ba_all", 0.1, 0.04, "better", **other))
    (group,) = summary(findings(two), two, MODELS[1], 4)
    assert [t for t, _ in group.tasks] == ["brain tumour against phantom-llava", "brain tumour against phantom-gemma"]


def test_the_tally_counts_every_finding(view: ReportView) -> None:
    assert tally(findings(view), 1) == "above chance in 11 of 16; at chance in 4; not measured in 1"
    assert tally(findings(view), 5) == ""


def test_every_estimate_of_every_measure_has_a_section() -> None:
    known = {name for measure in parts("measures").values() for name in measure.estimates}
    assert known <= MEASURED, "name it in questions.py, or it lands in the appendix"
    assert known >= MEASURED, "no measure gives it any more"


def test_a_measure_stands_in_the_section_of_its_question() -> None:
    section = {name: q.number for q in QUESTIONS for name in q.measures}
    assert {(name, m.question) for m in parts("measures").values() for name in m.estimates} == set(section.items())
