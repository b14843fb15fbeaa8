"""Wording: planted spreads are recovered, no effect is called none, and flips are counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palpate.measures.wording import Wording
from palpate.nouns import Estimate, Panel
from palpate.parts import Measure, MeasureSettings
from palpate.stats.variance import balanced_prompt_variance
from planted import NEGATIVE, POSITIVE, REFUSED, Planted, panel
from simulated import of_cell, spreads

SETTINGS = MeasureSettings(draws=300)


def estimates(*panels: Panel, settings: MeasureSettings = SETTINGS) -> list[Estimate]:
    return list(Wording().measure(panels, settings))


def test_it_is_a_measure_and_every_estimate_is_announced():
    found = estimates(Planted(30, refusal=(0.1, 0.1)).panel())
    assert isinstance(Wording(), Measure)
    assert {e.measure for e in found} == set(Wording.estimates)
    assert all(isinstance(v, str) for e in found for v in e.by.values())


def test_the_plain_spread_and_range_are_those_of_the_scores():
    from sklearn.metrics import balanced_accuracy_score

    one = Planted(50, 2, 6, 0.7, shift=(-0.2, -0.1, 0, 0, 0.1, 0.2)).panel()
    scores = [balanced_accuracy_score(one.label, one.outcome[:, k, 0] == POSITIVE) for k in range(6)]
    found = {e.measure: e for e in estimates(one)}
    assert found["prompt_spread_naive"].value == pytest.approx(np.std(scores, ddof=1))
    assert found["prompt_range"].value == pytest.approx(np.ptp(scores))
    assert found["prompt_range"].low is None
    assert "no interval" in found["prompt_range"].method


def test_the_corrected_spread_is_the_analysis_of_variance_where_that_exists():
    one = Planted(300, 1, 12, 0.7, shift=tuple(np.linspace(-0.1, 0.1, 12))).panel(3)
    right = (one.outcome[:, :, 0] == np.where(one.label == 1, POSITIVE, NEGATIVE)[:, None]).astype(float)
    found = of_cell(iter(estimates(one, settings=MeasureSettings(draws=4000))), "prompt_spread")
    assert found.value == pytest.approx(balanced_prompt_variance(right) ** 0.5, abs=0.002)


def test_a_planted_effect_is_called_fragile_and_its_null_lies_below():
    found = {e.measure: e for e in estimates(Planted(100, 3, 12, 0.7, shift=tuple(np.linspace(-0.2, 0.2, 12))).panel())}
    assert found["prompt_spread"].value == pytest.approx(np.linspace(-0.2, 0.2, 12).std(ddof=1), abs=0.025)
    assert found["prompt_spread"].verdict == "fragile"
    assert found["prompt_spread_naive"].value > found["prompt_spread_null"].high
    assert found["prompt_range"].value > found["prompt_range_null"].high
    assert found["prompt_effect_p"].value == pytest.approx(1 / 301)
    assert found["prompt_effect_p"].verdict == "wording matters"


def test_without_an_effect_the_plain_spread_is_what_chance_gives():
    found = {e.measure: e for e in estimates(Planted(300, 1, 12, 0.7, within_case=0.7).panel(4))}
    assert found["prompt_spread_null"].low < found["prompt_spread_naive"].value < found["prompt_spread_null"].high
    assert found["prompt_spread"].low == 0.0
    assert found["prompt_spread"].verdict == "robust"
    assert found["prompt_effect_p"].verdict == "no effect shown"


def test_a_small_sample_is_undetermined():
    assert of_cell(iter(estimates(Planted(25, 2, 4, 0.7).panel(1))), "prompt_spread").verdict == "undetermined"


def test_refusals_that_depend_on_the_wording_are_found():
    one = Planted(80, 2, 6, refusal=(0.05, 0.05)).panel()
    one.outcome[np.random.default_rng(0).random(160) < 0.6, 2] = REFUSED
    found = {e.measure: e for e in estimates(one)}
    assert found["refusal_spread"].value == pytest.approx(0.57 / 6**0.5, abs=0.06)
    assert found["refusal_spread"].verdict == "fragile"
    assert found["refusal_effect_p"].verdict == "wording matters"
    assert found["refusal_spread_naive"].value > found["refusal_spread_null"].high


def test_prompts_that_never_differ_have_no_spread_and_an_upper_bound():
    one = Planted(40, 2, 1).panel()
    same = panel(np.repeat(one.outcome, 5, axis=1), one.label, one.cluster)
    found = {e.measure: e for e in estimates(same)}
    assert found["prompt_spread"].value == 0.0
    assert 0 < found["prompt_spread"].high < 0.1
    assert found["prompt_effect_p"].value == 1.0


@pytest.mark.parametrize(
    ("codes", "label", "cluster", "why"),
    [
        (np.zeros((8, 1)), np.arange(8) % 2, None, "one prompt"),
        (np.zeros((8, 3)), np.ones(8), None, "only one class"),
        (np.zeros((8, 3)), np.arange(8) % 2, np.zeros(8, int), "one group"),
        (np.full((8, 3), -1), np.arange(8) % 2, None, "no case was read"),
        (np.zeros((0, 3)), np.zeros(0), None, "no case was read"),
    ],
)
def test_undefined_is_a_reason_never_a_number(codes, label, cluster, why):
    found = [e for e in estimates(panel(codes, label, cluster)) if e.measure.startswith("prompt")]
    assert len(found) == 6
    for e in found:
        assert e.value is None
        assert e.verdict is None
        assert why in str(e.reason)


def test_results_do_not_depend_on_the_other_panels():
    one, other = Planted(20, 2, 5).panel(1), Planted(20, 2, 5).panel(2, model="n")
    alone = [e for e in estimates(one) if not e.measure.endswith("_p")]
    among = [e for e in estimates(other, one) if e.by["model"] == "m" and not e.measure.endswith("_p")]
    assert alone == among


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5), st.lists(st.integers(-1, 6), min_size=3, max_size=3)), max_size=25))
def test_whatever_the_readings_a_number_or_a_reason(rows):
    codes = np.array([o for _, _, o in rows], int).reshape(len(rows), 3)
    one = panel(codes, np.array([y for y, _, _ in rows], int), np.array([c for _, c, _ in rows], int))
    for e in estimates(one, settings=MeasureSettings(draws=40)):
        assert e.reason if e.value is None else e.verdict or not e.reason  # beside a value, a reason is why the word is no other
        if e.value is not None and e.low is not None:
            assert e.low <= e.value <= e.high


def test_planted_spreads_are_recovered_and_no_effect_is_zero():
    """METHODS §2.1 in small; the whole table is in tests/validate."""
    none = spreads(0.0, Planted(100, 1, 12, 0.7, within_case=0.5), 150, draws=150)
    assert none.naive == pytest.approx(0.037, abs=0.002)
    assert abs(none.sigma) < 0.012
    assert none.fragile == 0.0
    assert none.cochran < 0.11
    some = spreads(0.088, Planted(100, 1, 12, 0.7, within_case=0.5), 150, draws=150)
    assert some.sigma == pytest.approx(0.088, abs=0.006)
    assert some.naive > some.sigma
    assert some.coverage > 0.9
    assert some.fragile > 0.85


@pytest.mark.parametrize("images", [4, 6])
def test_no_interval_reaches_beyond_what_shares_can_spread(images):
    """Two wordings and a handful of images: Tukey–Williams with one degree of freedom would end at hundreds of points."""
    half = images // 2
    codes = [[POSITIVE, POSITIVE]] * half + [[NEGATIVE, NEGATIVE]] * (half - 1) + [[REFUSED, NEGATIVE]]
    found = of_cell(estimates(panel(codes, [1] * half + [0] * half)), "prompt_spread")
    assert found.high is not None
    assert found.value <= found.high <= 0.5
