"""Intervals against statsmodels and scipy, and at the edges: all right, one cluster, nothing varies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from palpate.stats.intervals import (
    bca_interval,
    bootstrap_variance,
    combined_interval,
    correlation,
    effective_size,
    informative_clusters,
    p_above,
    percentile_interval,
    proportion_interval,
    shift_interval,
    square_and_add,
    t_quantile,
    two_sided_p,
    wilson_bounds,
)
from palpate.stats.resampling import Replicates, cluster_sums, draw_clusters, replicate


def mean_of(values: np.ndarray, draws: int = 4000, seed: int = 0) -> Replicates:
    """Replicates (…, 1) of the mean of one value per cluster."""
    table = np.stack([values, np.ones(len(values))], axis=1)
    return replicate(table, draw_clusters(len(values), draws, np.random.default_rng(seed))).map(lambda s: s[:, :1] / s[:, 1:])


@pytest.mark.parametrize("freedom", [1, 4.5, 59, np.inf])
def test_t_is_scipys(freedom):
    assert np.isclose(t_quantile(0.95, freedom), stats.t.ppf(0.975, freedom), atol=1e-6)
    assert np.isclose(two_sided_p(1.7, freedom), 2 * stats.t.sf(1.7, freedom))


@given(st.integers(0, 40), st.integers(1, 400))
def test_wilson_is_statsmodels(successes, failures):
    n = successes + failures
    low, high = wilson_bounds(successes / n, n, stats.norm.ppf(0.975))
    assert np.allclose((low, high), proportion_confint(successes, n, method="wilson"))
    assert low <= successes / n <= high


def test_the_variance_of_a_mean_is_its_textbook_variance():
    values = np.random.default_rng(1).random(40)
    assert np.isclose(bootstrap_variance(mean_of(values, 20000), [40])[0], values.var(ddof=1) / 40, rtol=0.03)


def test_clusters_are_not_independent_cases():
    """Ten copies of each case change nothing: a cluster of identical cases is one case."""
    right = (np.arange(30) % 3 > 0).astype(float)
    once = mean_of(right)
    copies = cluster_sums(np.stack([np.repeat(right, 10), np.ones(300)], axis=1), np.repeat(np.arange(30), 10), 30)
    tenfold = replicate(copies, draw_clusters(30, 4000, np.random.default_rng(0))).map(lambda s: s[:, :1] / s[:, 1:])
    first, second = (proportion_interval(r, [30], 0.95) for r in (once, tenfold))
    assert np.allclose((first.low, first.high), (second.low, second.high))


def test_single_cases_have_wilsons_interval_with_t():
    right = (np.arange(80) % 5 > 0).astype(float)
    interval = proportion_interval(mean_of(right, 40000), [80], 0.95)
    low, high = wilson_bounds(0.8, 80, t_quantile(0.95, 79))
    assert np.allclose((interval.low[0], interval.high[0]), (low, high), atol=0.003)


def test_all_right_is_wilsons_interval_on_the_clusters_and_never_of_zero_width():
    interval = proportion_interval(mean_of(np.ones(40)), [40], 0.95)
    low, _ = wilson_bounds(1.0, 40, t_quantile(0.95, 39))
    assert interval.high[0] == 1.0
    assert np.isclose(interval.low[0], low)
    assert interval.low[0] < 0.95


def test_one_cluster_has_no_interval():
    interval = proportion_interval(mean_of(np.array([0.4])), [1], 0.95)
    assert np.isnan(interval.low[0])


def test_too_many_undefined_draws_leave_no_interval():
    values = np.array([[0.5], *[[np.nan]] * 30, *[[0.4], [0.6]] * 35])
    assert np.isnan(bootstrap_variance(Replicates(values, 100), [10])[0])
    assert np.isfinite(bootstrap_variance(Replicates(values[20:], 80), [10])[0])


@pytest.mark.parametrize(("values", "expected"), [(np.ones(30), 0.0), (np.r_[np.zeros(29), 1.0], 1.0), (np.arange(30) % 2, 30.0)])
def test_informative_clusters_counts_those_that_matter(values, expected):
    assert np.isclose(informative_clusters(mean_of(values.astype(float)))[0], expected, atol=0.1)


def test_the_effective_size_of_agreeing_prompts_is_the_cases_and_of_independent_ones_more():
    rng = np.random.default_rng(0)
    agree = np.repeat((rng.random(200) < 0.7)[:, None], 12, axis=1).astype(float).mean(axis=1)
    apart = (rng.random((200, 12)) < 0.7).astype(float).mean(axis=1)
    assert effective_size(mean_of(agree), [200])[0] == pytest.approx(200, rel=0.08)
    assert effective_size(mean_of(apart), [200])[0] == pytest.approx(2400, rel=0.25)


def test_balanced_accuracy_of_independent_classes_is_newcombes_interval():
    """Newcombe's interval of a difference, halved and mirrored: ½(p₁ + p₀) = ½ + ½(p₁ − (1 − p₀))."""
    rng = np.random.default_rng(0)
    label = np.arange(120) % 2
    right = np.where(label == 1, np.arange(120) < 100, np.arange(120) % 3 > 0).astype(float)
    table = np.stack([right * label, label, right * (1 - label), 1 - label], axis=1)
    sums = replicate(table, draw_clusters(120, 40000, rng))
    first, second = sums.map(lambda s: s[:, :1] / s[:, 1:2]), sums.map(lambda s: s[:, 2:3] / s[:, 3:])
    ours = combined_interval(first, second, ([60], [60]), (0.5, 0.5), 0.95)
    hits, false_alarms = int((right * label).sum()), int(((1 - right) * (1 - label)).sum())
    low, high = confint_proportions_2indep(hits, 60, false_alarms, 60, method="newcomb", compare="diff")
    assert np.allclose((ours.low[0], ours.high[0]), (0.5 + low / 2, 0.5 + high / 2), atol=0.004)


