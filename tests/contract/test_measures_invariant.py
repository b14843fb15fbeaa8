"""What no measure may depend on, asked of every measure there is: a new file in measures/ is asked too."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from measured import CONTRASTS, MEASURES, SETTINGS, check, everything, hard, rich, taken
from palpate.descriptions import Descriptions
from palpate.measures._factors import factors_of
from palpate.nouns import Estimate, Panel
from palpate.parts import Measure
from palpate.rung import Rung


@pytest.fixture(params=MEASURES, ids=str)
def measure(request) -> Measure:
    return MEASURES[request.param]


def panels_for(measure: Measure) -> list[Panel]:
    """Perturbed images only where they are set against one another: elsewhere they are more of the same."""
    return everything() if measure.name in CONTRASTS else rich()


@cache
def _given(name: str) -> tuple[Estimate, ...]:
    return tuple(MEASURES[name].measure(panels_for(MEASURES[name]), SETTINGS))


def given(measure: Measure) -> list[Estimate]:
    return list(_given(measure.name))


# ---------------------------------------------------------------- what no measure may depend on


def index(found: list[Estimate]) -> dict[tuple[str, ...], Estimate]:
    return {(e.measure, *(f"{k}={v}" for k, v in sorted(e.by.items()))): e for e in found}


def same(first: list[Estimate], second: list[Estimate], *, bounds: bool = True) -> None:
    one, other = index(first), index(second)
    assert one.keys() == other.keys()
    for place, e in one.items():
        there = other[place]
        assert (e.value is None) == (there.value is None), place
        assert e.value is None or e.value == pytest.approx(there.value, rel=1e-9, abs=1e-9), place
        if bounds:
            assert (e.low is None) == (there.low is None), place
            assert e.low is None or (e.low, e.high) == pytest.approx((there.low, there.high), rel=1e-6, abs=1e-9), place


NEEDS_MORE = {"reading_quality": "answers that people read", "quadrants": "a quadrant may be empty"}
"""Measures of which this study gives no number for every estimate, and why."""


def test_the_study_they_are_tried_on_gives_every_number(measure):
    """Or else what follows would be asked of nothing: a new measure that needs more has to be given it in ``measured``."""
    found = given(measure)
    check(measure, found)
    assert len(index(found)) == len(found)
    numbers = {e.measure for e in found if e.value is not None}
    assert numbers == set(measure.estimates) or measure.name in NEEDS_MORE, set(measure.estimates) - numbers


def test_the_order_of_the_cases_does_not_matter(measure):
    order = np.random.default_rng(5).permutation(40)
    same(given(measure), list(measure.measure([taken(p, order) for p in panels_for(measure)], SETTINGS)))


BY_COUNT = {
    **dict.fromkeys(("ladder_ba", "ladder_loss", "representation_loss"), "the margin's folds are drawn within each class in turn"),
    **dict.fromkeys(("brier_skill_platt",), "Platt's line is fitted on folds of the cases"),
    **dict.fromkeys(
        ("calibration_slope", "calibration_intercept"), "the bias of maximum likelihood taken off is that of so many cases"
    ),
    **dict.fromkeys(("ece", "ece_null", "ece_corrected"), "bins of equally many cases, and their bias"),
    **dict.fromkeys(("d_prime", "criterion", "d_prime_spread", "criterion_spread"), "half a case is added, whatever their number"),
    **dict.fromkeys(("ladder_ba", "ladder_loss", "representation_loss"), "the margin's threshold is fitted on folds of the cases"),
    "answer_information": "the entropy of the answers is corrected for the number of cases it was taken over",
    **dict.fromkeys(
        ("criterion_loss", "ba_own_threshold", "description_gain_rethresholded"), "the threshold is fitted on folds of the cases"
    ),
}
"""Estimates whose value may depend on how many cases there are, and why."""


def test_the_same_image_twice_in_one_patient_is_no_second_observation(measure):
    """Every case doubled inside its own cluster: the same number, and not a hair less uncertainty."""
    doubled = [taken(p, np.repeat(np.arange(40), 2)) for p in panels_for(measure)]
    kept = [[e for e in found if e.measure not in BY_COUNT] for found in (given(measure), measure.measure(doubled, SETTINGS))]
    same(*kept)


NEGATED = ("refusal_difference", "delta_refusal_difference", "criterion", "calibration_intercept")
"""What changes its sign when the other label is called the condition."""
TURNED = {"sensitivity": "specificity", "specificity": "sensitivity", "reading_sensitivity": "reading_specificity"}
TURNED |= {b: a for a, b in TURNED.items()}
"""What changes its name."""
ONE_SIDED = {
    **dict.fromkeys(("f1_all", "f1_nr"), "F1 is of the condition alone"),
    **dict.fromkeys(("ece", "present_in_bin", "said_in_bin"), "bins of equally many cases, counted from one end"),
    **dict.fromkeys(("ece_null", "ece_corrected"), "bins of equally many cases, counted from one end"),
    "reader_prior": "what readers call positive without a description",
    "description_gain_rethresholded": "the lowest of equally good thresholds is taken",
    "mirage_rate": "what is asserted of an image that shows nothing",
    **dict.fromkeys(("suggestion_effect", "accuracy_agreeing", "accuracy_conflicting"), "what a text suggests is the condition"),
    **dict.fromkeys(("suggestion_sway", "text_share"), "the text speaks for the condition"),
    **dict.fromkeys(("occlusion_grounding", "occlusion_change_lesion", "occlusion_change_matched"), "a lesion is of the condition"),
    **dict.fromkeys(("criterion_loss", "ba_own_threshold"), "the lowest of equally good thresholds is taken"),
    **dict.fromkeys(("ladder_ba", "ladder_loss", "representation_loss"), "the margin's folds are drawn within each class in turn"),
    **dict.fromkeys(("brier_skill_platt", "delta_ba_best_prompts"), "folds are drawn within each class in turn"),
}
"""What is about the condition, or about one draw of folds, and why."""


def test_calling_the_other_label_the_condition_changes_nothing_but_the_names(measure):
    """Of every estimate there is: the same, but for those that are listed with what becomes of them."""

    def named(one: Panel) -> Panel:
        return replace(one, prompts=tuple(replace(p, factors=factors_of(p)) for p in one.prompts))

    def swapped(one: Panel) -> Panel:
        code = np.where(np.isin(one.outcome, (0, 1)), 1 - one.outcome, one.outcome).astype(np.int8)
        prompts = tuple(replace(p, polarity=p.polarity.flipped) for p in one.prompts)
        probed = {cell: tuple(_turned(rung) for rung in rungs) for cell, rungs in one.rungs.items()}
        told = None if one.descriptions is None else _told_turned(one.descriptions)
        turned = replace(one, label=1 - one.label, outcome=code, margin=-one.margin, prompts=prompts, rungs=probed)
        return replace(turned, descriptions=told)

    def kept(panels: list[Panel], *, turn: bool = False) -> list[Estimate]:
        found = [e for e in measure.measure(panels, SETTINGS) if e.measure not in ONE_SIDED and "class" not in e.by]
        return [_as_seen_from_the_other_label(e) for e in found] if turn else found

    plain = [named(p) for p in panels_for(measure)]
    same(kept(plain), kept([swapped(p) for p in plain], turn=True), bounds=False)


def _told_turned(told: Descriptions) -> Descriptions:
    def other(code: np.ndarray) -> np.ndarray:
        return np.where(np.isin(code, (0, 1)), 1 - code, code).astype(np.int8)

    read = tuple(replace(d, outcome=other(d.outcome), margin=-d.margin) for d in told.diagnoses)
    words = {p: tuple(_turned(r) for r in rungs) for p, rungs in told.probes.items()}
    return replace(told, stated=other(told.stated), diagnoses=read, probes=words)


def _turned(rung: Rung) -> Rung:
    return replace(rung, score=-rung.score, twin=None if rung.twin is None else -rung.twin)


def _as_seen_from_the_other_label(e: Estimate) -> Estimate:
    negative = e.measure in NEGATED and e.value is not None
    return replace(e, measure=TURNED.get(e.measure, e.measure), value=-e.value if negative and e.value else e.value)


def test_of_nothing_there_is_no_number(measure):
    """Nothing read, or nobody there: a reason, and never 0.0. Only the count of failed trials is known."""
    empty = [panels for panels in hard() if all((p.outcome < 0).all() for p in panels)]
    assert len(empty) == 5
    for panels in empty:
        for e in measure.measure(panels, SETTINGS):
            assert e.value is None or e.measure == "error_rate", e


# ---------------------------------------------------------------- many questions at once

UNCORRECTED = {
    **dict.fromkeys(
        ("prompt_spread", "refusal_spread", "auroc_spread"), "above a bound, not above 0: false in 0.2 % where none is"
    ),
    "criterion_spread": "above a bound, and above another spread",
    "design_error": "says which of two numbers is larger",
    **dict.fromkeys(("ladder_gain", "ladder_width"), "at 99 %; a width is described, not tested"),
    "spread_difference": "Bonferroni over the tasks: its interval has no p",
    "answer_mass": "a flag",
    "auroc": "a flag: the margin is not used",
}
"""Verdicts without Holm's correction, and why."""


