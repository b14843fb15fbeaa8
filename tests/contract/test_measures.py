"""What every measure must do, whoever wrote it: announced names, a number or a reason, the same numbers every time."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest

from palpate.measures._factors import factors_of
from palpate.nouns import VERDICTS, Estimate, Lineage, Panel, Perturbation
from palpate.parts import Measure, MeasureSettings, Thresholds
from palpate.registry import parts
from palpate.rung import Rung
from planted import Planted, panel
from wordings import both_orders, both_polarities

SETTINGS = MeasureSettings(lineages=(Lineage("m0", "m1", "parent"),), seed=3, draws=100)
MEASURES = parts("measures")


def study() -> list[Panel]:
    """Two models on two tasks, with refusals, errors and margins."""
    found = []
    for task in range(2):
        for model in range(2):
            plan = Planted(20, 2, 4, 0.7, refusal=(0.1, 0.2))
            one = plan.panel(seed=model + 10 * task, model=f"m{model}", task=f"t{task}", cases_seed=task)
            one.outcome[0, 0] = -1
            margin = np.random.default_rng([task, model]).normal(one.label[:, None, None], 1, one.outcome.shape)
            one = replace(one, rungs={"target": rungs(one.label)})
            found.append(replace(one, margin=margin, mass=np.full(margin.shape, 0.9), n_errors=1, best_accuracy=0.9))
    return found


PERTURBED = ("no_image", 0), ("blank", 0), ("occlude_lesion", 0), ("occlude_matched", 0), ("blur", 1), ("blur", 3)
CONTRASTS = {"image", "quadrants", "corruption", "occlusion"}
"""Measures that set perturbations against one another, instead of looking at one at a time."""


def wide_study() -> list[Panel]:
    """The same with everything a study may ask: perturbed images, and texts that suggest an answer."""
    found = []
    for number, one in enumerate(study()):
        texts = ("none", "none", "for", "against")
        asked = tuple(replace(p, factors={"suggestion": t}) for p, t in zip(one.prompts, texts, strict=True))
        plain = replace(one, prompts=asked)
        found.append(plain)
        for at, (name, severity) in enumerate(PERTURBED):
            rng = np.random.default_rng([number, at])
            outcome = np.where(rng.random(plain.outcome.shape) < 0.4, 1 - plain.outcome.clip(0, 1), plain.outcome).astype(np.int8)
            margin = plain.margin + rng.normal(0, 1, plain.margin.shape)
            found.append(replace(plain, perturbation=Perturbation(name, severity), outcome=outcome, margin=margin))
    return found


def rungs(label: np.ndarray) -> tuple[Rung, ...]:
    """What probes say of some stages, with a control and a random twin."""
    rng = np.random.default_rng(5)
    found = []
    for stage in ("metadata", "vision", "read", "hidden"):
        score = rng.normal(label, 1.0)
        found.append(Rung(stage, score, ((score > 0.5) == label).astype(float), 0.5, rng.normal(size=label.size), width=4.0))
    return tuple(found)


def hard() -> list[list[Panel]]:
    """Panels on which much is undefined."""
    label = np.arange(8) % 2
    return [
        [],
        [panel(np.zeros((0, 2)), np.zeros(0), model=m) for m in ("m0", "m1")],
        [panel(np.full((8, 2), -1), label, model=m) for m in ("m0", "m1")],
        [panel(np.full((8, 2), 3), label, model=m) for m in ("m0", "m1")],
        [panel(np.zeros((8, 2)), np.ones(8), model=m) for m in ("m0", "m1")],
        [panel(np.zeros((8, 2)), label, np.zeros(8, int), model=m) for m in ("m0", "m1")],
        [panel(np.zeros((8, 1)), label, model="m0")],
    ]


@pytest.fixture(params=MEASURES, ids=str)
def measure(request) -> Measure:
    return MEASURES[request.param]


def check(measure: Measure, estimates: list[Estimate]) -> None:
    for e in estimates:
        assert e.measure in measure.estimates
        assert all(isinstance(k, str) and isinstance(v, str) for k, v in e.by.items())
        numbers = [x for x in (e.value, e.low, e.high) if x is not None]
        assert all(type(x) is float and math.isfinite(x) for x in numbers)
        assert (e.value is None) == bool(e.reason), e
        assert (e.low is None) == (e.high is None)
        assert e.value is not None or (e.low is None and e.verdict is None)
        assert e.low is None or e.low <= e.value <= e.high
        assert e.verdict is None or e.verdict in VERDICTS, "add the word to nouns.VERDICTS, so that the gate knows it"
        assert type(e.n_cases) is type(e.n_clusters) is type(e.n_left_out) is int
        assert e.method
        assert e.verdict is None or "; verdict: " in e.method, "a verdict says by which rule it was given"
        assert e.mde is None or (type(e.mde) is float and 0 < e.mde < math.inf)
        json.dumps(asdict(e), allow_nan=False)


def test_it_says_what_it_answers_and_in_which_words(measure):
    assert isinstance(measure, Measure)
    assert measure.question in range(1, 8)
    assert all(len(text) > 20 for text in measure.estimates.values())


def test_it_gives_a_number_or_a_reason_and_every_estimate_it_announces(measure):
    found = list(measure.measure(wide_study(), SETTINGS))
    check(measure, found)
    assert {e.measure for e in found} == set(measure.estimates)
    places = [(e.measure, *sorted(e.by.items())) for e in found]
    assert len(places) == len(set(places))


def test_what_is_undefined_has_a_reason(measure):
    for panels in hard():
        check(measure, list(measure.measure(panels, SETTINGS)))
        perturbed = [replace(p, perturbation=Perturbation(name, severity)) for p in panels for name, severity in PERTURBED]
        check(measure, list(measure.measure([*panels, *perturbed], SETTINGS)))


def test_the_same_panels_in_any_order_give_the_same_estimates(measure):
    first, again = (list(measure.measure(wide_study(), SETTINGS)) for _ in range(2))
    assert first == again
    backwards = list(measure.measure(wide_study()[::-1], SETTINGS))
    assert sorted(map(repr, first)) == sorted(map(repr, backwards))


def test_a_perturbation_is_named_and_never_mixed_with_the_images_as_they_are(measure):
    plain = study()
    blurred = [replace(p, perturbation=Perturbation("blur", 3), outcome=p.outcome[:, ::-1]) for p in plain]
    found = list(measure.measure([*plain, *blurred], SETTINGS))
    alone = list(measure.measure(plain, SETTINGS))
    named = [e for e in found if e.by.get("perturbation") == "blur-3"]
    if measure.name in CONTRASTS:
        assert [e for e in found if "perturbation" not in e.by and "family" not in e.by] == alone
        return
    assert len(named) == len(alone) == len(found) / 2
    kept = [e for e in found if "perturbation" not in e.by]
    assert [(e.measure, e.by, e.value, e.low) for e in kept] == [(e.measure, e.by, e.value, e.low) for e in alone]


def test_a_verdict_goes_by_the_bounds_it_is_given_and_the_numbers_do_not(measure):
    usual = list(measure.measure(study(), SETTINGS))
    lax = replace(Thresholds(), chance_margin_small=0.49, robust=0.49, fragile=0.48, equivalence=0.99)
    moved = list(measure.measure(study(), replace(SETTINGS, thresholds=lax)))
    assert [(e.measure, e.by, e.value, e.low, e.high) for e in usual] == [(e.measure, e.by, e.value, e.low, e.high) for e in moved]
    undecided = {"ba_all", "prompt_spread", "delta_ba_all", "delta_ba_all_over_wordings"}
    assert not any(e.verdict == "undetermined" for e in moved if e.measure in undecided)


def test_it_leaves_its_panels_alone(measure):
    panels, before = study(), study()
    list(measure.measure(panels, SETTINGS))
    for p, q in zip(panels, before, strict=True):
        assert np.array_equal(p.outcome, q.outcome)
        assert np.array_equal(p.margin, q.margin)


# ---------------------------------------------------------------- what no measure may depend on


def rich() -> list[Panel]:
    """The study with wordings that differ in order and polarity, repeats, and facts of the cases."""
    found = []
    for one in study():
        plan = Planted(20, 2, 4, 0.7, refusal=(0.1, 0.2), repeats=2)
        outcome = plan.codes(one.label, one.cluster, np.random.default_rng([len(found), 8]))
        outcome[1, 2] = -1
        facts = {"size": tuple(float(i % 7) for i in range(40)), "sex": tuple("fm"[i % 2] for i in range(40))}
        wide = {name: getattr(one, name).repeat(2, axis=2) for name in ("margin", "mass")}
        found.append(replace(one, prompts=both_orders() + both_polarities(), outcome=outcome, facts=facts, **wide))
    return found


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


def taken(one: Panel, at: np.ndarray) -> Panel:
    """The panel with those of its cases, in that order."""
    arrays = {name: getattr(one, name)[at] for name in ("label", "cluster", "outcome", "margin", "mass")}
    facts = {name: tuple(values[i] for i in at) for name, values in one.facts.items()}
    cases, errors = tuple(f"{one.cases[i]}.{k}" for k, i in enumerate(at)), one.n_errors * len(at) // len(one.cases)
    probed = {
        cell: tuple(replace(r, score=r.score[at], right=r.right[at], twin=None if r.twin is None else r.twin[at]) for r in found)
        for cell, found in one.rungs.items()
    }
    return replace(one, cases=cases, facts=facts, n_errors=errors, rungs=probed, **arrays)


def test_rich_studies_give_a_number_or_a_reason_and_each_place_once(measure):
    found = list(measure.measure(rich(), SETTINGS))
    check(measure, found)
    assert len(index(found)) == len(found)


def test_the_order_of_the_cases_does_not_matter(measure):
    order = np.random.default_rng(5).permutation(40)
    turned = [taken(p, order) for p in rich()]
    same(list(measure.measure(rich(), SETTINGS)), list(measure.measure(turned, SETTINGS)))


BY_COUNT = {
    "calibration": "Platt's line is fitted on folds of the cases",
    "detection": "the log-linear correction adds half a case, whatever their number",
    "ladder": "the threshold of the margin's stage is fitted on folds of the cases",
    "image": "the entropy of the answers is corrected for the number of cases it was taken over",
    "knowledge": "the threshold is fitted on folds of the cases",
}
"""Measures whose value may depend on how many cases there are, and why."""


def test_the_same_image_twice_in_one_patient_is_no_second_observation(measure):
    """Every case doubled inside its own cluster: the same number, and not a hair less uncertainty."""
    if measure.name in BY_COUNT:
        pytest.skip(BY_COUNT[measure.name])
    doubled = [taken(p, np.repeat(np.arange(40), 2)) for p in rich()]
    same(list(measure.measure(rich(), SETTINGS)), list(measure.measure(doubled, SETTINGS)))


SYMMETRIC = (
    *("ba_all", "ba_answered", "coverage", "accuracy_all", "accuracy_answered", "auroc", "answer_mass", "difficulty_slope"),
    *("prompt_spread", "prompt_spread_naive", "prompt_range", "refusal_spread_naive", "flip_rate", "rerun_flip_rate"),
    *("flip_rate_beyond_rerun", "order_effect", "order_consistency", "circular_accuracy", "polarity_consistency", "yes_bias"),
    *("factor_effect", "factor_effect_refusals", "refusal_rate", "no_answer_rate", "ba_if_right", "ba_bounds", "ba_lead"),
    *("delta_ba_all", "delta_ba_answered", "delta_coverage", "delta_prompt_spread", "delta_flip_rate", "delta_difficulty_slope"),
)
"""What must not depend on which of the two labels is called the condition."""


def test_calling_the_other_label_the_condition_changes_nothing_but_the_names(measure):
    def named(one: Panel) -> Panel:
        return replace(one, prompts=tuple(replace(p, factors=factors_of(p)) for p in one.prompts))

    def swapped(one: Panel) -> Panel:
        code = np.where(np.isin(one.outcome, (0, 1)), 1 - one.outcome, one.outcome).astype(np.int8)
        prompts = tuple(replace(p, polarity=p.polarity.flipped) for p in one.prompts)
        return replace(one, label=1 - one.label, outcome=code, margin=-one.margin, prompts=prompts)

    def kept(panels: list[Panel]) -> list[Estimate]:
        return [e for e in measure.measure(panels, SETTINGS) if e.measure in SYMMETRIC and "class" not in e.by]

    plain = [named(p) for p in rich()]
    same(kept(plain), kept([swapped(p) for p in plain]), bounds=False)


def test_of_nothing_there_is_no_number(measure):
    """Nothing read, or nobody there: a reason, and never 0.0. Only the count of failed trials is known."""
    for panels in hard()[:3]:
        for e in measure.measure(panels, SETTINGS):
            assert e.value is None or e.measure == "error_rate", e