def test_always_yes_is_at_one_half_with_an_honest_width():
    label = np.arange(60) % 2
    table = np.stack([label, label, np.zeros(60), 1 - label], axis=1).astype(float)
    sums = replicate(table, draw_clusters(60, 500, np.random.default_rng(0)))
    interval = combined_interval(
        sums.map(lambda s: s[:, :1] / s[:, 1:2]), sums.map(lambda s: s[:, 2:3] / s[:, 3:]), ([30], [30]), (0.5, 0.5), 0.95
    )
    assert 0.4 < interval.low[0] < 0.48
    assert 0.52 < interval.high[0] < 0.6


def test_correlation_is_pearsons_and_0_where_nothing_varies():
    rng = np.random.default_rng(0)
    a, b = rng.random((201, 1)), rng.random((201, 1))
    first, second = Replicates(a, 200), Replicates(a + b, 200)
    assert np.isclose(correlation(first, second)[0], stats.pearsonr(a[1:, 0], (a + b)[1:, 0])[0])
    assert correlation(first, Replicates(np.ones((201, 1)), 200))[0] == 0.0


def test_square_and_add_of_equal_fully_correlated_parts_has_no_width_as_a_difference():
    interval = proportion_interval(mean_of((np.arange(30) % 2).astype(float)), [30], 0.95)
    half = np.array([0.5])
    low, high = square_and_add(np.array([0.0]), ((half, interval), (half, interval)), (1.0, -1.0), np.array([1.0]))
    assert np.allclose(low, high, atol=0.02)
    wide_low, wide_high = square_and_add(np.array([0.0]), ((half, interval), (half, interval)), (1.0, -1.0), np.array([0.0]))
    assert wide_high - wide_low > 0.4


def test_a_paired_difference_of_many_cases_is_students_interval():
    d = np.random.default_rng(3).normal(0.1, 1, 300)
    interval = shift_interval(mean_of(d, 20000), np.array([1 / 302**2]), [300], 0.95)
    expected = stats.ttest_1samp(d, 0).confidence_interval()
    assert np.allclose((interval.low[0], interval.high[0]), expected, atol=0.004)


def test_no_discordance_at_all_still_has_a_width():
    interval = shift_interval(mean_of(np.zeros(50)), np.array([1 / 52**2]), [50], 0.95)
    assert interval.high[0] == -interval.low[0]
    assert 1.5 / 52 < interval.high[0] < 12 / 52


def test_percentile_and_bca_are_scipys():
    values = np.random.default_rng(0).exponential(size=40)
    replicates = mean_of(values, 20000)
    for method, found in (("percentile", percentile_interval(replicates, 0.95)), ("BCa", bca_interval(replicates, 0.95))):
        expected = stats.bootstrap(
            (values,), np.mean, n_resamples=20000, method=method, rng=np.random.default_rng(1)
        ).confidence_interval
        assert np.allclose(np.ravel(found), expected, atol=0.02)


def test_bca_of_a_constant_is_undefined():
    assert np.isnan(bca_interval(mean_of(np.ones(10)), 0.95)).all()


def test_a_p_above_is_the_t_test_s_on_one_side_and_1_on_the_other_or_where_nothing_can_be_told():
    d = np.random.default_rng(3).normal(0.1, 1, 300)
    error = d.std(ddof=1) / 300**0.5
    expected = stats.ttest_1samp(d, -0.05).pvalue
    assert p_above(d.mean(), -0.05, error, 299) == pytest.approx(expected)
    assert p_above(-d.mean(), 0.05, error, 299) == 1.0
    assert p_above([0.1, 0.1, np.nan, 0.1], 0.1, [0.1, np.nan, 0.1, 0.0], 9).tolist() == [1.0] * 4
