"""Draws, sums and replicates against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palpate.stats.resampling import (
    Replicates,
    cluster_sums,
    draw_clusters,
    draw_prompts,
    generator,
    over_prompts,
    pigeonhole,
    replicate,
)


def test_a_generator_depends_on_seed_and_purpose_alone():
    first = generator(3, "chest", "clusters").random(4)
    assert np.array_equal(first, generator(3, "chest", "clusters").random(4))
    for other in (generator(4, "chest", "clusters"), generator(3, "skin", "clusters"), generator(3, "chestc", "lusters")):
        assert not np.array_equal(first, other.random(4))


def test_draws_are_whole_samples_with_replacement():
    weights = draw_clusters(50, 4000, generator(0, "x"))
    assert weights.shape == (4000, 50)
    assert (weights.sum(axis=1) == 50).all()
    assert weights.mean() == 1.0
    # Multinomial(50; 1/50): variance 1 − 1/50, covariance −1/50.
    assert np.isclose(weights.astype(float).var(axis=0).mean(), 0.98, atol=0.02)
    assert np.isclose(np.cov(weights[:, 0].astype(float), weights[:, 1].astype(float))[0, 1], -0.02, atol=0.05)


def test_draws_do_not_depend_on_how_they_are_cut_into_blocks(monkeypatch):
    whole = draw_clusters(30, 100, generator(1, "x"))
    monkeypatch.setattr("palpate.stats.resampling.CHUNK_VALUES", 90)
    assert np.array_equal(whole, draw_clusters(30, 100, generator(1, "x")))
    table = np.arange(60.0).reshape(30, 2)
    assert np.allclose(replicate(table, whole).draws, whole.astype(float) @ table)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(-5, 5)), min_size=1, max_size=40))
def test_cluster_sums_equal_the_sums_one_by_one(rows):
    cluster = np.array([c for c, _ in rows])
    values = np.array([[v, 2 * v] for _, v in rows], float)
    sums = cluster_sums(values, cluster, 8)
    for c in range(8):
        assert np.allclose(sums[c], values[cluster == c].sum(axis=0))


def test_sums_of_no_cases_are_zero():
    assert (cluster_sums(np.zeros((0, 2)), np.zeros(0, np.int64), 3) == 0).all()


def test_replicates_hold_the_value_the_draws_and_the_jackknife():
    rng = np.random.default_rng(0)
    table = rng.random((7, 2))
    weights = draw_clusters(7, 20, rng)
    ratio = replicate(table, weights).map(lambda s: s[:, 0] / s[:, 1])
    assert np.isclose(ratio.value, table[:, 0].sum() / table[:, 1].sum())
    for b in range(20):
        drawn = np.repeat(table, weights[b], axis=0)
        assert np.isclose(ratio.draws[b], drawn[:, 0].sum() / drawn[:, 1].sum())
    for c in range(7):
        kept = np.delete(table, c, axis=0)
        assert np.isclose(ratio.left_out[c], kept[:, 0].sum() / kept[:, 1].sum())


def test_nothing_over_nothing_is_undefined_and_silent():
    ratio = replicate(np.array([[0.0], [0.0]]), draw_clusters(2, 3, np.random.default_rng(0))).map(lambda s: s / s)
    assert np.isnan(ratio.rows).all()


def test_the_mean_over_prompts_leaves_out_the_undefined():
    rows = np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, np.nan], [1.0, 2.0, 3.0]])
    assert np.allclose(over_prompts(rows), [2.0, np.nan, 2.0], equal_nan=True)


def test_prompt_weights_are_shares():
    weights = draw_prompts(12, 50, np.random.default_rng(0))
    assert np.allclose(weights.sum(axis=1), 1)


def test_the_pigeonhole_adds_the_variance_of_prompts():
    """Additive scores: the variance of the mean is that over clusters plus that over prompts (each by its own bootstrap)."""
    rng = np.random.default_rng(0)
    case, prompt = rng.normal(0, 1, 200), rng.normal(0, 0.5, 12)
    scores = case[:, None] + prompt[None, :]
    weights = draw_clusters(200, 6000, rng)
    means = replicate(scores, weights).map(lambda s: s / 200)
    mixed = pigeonhole(means, rng)
    assert np.isclose(mixed.value, scores.mean())
    assert np.isclose(mixed.draws.var(), case.var() / 200 + prompt.var() / 12, rtol=0.06)
    assert np.isclose(means.map(over_prompts).draws.var(), case.var() / 200, rtol=0.06)


def test_the_pigeonhole_with_one_prompt_is_the_clustered_bootstrap():
    rng = np.random.default_rng(0)
    means = replicate(rng.random((9, 1)), draw_clusters(9, 30, rng)).map(lambda s: s / 9)
    assert np.allclose(pigeonhole(means, rng).rows, means.rows[:, 0])


def test_replicates_are_frozen():
    with pytest.raises(AttributeError):
        Replicates(np.zeros((1, 1)), 0).n_draws = 2  # type: ignore[misc]
