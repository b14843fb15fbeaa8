"""The permutation null against exact enumeration and statsmodels."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import cochrans_q

from palpate.stats.permutation import cochran_q, permutation_null


def scores(n: int, prompts: int, seed: int, spread: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.random((n, prompts)) < 0.5 + spread * np.linspace(-1, 1, prompts)).astype(float)


def test_cochrans_q_is_statsmodels():
    for seed in range(5):
        data = scores(40, 5, seed, 0.1)
        expected = cochrans_q(data)
        assert np.allclose(cochran_q(data), (expected.statistic, expected.pvalue))


def test_cochrans_q_without_a_row_that_differs_is_no_effect():
    assert cochran_q(np.ones((10, 4))) == (0.0, 1.0)


def test_the_null_equals_the_exact_one_of_a_small_table():
    """All 3!³ permutations of three clusters by hand."""
    table = np.array([[1.0, 0.0, 0.0], [2.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    totals = [sum(rows) for rows in product(*(map(np.array, permutations(row)) for row in table))]
    exact = np.array([t.std(ddof=1) for t in totals])
    null = permutation_null(table, 20000, np.random.default_rng(0))
    assert np.isclose(null.deviations.mean(), exact.mean(), atol=0.01)
    assert np.isclose(null.ranges.mean(), np.mean([np.ptp(t) for t in totals]), atol=0.02)
    observed = table.sum(axis=0).std(ddof=1)
    assert np.isclose(null.observed, observed)
    assert np.isclose(null.p, (exact >= observed - 1e-12).mean(), atol=0.01)


def test_the_mean_square_of_the_null_is_the_sum_of_the_rows_variances():
    table = scores(60, 12, 1)
    null = permutation_null(table, 4000, np.random.default_rng(0))
    assert np.isclose((null.deviations**2).mean(), table.var(axis=1, ddof=1).sum(), rtol=0.05)


def test_p_agrees_with_cochrans_q():
    for seed in range(4):
        data = scores(80, 6, seed, 0.06)
        assert np.isclose(permutation_null(data, 4000, np.random.default_rng(seed)).p, cochran_q(data)[1], atol=0.04)


def test_a_strong_effect_has_the_smallest_p_there_is():
    assert permutation_null(scores(200, 6, 0, 0.4), 999, np.random.default_rng(0)).p == 1 / 1000


def test_p_is_uniform_without_an_effect():
    p = [permutation_null(scores(30, 5, seed), 200, np.random.default_rng(seed)).p for seed in range(400)]
    assert stats.kstest(p, "uniform").pvalue > 0.001
    assert 0.02 < np.mean(np.array(p) <= 0.05) < 0.09


def test_rows_that_do_not_differ_change_nothing():
    table = scores(30, 5, 0)
    more = np.concatenate([table, np.ones((50, 5))])
    first, second = (permutation_null(t, 300, np.random.default_rng(0)) for t in (table, more))
    assert np.allclose(first.deviations, second.deviations)
    assert first.p == second.p


def test_a_table_without_any_difference_has_p_one():
    null = permutation_null(np.ones((10, 4)), 50, np.random.default_rng(0))
    assert null.p == 1.0
    assert (null.deviations == 0).all()


def test_the_normal_limit_agrees_with_permuting(monkeypatch):
    table = scores(400, 12, 2)
    exact = permutation_null(table, 3000, np.random.default_rng(0))
    monkeypatch.setattr("palpate.stats.permutation.GAUSSIAN_FROM", 100)
    normal = permutation_null(table, 3000, np.random.default_rng(0))
    assert np.isclose(exact.deviations.mean(), normal.deviations.mean(), rtol=0.02)
    assert np.isclose(np.quantile(exact.ranges, 0.975), np.quantile(normal.ranges, 0.975), rtol=0.04)
    assert exact.p == pytest.approx(normal.p, abs=0.04)


def test_the_draws_have_the_permutation_variance_exactly_in_expectation():
    table = scores(30, 5, 0)
    null = permutation_null(table, 2000, np.random.default_rng(0))
    assert np.isclose((null.deviations**2).mean(), table.var(axis=1, ddof=1).sum(), rtol=0.08)


def test_every_row_is_permuted_on_its_own():
    """Two rows with one 1 each: their ones fall on the same prompt in one draw of five, and then the range is 2."""
    null = permutation_null(np.eye(2, 5), 4000, np.random.default_rng(3))
    assert np.isclose((null.ranges == 2).mean(), 0.2, atol=0.025)
