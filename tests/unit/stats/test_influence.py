"""Influences against the cluster bootstrap, the delta method, and what an interval must be."""

from __future__ import annotations

import numpy as np
import pytest

from palpate.stats.influence import Linear, change_interval, ratio, share_interval, spread_noise, within
from palpate.stats.intervals import proportion_interval, shift_interval
from palpate.stats.resampling import cluster_sums, draw_clusters, replicate
from palpate.stats.variance import balanced_prompt_variance, spread_difference, spread_with_noise


def sample(prompts: int = 3, seed: int = 0):
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(60), 3)
    latent = rng.standard_normal(60)[cluster, None] + rng.standard_normal((180, prompts))
    return (latent < 0.6).astype(float), np.ones((180, prompts)), cluster


def test_a_rate_has_the_variance_of_its_bootstrap():
    top, bottom, cluster = sample()
    bottom = bottom * (np.arange(180) % 5 > 0)[:, None]
    top = top * bottom
    found = ratio(top, bottom, cluster, 60)
    sums = replicate(
        cluster_sums(np.stack([top, bottom], axis=-1), cluster, 60), draw_clusters(60, 20_000, np.random.default_rng(1))
    )
    rates = sums.map(lambda rows: rows[..., 0] / rows[..., 1])
    assert found.value == pytest.approx(rates.value)
    assert found.variance(60) == pytest.approx(rates.draws.var(axis=0) * 60 / 59, rel=0.05)
    ours, theirs = share_interval(found, 60, 0.95), proportion_interval(rates, 60, 0.95)
    assert ours.low == pytest.approx(theirs.low, abs=0.005)
    assert ours.high == pytest.approx(theirs.high, abs=0.005)


def test_a_difference_is_paired_and_its_interval_is_that_of_the_bootstrap():
    top, bottom, cluster = sample()
    first, second = (ratio(top[:, [k]], bottom[:, [k]], cluster, 60) for k in (0, 1))
    difference = second - first
    each = cluster_sums(top[:, 1] - top[:, 0], cluster, 60)
    draws = replicate(each[:, None] / 180, draw_clusters(60, 20_000, np.random.default_rng(1)))
    floor = np.array([1 / 62**2])
    ours, theirs = change_interval(difference, floor, 60, 0.95), shift_interval(draws, floor, 60, 0.95)
    assert difference.value == pytest.approx(draws.value)
    assert ours.low == pytest.approx(theirs.low, abs=0.01)
    assert ours.high == pytest.approx(theirs.high, abs=0.01)


def test_functions_of_statistics_follow_the_delta_method():
    top, bottom, cluster = sample()
    a, b = (ratio(top[:, [k]], bottom[:, [k]], cluster, 60) for k in (0, 1))
    product = a.by(b)
    step = 1e-6
    moved = (a.value + step * a.influence[7]) * (b.value + step * b.influence[7])
    assert product.influence[7] == pytest.approx((moved - product.value) / step, rel=1e-4)
    squared = a.through(a.value**2, 2 * a.value)
    assert squared.influence == pytest.approx(a.by(a).influence)
    assert a.times(3.0).variance(60) == pytest.approx(9 * a.variance(60))
    assert (a + b).value == pytest.approx(a.value + b.value)


def test_the_mean_leaves_out_what_is_undefined():
    top, bottom, cluster = sample()
    bottom[:, 1] = 0
    found = ratio(top * bottom, bottom, cluster, 60)
    assert np.isnan(found.value[1])
    mean = found.mean()
    assert mean.value == pytest.approx(found.value[[0, 2]].mean())
    assert found.with_mean().value.shape == (4,)
    assert found.with_mean().value[0] == mean.value
    nothing = ratio(top * 0, bottom * 0, cluster, 60).mean()
    assert np.isnan(nothing.value)


def test_nothing_that_varies_still_has_an_interval_and_one_cluster_has_none():
    found = Linear(np.array([1.0]), np.zeros((40, 1)))
    interval = share_interval(found, 40, 0.95)
    assert 0.85 < interval.low[0] < 0.95
    assert interval.high[0] == 1.0
    assert np.isnan(share_interval(found, 1, 0.95).low[0])
    assert change_interval(Linear(np.zeros(1), np.zeros((40, 1))), 0.01, 40, 0.95).high[0] > 0


def test_the_noise_over_prompts_is_that_of_the_analysis_of_variance():
    top, bottom, _ = sample(12)
    found = ratio(top, bottom, np.arange(180), 180)
    spread = spread_with_noise(found.value, spread_noise(found, 180), 180, 0.95)
    assert spread.variance == pytest.approx(balanced_prompt_variance(top))


def test_the_difference_of_two_spreads_holds_its_level():
    """Two statistics over 12 prompts, σ .06 and .02, correlated by .5; noise known."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(1000):
        z = rng.standard_normal((12, 2))
        x = 0.06 * z[:, 0]
        y = 0.02 * (0.5 * z[:, 0] + 0.75**0.5 * z[:, 1])
        first, second = (spread_with_noise(v + rng.normal(0, 0.01, 12), 1e-4, 500, 0.95) for v in (x, y))
        low, high = spread_difference(first, second, 0.5)
        held += low <= 0.04 <= high
    assert 0.93 < held / 1000 < 0.985


def test_a_rate_holds_for_the_balance_of_the_study():
    """Of 100 + 100 cases, right .9 and .3: the standard deviation over new samples of as many of each, not of 200 from the pool."""
    rng = np.random.default_rng(0)
    label = (np.arange(200) % 2).astype(np.int8)
    values, errors, wide = [], [], []
    for _ in range(2000):
        top = (rng.random(200) < np.where(label == 1, 0.9, 0.3)).astype(float)
        found = ratio(top, np.ones(200), np.arange(200), 200, label=label)
        values.append(float(found.value))
        errors.append(float(found.variance(200)) ** 0.5)
        wide.append(float(ratio(top, np.ones(200), np.arange(200), 200).variance(200)) ** 0.5)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.05)
    assert np.mean(wide) > 1.2 * np.std(values)
    assert within(np.arange(4.0), np.array([0, 0, 1, 1], np.int8)) == pytest.approx([-0.5, 0.5, -0.5, 0.5])
