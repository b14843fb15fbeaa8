"""Calibration: scikit-learn's scores, and planted models that are calibrated, over- or underconfident."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.metrics import brier_score_loss

from palpate.measures.calibration import Calibration
from palpate.nouns import Panel
from palpate.parts import Measure, MeasureSettings
from palpate.stats.calibration import ece, logistic
from planted import Planted, panel
from planted_margins import Seen


def of(one: Panel, prompt: str | None = None) -> dict:
    return {e.measure: e for e in Calibration().measure([one], MeasureSettings()) if e.by.get("prompt") == prompt}


def test_it_is_a_measure_and_gives_what_it_announces():
    assert isinstance(Calibration(), Measure)
    assert set(of(Seen().panel())) == set(Calibration.estimates)


def test_the_numbers_are_those_of_the_libraries():
    one = Seen(80, 2, 3, 1.5, scale=2.0).panel()
    one.margin[:7, 1] = np.nan
    found = of(one, "target1")
    kept = np.isfinite(one.margin[:, 1, 0])
    margin, y = one.margin[kept, 1, 0], one.label[kept]
    base = y.mean() * (1 - y.mean())
    assert found["brier_skill"].value == pytest.approx(1 - brier_score_loss(y, logistic(margin)) / base)
    line = sm.Logit(y, sm.add_constant(margin)).fit(disp=False).params
    # Less the bias of maximum likelihood, which tests/unit/stats checks to the digit.
    assert found["calibration_slope"].value == pytest.approx(line[1], rel=0.06)
    assert found["calibration_slope"].value < line[1]
    assert found["calibration_intercept"].value == pytest.approx(line[0], abs=0.02)
    assert found["ece"].value == pytest.approx(ece(logistic(margin), y))
    assert found["ece_corrected"].value == pytest.approx(found["ece"].value - found["ece_null"].value)
    whole = of(one)
    each = [of(one, f"target{p}")["brier_skill"].value for p in range(3)]
    assert whole["brier_skill"].value == pytest.approx(np.mean(each))


@pytest.mark.parametrize(("scale", "word"), [(3.0, "overconfident"), (0.3, "underconfident"), (1.0, "no miscalibration shown")])
def test_the_verdict_is_on_the_slope(scale, word):
    found = of(Seen(200, 2, 4, 1.5, scale=scale).panel())["calibration_slope"]
    assert found.value == pytest.approx(1 / scale, rel=0.2)
    assert found.verdict == word


def test_platts_map_repairs_overconfidence_and_changes_nothing_where_there_is_none():
    over, fine = of(Seen(200, 2, 4, 1.5, scale=5.0).panel()), of(Seen(200, 2, 4, 1.5).panel())
    assert over["brier_skill"].value + 0.1 < over["brier_skill_platt"].value
    assert over["brier_skill_platt"].value == pytest.approx(fine["brier_skill_platt"].value, abs=0.01)
    assert fine["brier_skill"].value == pytest.approx(fine["brier_skill_platt"].value, abs=0.03)


def test_a_calibrated_model_has_an_error_that_is_its_null_and_an_overconfident_one_more():
    fine, over = of(Seen(100, 1, 6, 1.5).panel()), of(Seen(100, 1, 6, 1.5, scale=5.0).panel())
    assert fine["ece"].value > 0.05
    assert abs(fine["ece_corrected"].value) < 0.04
    assert fine["ece_corrected"].low < 0 < fine["ece_corrected"].high
    assert over["ece_corrected"].low > 0.05
    null = of(Seen(100, 1, 6, 1.5).panel(), "target0")["ece_null"]
    assert null.low < null.value < null.high


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (Planted(10).panel(), "no probabilities"),
        (replace(Seen().panel(), label=np.ones(180, np.int8)), "only one class"),
        (replace(Seen().panel(), cluster=np.zeros(180, np.int64)), "one group"),
        (panel(np.zeros((0, 2)), np.zeros(0)), "no"),
    ],
)
def test_undefined_is_a_reason_never_a_number(one, why):
    for e in of(one).values():
        assert e.value is None
        assert why in e.reason


def test_separated_classes_have_a_score_but_no_line():
    one = Seen(40, 2, 2, 30.0).panel()
    found = of(one)
    assert found["brier_skill"].value > 0.99
    assert "part the classes" in found["calibration_slope"].reason


def bins(one: Panel, name: str) -> list:
    return [e for e in Calibration().measure([one], MeasureSettings()) if e.measure == name]


def test_the_reliability_curve_is_that_of_scikit_learn():
    from sklearn.calibration import calibration_curve

    one = Seen(150, 2, 3, 1.5, scale=2.0).panel()
    said, present = bins(one, "said_in_bin"), bins(one, "present_in_bin")
    p, y = logistic(one.margin[:, :, 0]).ravel(), np.repeat(one.label, 3)
    observed, expected = calibration_curve(y, p, n_bins=10, strategy="quantile")
    assert [e.value for e in present] == pytest.approx(list(observed), abs=0.02)
    assert [e.value for e in said] == pytest.approx(list(expected), abs=0.01)
    assert [e.by["bin"] for e in said] == [str(k) for k in range(1, 11)]
    assert all(e.low <= e.value <= e.high and e.high - e.low < 0.25 for e in present)
    assert all(e.low is None and "no interval" in e.method for e in said)
    assert present[0].n_clusters < 150
    assert sum(e.n_cases for e in present) > 300, "a case is in the bins of each of its prompts"


def test_where_the_margins_are_right_the_curve_covers_the_diagonal():
    inside = []
    for seed in range(20):
        one = Seen(100, 2, 3, 1.5).panel(seed)
        pairs = zip(bins(one, "said_in_bin"), bins(one, "present_in_bin"), strict=True)
        inside += [observed.low <= said.value <= observed.high for said, observed in pairs]
    assert 0.9 < np.mean(inside) < 0.995


def test_equal_probabilities_share_a_bin_whatever_the_order_of_the_cases():
    one = Seen(40, 2, 2, 1.0).panel()
    coarse = replace(one, margin=np.sign(one.margin))
    order = np.argsort(one.label, kind="stable")
    turned = replace(coarse, **{f: getattr(coarse, f)[order] for f in ("label", "cluster", "outcome", "margin", "mass")})
    for shown in (coarse, turned):
        assert [e.value for e in bins(shown, "said_in_bin")] == pytest.approx([float(logistic(-1.0)), float(logistic(1.0))])
    assert [e.value for e in bins(coarse, "present_in_bin")] == pytest.approx([e.value for e in bins(turned, "present_in_bin")])


def test_without_margins_the_curve_says_why():
    (nothing,) = bins(Planted(20, 2, 3).panel(), "present_in_bin")
    assert nothing.value is None
    assert "no probabilities" in nothing.reason
