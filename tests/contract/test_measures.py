"""What every measure must do, whoever wrote it: announced names, a number or a reason, the same numbers every time."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest

from palpate.nouns import VERDICTS, Estimate, Lineage, Panel, Perturbation
from palpate.parts import Measure, MeasureSettings, Thresholds
from palpate.registry import parts
from palpate.rung import Rung
from planted import Planted, panel

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
        found.append(Rung(stage, score, ((score > 0.5) == label).astype(float), 0.5, rng.normal(size=label.size)))
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
