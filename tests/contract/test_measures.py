"""What every measure must do, whoever wrote it: announced names, a number or a reason, the same numbers every time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from measured import CONTRASTS, MEASURES, PERTURBED, SETTINGS, check, hard, study, wide_study
from palpate.nouns import Perturbation
from palpate.parts import Measure, Thresholds


@pytest.fixture(params=MEASURES, ids=str)
def measure(request) -> Measure:
    return MEASURES[request.param]


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