def test_a_verdict_says_what_it_is_corrected_over(measure):
    for e in given(measure):
        assert e.verdict is None or e.measure in UNCORRECTED or "Holm over" in e.method, e.measure


def test_asking_more_tasks_never_shows_more(measure):
    """Three further tasks of pure guessing: every number stays, and a word either stays or gives way to one that claims less."""
    first = [p for p in panels_for(measure) if p.task == "t0"]
    more = [replace(p, task=f"u{k}") for p in first for k in range(3)]
    alone, among = (index(list(measure.measure(panels, SETTINGS))) for panels in (first, [*first, *more]))
    less = 0
    for place, e in alone.items():
        there = among[place]
        assert (e.value, e.low, e.high) == (there.value, there.low, there.high), place
        less += e.verdict != there.verdict
        assert e.verdict == there.verdict or there.verdict in WEAKER, (place, e.verdict, there.verdict)


WEAKER = {
    *("undetermined", "equivalent", "at chance", "robust", "not swayed", "nothing lost", "nothing more inside", "not ranked"),
    *("not shown beyond reruns", "no trend shown", "not shown to be selective", "no effect shown", "not shown to be usable"),
    *("not shown to be informed", "no miscalibration shown", "not shown to look at the lesion", "ignores the image"),
    *("looks but blind", "knowledge problem"),
}
"""Words that claim no effect, or none that was found."""
