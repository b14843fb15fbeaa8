"""d′ and criterion against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from palpate.stats.detection import d_prime_and_criterion, log_linear, z_rate
from palpate.stats.influence import ratio


def test_the_textbook_values():
    d, c = d_prime_and_criterion(norm.cdf(0.5), norm.cdf(-1.5))
    assert (d, c) == (pytest.approx(2.0), pytest.approx(0.5))
    d, c = d_prime_and_criterion(0.84, 0.5)
    assert d == pytest.approx(norm.ppf(0.84))
    assert c == pytest.approx(-norm.ppf(0.84) / 2)


def test_a_shift_of_the_criterion_leaves_d_prime_alone():
    for shift in (-1.0, 0.0, 0.7):
        d, c = d_prime_and_criterion(norm.cdf(1 - shift), norm.cdf(-1 - shift))
        assert (d, c) == (pytest.approx(2.0), pytest.approx(shift))


def test_all_and_none_stay_finite():
    assert log_linear(50, 50) == pytest.approx(50.5 / 51)
    assert log_linear(0, 50) == pytest.approx(0.5 / 51)
    assert np.isfinite(d_prime_and_criterion(log_linear(50, 50), log_linear(0, 50))).all()


def test_the_slope_of_z_is_its_derivative():
    top = (np.arange(40) % 3 > 0).astype(float)[:, None]
    rate = ratio(top, np.ones((40, 1)), np.arange(40), 40)
    z, slope = z_rate(rate, np.array([40.0]))
    assert z.value[0] == pytest.approx(norm.ppf((top.sum() + 0.5) / 41))
    up = norm.ppf(((rate.value[0] + 1e-6) * 40 + 0.5) / 41)
    assert slope[0] == pytest.approx((up - z.value[0]) / 1e-6, rel=1e-4)
    assert np.isnan(z_rate(rate, np.array([0.0]))[0].value[0])
