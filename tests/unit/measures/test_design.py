"""The D-study: its parts against the analysis of variance, and what it advises."""

from __future__ import annotations

import numpy as np
import pytest

from palpate.measures.design import Design
from palpate.nouns import Panel
from palpate.parts import Measure, MeasureSettings
from planted import Planted, panel


def of(one: Panel) -> dict:
    return {e.measure: e for e in Design().measure([one], MeasureSettings())}


def test_it_is_a_measure_and_gives_what_it_announces():
    assert isinstance(Design(), Measure)
    assert set(of(Planted(30).panel())) == set(Design.estimates)


def test_many_images_and_few_moving_prompts_ask_for_more_wordings_and_the_reverse_for_more_images():
    moving = Planted(400, 2, 3, 0.7, shift=(-0.2, 0.0, 0.2)).panel()
    assert of(moving)["design_error"].verdict == "more wordings"
    few = Planted(20, 1, 12, 0.7, within_case=0.8).panel()
    assert of(few)["design_error"].verdict == "more images"


def test_twice_as_many_of_either_lowers_the_error_and_neither_by_more_than_half_the_variance():
    found = of(Planted(50, 2, 6, 0.7, shift=(-0.1, 0, 0.1, -0.1, 0, 0.1)).panel())
    error, cases, prompts = (found[n].value for n in Design.estimates)
    assert error / 2**0.5 <= min(cases, prompts) < max(cases, prompts) < error


def test_the_error_is_that_of_repeating_the_whole_study():
    """New patients and new wordings each time: the spread of ba_all over studies."""
    rng, values, errors = np.random.default_rng(0), [], []
    for s in range(300):
        one = Planted(40, 2, 5, 0.7, shift=tuple(rng.normal(0, 0.08, 5)), within_case=0.5).panel(s)
        right = (one.outcome[:, :, 0] == np.where(one.label == 1, 0, 1)[:, None]).mean(axis=1)
        values.append(np.mean([right[one.label == y].mean() for y in (0, 1)]))
        errors.append(of(one)["design_error"].value)
    assert np.mean(np.square(errors)) ** 0.5 == pytest.approx(np.std(values), rel=0.1)


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (Planted(10, 1, 1).panel(), "one prompt"),
        (panel(np.zeros((8, 2)), np.ones(8)), "only one class"),
        (panel(np.full((8, 2), -1), np.arange(8) % 2), "no case was read"),
    ],
)
def test_undefined_is_a_reason_never_a_number(one, why):
    for e in of(one).values():
        assert e.value is None
        assert why in e.reason
