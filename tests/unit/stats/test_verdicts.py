"""Multiplicity, equivalence, power and mid-p against statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import DescrStatsW

from palpate.stats.intervals import t_quantile
from palpate.stats.verdicts import detectable_difference, equivalent, four_way, holm, mcnemar_mid_p


@settings(max_examples=15, deadline=None)  # statsmodels takes 40 ms a call
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_is_statsmodels(p):
    assert np.allclose(holm(p), multipletests(p, method="holm")[1])


def test_a_test_that_could_not_be_made_is_not_counted():
    assert np.allclose(holm([0.01, np.nan, 0.04]), [0.02, np.nan, 0.04], equal_nan=True)
    assert holm([]).size == 0


def test_equivalence_is_two_one_sided_tests():
    """The 90 % interval lies within the margin exactly when both one-sided tests reject at 5 %."""
    rng = np.random.default_rng(0)
    words = []
    for _ in range(200):
        d = rng.normal(rng.uniform(-0.1, 0.1), 0.2, 60)
        half = t_quantile(0.90, 59) * stats.sem(d)
        words.append((equivalent(d.mean() - half, d.mean() + half, 0.05), DescrStatsW(d).ttost_mean(-0.05, 0.05)[0] < 0.05))
    assert all(ours == theirs for ours, theirs in words)
    assert len({ours for ours, _ in words}) == 2


@pytest.mark.parametrize(
    ("value", "p", "narrow", "word"),
    [
        (0.1, 0.01, (0.05, 0.15), "better"),
        (-0.1, 0.01, (-0.15, -0.05), "worse"),
        (0.01, 0.4, (-0.02, 0.04), "equivalent"),
        (0.01, 0.4, (-0.06, 0.04), "undetermined"),
        (0.02, 0.01, (0.01, 0.03), "better"),
    ],
)
def test_four_verdicts(value, p, narrow, word):
    assert four_way(value, p, narrow, margin=0.05, alpha=0.05, words=("better", "worse")) == word


def test_the_detectable_difference_has_80_percent_power():
    error = 0.03
    found = float(detectable_difference(error, 59))
    assert TTestPower().power(found / (error * 60**0.5), 60, 0.05) == pytest.approx(0.8, abs=0.005)


@given(st.integers(0, 40), st.integers(0, 40))
def test_mid_p_is_the_exact_p_less_half_the_point_probability(gained, lost):
    ours = mcnemar_mid_p(gained, lost)
    n, k = gained + lost, min(gained, lost)
    exact = mcnemar([[0, gained], [lost, 0]], exact=True).pvalue if n else 1.0
    expected = 1.0 if gained == lost else exact - stats.binom.pmf(k, n, 0.5)
    assert ours == pytest.approx(min(1.0, expected), abs=1e-12)
    assert 0 < ours <= 1
