"""Plain proportions: the figures the methods page quotes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import binom_tost, proportion_confint

from palpate.stats.proportions import binomial_equivalence_p, binomial_p, jeffreys_interval, wilson_interval


def test_wilson_of_50_in_100():
    """The figure of METHODS §2.1."""
    assert np.allclose(wilson_interval(50, 100, 0.95), (0.404, 0.596), atol=0.0005)


def test_jeffreys_is_the_beta_quantiles():
    assert np.allclose(jeffreys_interval(7, 20, 0.9), stats.beta.ppf([0.05, 0.95], 7.5, 13.5))


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (0, 20), (7, 20), (20, 20), (61, 100), (499, 1000)])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_as_statsmodels_has_them(successes, trials, level):
    for interval, method in ((wilson_interval, "wilson"), (jeffreys_interval, "jeffreys")):
        assert np.allclose(
            interval(successes, trials, level), proportion_confint(successes, trials, alpha=1 - level, method=method), atol=1e-12
        )
    for margin in (0.05, 0.1, 0.3):
        expected = binom_tost(successes, trials, 0.5 - margin, 0.5 + margin)[0]
        assert binomial_equivalence_p(successes, trials, margin) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("interval", [wilson_interval, jeffreys_interval])
def test_no_trials_is_an_error_not_a_number(interval):
    with pytest.raises(ValueError, match="no trials"):
        interval(0, 0, 0.95)


def test_above_chance_at_100_cases_needs_61():
    assert binomial_p(60, 100) > 0.05 > binomial_p(61, 100)


def test_equivalence_to_chance_within_10_points_has_power_a_quarter_at_100_cases():
    power = {
        n: sum(stats.binom.pmf(k, n, 0.5) for k in range(n + 1) if binomial_equivalence_p(k, n, 0.1) < 0.05) for n in (100, 200)
    }
    assert power[100] == pytest.approx(0.24, abs=0.01)
    assert power[200] == pytest.approx(0.77, abs=0.01)
