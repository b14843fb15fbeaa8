"""Refusals: each kind against counting, by class and prompt, and errors kept apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from palpate.measures.refusals import RATES, Refusals
from palpate.nouns import OUTCOME_CODE, OUTCOMES, Estimate, Outcome, Panel
from palpate.parts import Measure, MeasureSettings
from planted import REFUSED, Planted, panel
from simulated import of_cell

SETTINGS = MeasureSettings(draws=200)


def estimates(*panels: Panel, settings: MeasureSettings = SETTINGS) -> list[Estimate]:
    return list(Refusals().measure(panels, settings))


def every_outcome(n: int = 140, prompts: int = 3, seed: int = 0) -> Panel:
    rng = np.random.default_rng(seed)
    return panel(rng.integers(0, len(OUTCOMES), (n, prompts)), np.arange(n) % 2)


def test_it_is_a_measure_and_every_estimate_is_announced():
    found = estimates(every_outcome())
    assert isinstance(Refusals(), Measure)
    assert {e.measure for e in found} == set(Refusals.estimates)
    assert all(isinstance(v, str) for e in found for v in e.by.values())


def test_each_kind_is_counted_by_itself():
    one = every_outcome()
    code = one.outcome[:, :, 0]
    expected = {
        "refusal_rate": np.isin(code, [OUTCOME_CODE[o] for o in OUTCOMES if o.refused]),
        "hedge_rate": code == OUTCOME_CODE[Outcome.HEDGE],
        "unparsed_rate": code == OUTCOME_CODE[Outcome.UNPARSED],
        "off_topic_rate": code == OUTCOME_CODE[Outcome.OFF_TOPIC],
        "no_answer_rate": ~np.isin(code, [OUTCOME_CODE[o] for o in OUTCOMES if o.answered]),
    }
    found = estimates(one)
    for name, flag in expected.items():
        assert of_cell(iter(found), name).value == pytest.approx(flag.mean())
        by_prompt = {e.by["prompt"]: e.value for e in found if e.measure == name and "prompt" in e.by and "class" not in e.by}
        assert [by_prompt[p.name] for p in one.prompts] == pytest.approx(flag.mean(axis=0))
    for word, label in (("negative", 0), ("positive", 1)):
        rate = expected["refusal_rate"][one.label == label].mean()
        assert of_cell(iter(found), "refusal_rate", **{"class": word}).value == pytest.approx(rate)
    difference = [expected["refusal_rate"][one.label == y].mean() for y in (1, 0)]
    assert of_cell(iter(found), "refusal_difference").value == pytest.approx(difference[0] - difference[1])


def test_no_answer_is_one_minus_coverage():
    from palpate.measures.accuracy import Accuracy

    one = every_outcome()
    coverage = of_cell(Accuracy().measure([one], SETTINGS), "coverage")
    none = of_cell(iter(estimates(one)), "no_answer_rate")
    assert (none.value, none.low, none.high) == pytest.approx((1 - coverage.value, 1 - coverage.high, 1 - coverage.low))


def test_one_prompt_and_single_cases_give_wilsons_interval():
    codes = np.where(np.arange(400) % 10 < 2, REFUSED, 0)[:, None]
    found = of_cell(iter(estimates(panel(codes, np.arange(400) // 10 % 2), settings=MeasureSettings(draws=4000))), "refusal_rate")
    assert (found.low, found.high) == pytest.approx(proportion_confint(80, 400, method="wilson"), abs=0.004)


def test_refusing_by_class_is_called_selective():
    found = of_cell(iter(estimates(Planted(60, 3, 4, refusal=(0.02, 0.4)).panel())), "refusal_difference")
    assert found.value == pytest.approx(0.38, abs=0.06)
    assert found.low > 0.25
    assert found.verdict == "selective"
    even = of_cell(iter(estimates(Planted(60, 3, 4, refusal=(0.2, 0.2)).panel())), "refusal_difference")
    assert even.verdict == "not shown to be selective"


def test_never_refusing_is_zero_with_an_upper_bound():
    found = of_cell(iter(estimates(Planted(50, 2, 3).panel())), "refusal_rate")
    assert found.value == found.low == 0.0
    assert 0.02 < found.high < 0.15
    difference = of_cell(iter(estimates(Planted(50, 2, 3).panel())), "refusal_difference")
    assert difference.value == 0.0
    assert difference.low < -0.02 < 0.02 < difference.high


def test_errors_are_a_rate_of_their_own_and_in_no_other_denominator():
    one = Planted(40, 2, 3, refusal=(0.3, 0.3)).panel()
    with_errors = one.outcome.copy()
    with_errors[:8] = -1
    other = replace(one, outcome=with_errors, n_errors=20)  # 24 missing: 20 failed, 4 never asked
    found = estimates(other)
    rate = next(e for e in found if e.measure == "error_rate")
    assert rate.value == pytest.approx(20 / 240)
    assert rate.low is None
    assert rate.reason is None
    refusal = of_cell(iter(found), "refusal_rate")
    assert refusal.value == pytest.approx((one.outcome[8:] == REFUSED).mean())
    assert (refusal.n_left_out, refusal.n_cases) == (24, 72)


@pytest.mark.parametrize(
    ("codes", "label", "cluster", "undefined"),
    [
        (np.zeros((6, 2)), np.ones(6), None, {"refusal_difference"}),
        (np.zeros((6, 2)), np.arange(6) % 2, np.zeros(6, int), {*RATES, "refusal_difference"}),
        (np.full((6, 2), -1), np.arange(6) % 2, None, {*RATES, "refusal_difference"}),
        (np.zeros((0, 2)), np.zeros(0), None, set(Refusals.estimates)),
    ],
    ids=["one class", "one cluster", "nothing read", "no case"],
)
def test_undefined_is_a_reason_never_a_number(codes, label, cluster, undefined):
    for e in estimates(panel(codes, label, cluster)):
        if e.measure in undefined:
            assert e.value is None
            assert e.reason
            assert e.verdict is None
        elif "class" not in e.by:
            assert e.value is not None


def test_the_absent_class_has_a_reason():
    found = of_cell(iter(estimates(panel(np.zeros((6, 2)), np.ones(6)))), "refusal_rate", **{"class": "negative"})
    assert found.value is None
    assert found.reason == "no negative case was read"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5), st.lists(st.integers(-1, 6), min_size=2, max_size=2)), max_size=25))
def test_whatever_the_readings_a_number_or_a_reason(rows):
    codes = np.array([o for _, _, o in rows], int).reshape(len(rows), 2)
    one = panel(codes, np.array([y for y, _, _ in rows], int), np.array([c for _, c, _ in rows], int))
    for e in estimates(one, settings=MeasureSettings(draws=40)):
        assert e.reason if e.value is None else e.verdict or not e.reason  # beside a value, a reason is why the word is no other
        if e.value is not None and e.low is not None:
            assert e.low <= e.value <= e.high
