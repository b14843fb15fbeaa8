"""Calibration against statsmodels and scikit-learn, and the bias of the calibration error."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import statsmodels.api as sm

from palpate.stats.calibration import calibration_error, calibration_line, ece, logistic, logit_fit, platt_out_of_fold


def sample(n: int = 300, slope: float = 0.5, seed: int = 0):
    rng = np.random.default_rng(seed)
    score = rng.normal(0, 3, n)
    return score, (rng.random(n) < logistic(slope * score)).astype(np.int8)


def test_the_fit_is_that_of_statsmodels_with_weights():
    score, label = sample()
    weight = np.random.default_rng(1).integers(0, 3, (2, 300)).astype(float)
    slope, intercept = logit_fit(score, np.stack([label, label]), weight)
    for k in range(2):
        theirs = sm.GLM(label, sm.add_constant(score), family=sm.families.Binomial(), freq_weights=weight[k]).fit()
        assert (intercept[k], slope[k]) == pytest.approx(tuple(theirs.params), rel=1e-5)


def test_separated_classes_and_a_constant_score_have_no_fit():
    label = np.repeat([0, 1], 20)
    for score in (np.linspace(-1, 1, 40), np.zeros(40)):
        assert np.isnan(logit_fit(score, label[None, :].astype(float), np.ones((1, 40)))[0][0])


@pytest.mark.parametrize("score", [0.1, 0.0, -1.7, 123.4567])
def test_scores_that_are_all_alike_have_neither_line_nor_map(score):
    """Their standard deviation is not always 0: the mean of many 0.1 is not 0.1 to the last digit."""
    label, cluster = (np.arange(150) % 2).astype(np.int8), np.arange(150) // 2
    alike, used = np.full((150, 2), score), np.ones((150, 2), bool)
    used[::7, 1] = False
    slope, intercept = calibration_line(alike, label, used, cluster, 75)
    assert np.isnan(slope.value).all()
    assert np.isnan(intercept.value).all()
    assert np.isnan(platt_out_of_fold(alike, label, used, cluster % 5)).all()


def test_fits_side_by_side_are_the_fits_one_by_one():
    """Each stops when it has arrived, whatever the others still do; one of them never arrives."""
    rng = np.random.default_rng(5)
    label = (np.arange(90) % 2).astype(np.int8)
    score = rng.normal(label[:, None] * [0.2, 1.0, 2.0, 40.0], 1)
    used = rng.random(score.shape) < 0.9
    together = calibration_line(score, label, used, np.arange(90) // 2, 45)
    alone = [calibration_line(score[:, [p]], label, used[:, [p]], np.arange(90) // 2, 45) for p in range(4)]
    for k, line in enumerate(together):
        assert line.value == pytest.approx([float(one[k].value[0]) for one in alone], rel=1e-12, nan_ok=True)
        assert line.influence == pytest.approx(np.column_stack([one[k].influence for one in alone]), rel=1e-10, nan_ok=True)
    assert np.isfinite(together[0].value).tolist() == [True, True, True, False]
    fold = np.arange(90) // 2 % 5
    apart = [platt_out_of_fold(score[:, [p]], label, used[:, [p]], fold) for p in range(4)]
    assert platt_out_of_fold(score, label, used, fold) == pytest.approx(np.column_stack(apart), rel=1e-12, nan_ok=True)


def test_the_line_has_the_clustered_standard_errors_of_statsmodels():
    score, label = sample()
    cluster = np.arange(300) // 3
    slope, intercept = calibration_line(score[:, None], label, np.ones((300, 1), bool), cluster, 100)
    theirs = sm.Logit(label, sm.add_constant(score)).fit(
        disp=False, cov_type="cluster", cov_kwds={"groups": cluster, "use_correction": False}
    )
    # Their maximum likelihood less its first-order bias, by matrices.
    x, p = sm.add_constant(score), theirs.predict()
    inverse = np.linalg.inv((x * (p * (1 - p))[:, None]).T @ x)
    leverage = p * (1 - p) * np.einsum("ij,jk,ik->i", x, inverse, x)
    corrected = theirs.params - inverse @ (x.T @ (leverage * (p - 0.5)))
    assert (intercept.value[0], slope.value[0]) == pytest.approx(tuple(corrected), rel=1e-5)
    # Theirs counts the balance of the classes as sampled; ours takes each class's mean out, by hand here.
    each = x * (label - p)[:, None]
    plain = np.stack([each[cluster == c].sum(axis=0) for c in range(100)]) @ inverse
    assert (plain**2).sum(axis=0) ** 0.5 == pytest.approx(np.asarray(theirs.bse), rel=1e-3)
    for y in (0, 1):
        each[label == y] -= each[label == y].mean(axis=0)
    ours = np.stack([each[cluster == c].sum(axis=0) for c in range(100)]) @ inverse
    assert slope.influence[:, 0] == pytest.approx(ours[:, 1], abs=1e-6)
    assert intercept.influence[:, 0] == pytest.approx(ours[:, 0], abs=1e-6)
    assert (slope.influence**2).sum() ** 0.5 == pytest.approx(theirs.bse[1], rel=0.05)
    assert (intercept.influence**2).sum() ** 0.5 < theirs.bse[0]


def test_the_slope_of_calibrated_scores_is_1_on_average_in_small_samples():
    """Maximum likelihood alone gives about 1.05 here."""
    slopes, plain = [], []
    for s in range(400):
        rng = np.random.default_rng(s)
        label = (np.arange(80) % 2).astype(np.int8)
        score = 1.5 * ((label - 0.5) * 1.5 + rng.standard_normal(80))
        slopes.append(calibration_line(score[:, None], label, np.ones((80, 1), bool), np.arange(80), 80)[0].value[0])
        plain.append(logit_fit(score, label[None, :].astype(float), np.ones((1, 80)))[0][0])
    assert np.mean(slopes) == pytest.approx(1.0, abs=0.02)
    assert np.mean(plain) > np.mean(slopes) + 0.03


def test_platts_map_is_fitted_on_the_other_folds():
    score, label = sample()
    fold = np.arange(300) % 5
    used = np.ones((300, 1), bool)
    used[:10] = False
    found = platt_out_of_fold(score[:, None], label, used, fold)
    assert np.isnan(found[:10]).all()
    kept = (fold != 2) & used[:, 0]
    up, down = (label[kept] == 1).sum(), (label[kept] == 0).sum()
    target = np.where(label[kept] == 1, (up + 1) / (up + 2), 1 / (down + 2))
    theirs = sm.GLM(target, sm.add_constant(score[kept]), family=sm.families.Binomial()).fit()
    at = (fold == 2) & used[:, 0]
    assert found[at, 0] == pytest.approx(theirs.predict(sm.add_constant(score[at])), rel=1e-5)
    perfect = platt_out_of_fold(np.repeat([-1.0, 1.0], 150)[:, None], np.repeat([0, 1], 150).astype(np.int8), used, fold)
    assert np.isfinite(perfect[10:]).all()


def brute(p, y, edges):
    bins = [(p >= a) & (p < b) for a, b in pairwise(edges)]
    return sum(abs(p[k].mean() - y[k].mean()) * k.mean() for k in bins if k.any())


def test_the_calibration_error_is_that_of_its_definition():
    rng = np.random.default_rng(0)
    p = rng.random(200)
    y = (rng.random(200) < p**2).astype(float)
    assert ece(p, y, 10, equal="width") == pytest.approx(brute(p, y, np.linspace(0, 1 + 1e-9, 11)))
    order = np.argsort(p).reshape(10, 20)
    assert ece(p, y, 10) == pytest.approx(np.mean([abs(p[k].mean() - y[k].mean()) for k in order]))
    assert calibration_error(p, y, 50, rng).value == pytest.approx(ece(p, y, 10))
    assert np.isnan(ece(np.zeros(0), np.zeros(0)))


@pytest.mark.parametrize(
    ("n", "bins", "published"),
    [(100, 10, 0.071), (100, 15, 0.089), (300, 10, 0.040), (300, 15, 0.051), (1000, 10, 0.022), (1000, 15, 0.028)],
)
def test_a_perfectly_calibrated_model_has_the_published_error(n, bins, published):
    """Confidence uniform in (.5, 1), bins of equal width over (0, 1): the setting that gives the working notes' figures."""
    rng, found = np.random.default_rng(n), []
    for _ in range(1500):
        p = rng.uniform(0.5, 1, n)
        found.append(ece(p, rng.random(n) < p, bins, equal="width"))
    assert np.mean(found) == pytest.approx(published, abs=0.0025)


@pytest.mark.parametrize("n", [150, 5000])
def test_the_null_is_what_a_calibrated_model_shows(n):
    rng = np.random.default_rng(0)
    p = logistic(rng.normal(0, 2, n))
    values = [ece(p, (rng.random(n) < p).astype(float)) for _ in range(300)]
    null = calibration_error(p, (rng.random(n) < p).astype(float), 2000, rng)
    assert null.null == pytest.approx(np.mean(values), rel=0.05)
    assert np.mean([null.null_low <= v <= null.null_high for v in values]) == pytest.approx(0.95, abs=0.035)


def test_one_score_for_all_cases_has_no_calibration_line() -> None:
    label, cluster = np.tile([0, 1], 30).astype(np.int8), np.arange(60)
    score = 0.3 + 1e-13 * np.random.default_rng(0).standard_normal((60, 1))  # a null image's margin, but for rounding
    slope, intercept = calibration_line(score, label, np.ones((60, 1), bool), cluster, 60)
    assert np.isnan(slope.value).all()
    assert np.isnan(intercept.value).all()
