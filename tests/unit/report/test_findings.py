"""Verdicts in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from html import unescape

import pytest

from palpate.nouns import Estimate
from palpate.registry import parts
from palpate.report import words
from palpate.report.findings import BY_ITSELF, CHANCE, RELATIONS, WORDINGS, Finding, findings, summary, tally, unmeasured
from palpate.report.html import render_html
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


# ---------------------------------------------------------------- questions 5 to 7


def test_the_image_is_spoken_of_only_where_it_was_taken_away(view: ReportView) -> None:
    moved = estimate("image_dependence", 0.42, 0.06, "uses the image", **BY)
    assert not [f for f in findings(small(view, moved)) if f.question == 5]
    blank = estimate("image_dependence", 0.4, 0.06, None, **BY, null_image="blank")
    seen = estimate("label_dependence", 0.31, 0.05, None, **BY)
    f = found(view, 5, moved, blank, seen)
    assert (f.symbol, f.verdict, f.short, f.between) == ("✓", "uses the image", "42 % moved", "36–48 %")
    assert f.sentence.startswith("phantom-llava's answers") or "42 % of phantom-llava's answers on brain tumour" in f.sentence
    assert "tell the cases apart by 0.310 above chance (0.260–0.360)" in f.sentence
    assert f.sentence.endswith("It uses the image.")


def test_the_other_verdicts_on_the_image(view: ReportView) -> None:
    blank = estimate("image_dependence", 0.0, 0.06, None, **BY, null_image="blank")
    for verdict, said in (
        ("looks but blind", "does not see the condition."),
        ("ignores the image", "ignores the image."),
        ("sees, but says the opposite", "which answer counts as positive."),
    ):
        f = found(view, 5, estimate("image_dependence", -0.01, 0.02, verdict, **BY), blank)
        assert (f.symbol, f.verdict) == ("✗", verdict)
        assert f.sentence.endswith(said)
        assert "0 % of" in f.sentence, "a share below 0 is rerun noise taken off, and is told as 0"
    unread = found(view, 5, estimate("image_dependence", None, **BY), blank)
    assert (unread.verdict, unread.why) == ("not measured", NO_ANSWER)


def test_what_it_knows_is_told_beside_what_it_says(view: ReportView) -> None:
    own = estimate("ba_own_threshold", 0.84, 0.03, None, **BY)
    f = found(view, 6, estimate("criterion_loss", 0.22, 0.05, "threshold problem", **BY), own)
    assert (f.symbol, f.short, f.between) == ("✗", "+22 points", "17 to 27")
    assert "would score 0.84 on brain tumour; its answers score 0.62, +22 points of difference" in f.sentence
    assert "knows more than it says" in f.sentence
    lost = found(view, 6, estimate("criterion_loss", 0.0, 0.02, "nothing lost", **BY), own)
    assert lost.symbol == "✓"
    lacking = found(view, 6, estimate("criterion_loss", 0.01, 0.02, "knowledge problem", **BY), own)
    assert (lacking.symbol, lacking.sentence.endswith("no other threshold would help much.")) == ("✗", True)
    assert found(view, 6, estimate("criterion_loss", None, **BY)).why == NO_ANSWER


def test_where_stages_were_probed_the_place_of_the_loss_is_told_in_words_too(view: ReportView) -> None:
    knows = (estimate("criterion_loss", 0.1, 0.02, "threshold problem", **BY), estimate("ba_own_threshold", 0.9, 0.02, **BY))
    steps = [estimate("ladder_loss", 0.2, 0.05, "bottleneck", **BY, step="read>projector")]
    steps.append(estimate("ladder_loss", 0.2, 0.05, "bottleneck", **{**BY, "model": MODELS[1]}, step="last>margin"))
    told = found(view, 6, *knows, *steps).sentence
    assert told.endswith("Inside: lost in the projector: the vision tower sees it, the language model is not given it "
                         "(−20 points, a loss of representation).")  # fmt: skip
    assert "Inside" not in found(view, 6, *knows, steps[1]).sentence


def test_confidence_is_told_by_margin_or_else_by_agreement(view: ReportView) -> None:
    by_margin, by_agreement = {**BY, "confidence": "margin"}, {**BY, "confidence": "agreement"}
    area = estimate("auroc_failure", 0.74, 0.05, "usable", **by_margin)
    other = estimate("auroc_failure", 0.66, 0.05, "usable", **by_agreement)
    risk = estimate("risk_at_80", 0.12, 0.03, None, **by_margin)
    slope = estimate("calibration_slope", 0.4, 0.1, "overconfident", **BY)
    f = found(view, 7, area, other, risk, slope)
    assert (f.symbol, f.verdict, f.short) == ("✓", "usable", "74 % right first")
    assert "of the 80 % it is surest of, 12 % are wrong; its probabilities are overconfident" in f.sentence
    silent = estimate("auroc_failure", None, **by_margin)
    f = found(view, 7, silent, other)
    assert f.number == "66 %"
    assert "by how far its wordings agree" in f.sentence
    assert found(view, 7, silent).why == NO_ANSWER
    assert found(view, 7, estimate("auroc_failure", 0.4, 0.05, "misleading", **by_margin)).symbol == "✗"


def test_the_part_of_the_wording_that_surely_moves_it_most_is_named() -> None:
    from synthetic_curves import examined_whole

    found = {(f.model, f.task): f.sentence for f in findings(examined_whole()) if f.question == 2}
    assert "What moves it most: polarity, negated instead of affirmative (−9 points)." in found[MODELS[1], TASKS[0][0]]
    assert "What moves it most" not in found[MODELS[0], TASKS[0][0]], "nothing is named that is not sure"


HOLM = "by itself an effect would be shown; after Holm's correction over tasks it is not"


def test_an_interval_without_0_and_no_verdict_say_why_beside_each_other(view: ReportView) -> None:
    e = replace(estimate("delta_ba_all", 0.06, 0.05, "undetermined", **PAIR), reason=HOLM)
    cut = replace(view, models=view.models[:2], tasks=view.tasks[:1], estimates=(e,), examples=())
    f = next(f for f in findings(cut) if f.question == 4)
    assert "interval 1 to 11). By itself an effect would be shown; after Holm's correction over tasks it is not." in f.sentence
    assert f.note == BY_ITSELF
    assert f"; {BY_ITSELF}</small>" in unescape(render_html(cut))
    (without,) = [f for f in findings(replace(cut, estimates=(replace(e, reason=None),))) if f.question == 4]
    assert (without.note, "By itself" in without.sentence) == ("", False)


@pytest.mark.parametrize(
    ("question", "names"),
    [(1, ("ba_all",)), (5, ("image_dependence",)), (6, ("criterion_loss", "ba_own_threshold")), (7, ("auroc_failure",))],
)
def test_every_question_says_it(view: ReportView, question: int, names: tuple[str, ...]) -> None:
    by = {**BY, "confidence": "margin"} if question == 7 else BY
    measured = [replace(estimate(name, 0.6, 0.05, "undetermined", **by), reason=HOLM) for name in names]
    null = estimate("image_dependence", 0.1, 0.05, **BY, null_image="blank")
    f = found(view, question, *measured, null)
    assert f.note == BY_ITSELF
    assert "after Holm's correction over tasks it is not." in f.sentence


@pytest.mark.parametrize("margins", [True, False])
def test_a_gain_of_descriptions_says_it_beside_its_interval(view: ReportView, margins: bool) -> None:
    """Also where the finding is about the margin; without one it is the gain's own, and noted as such."""
    e = replace(estimate("description_gain", 0.1, 0.05, "undetermined", **BY), reason=HOLM)
    known = [estimate("criterion_loss", 0.1, 0.05, "threshold problem", **BY), estimate("ba_own_threshold", 0.8, 0.05, **BY)]
    if not margins:
        known = [replace(known[0], value=None, low=None, high=None, reason="no margin")]
    f = found(view, 6, e, *known)
    assert "beyond its direct answer (5 to 15)." in f.sentence
    assert f.sentence.endswith(f"carries more. {HOLM[:1].upper()}{HOLM[1:]}.")
    assert f.note == ("" if margins else BY_ITSELF)
    assert "By itself" not in found(view, 6, replace(e, reason=None), *known).sentence


def test_refusals_say_it_of_the_difference_between_the_classes(view: ReportView) -> None:
    difference = replace(estimate("refusal_difference", 0.05, 0.04, "not shown to be selective", **BY), reason=HOLM)
    f = found(view, 3, estimate("refusal_rate", 0.1, 0.03, **BY), difference)
    assert f.sentence.endswith(
        "more than chance; by itself an effect would be shown; after Holm's correction over tasks it is not."
    )
