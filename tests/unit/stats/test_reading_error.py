"""κ against scikit-learn, corrections against their formulas, brute force and planted truth."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from palpate.stats.reading_error import (
    effective_number,
    kappa,
    power_tuning,
    rogan_gladen,
    rogan_gladen_interval,
    stratum_weights,
)


@pytest.mark.parametrize("seed", range(5))
def test_kappa_is_scikit_learns(seed):
    rng = np.random.default_rng(seed)
    person, reading = rng.integers(0, 4, 80), rng.integers(0, 4, 80)
    reading = np.where(rng.random(80) < 0.6, person, reading)
    weight = rng.uniform(0.5, 4, 80)
    table = np.zeros((4, 4))
    np.add.at(table, (person, reading), weight)
    value, agreed, chance = kappa(table)
    assert value == pytest.approx(cohen_kappa_score(person, reading, sample_weight=weight))
    assert agreed == pytest.approx(np.average(person == reading, weights=weight))
    assert value == pytest.approx((agreed - chance) / (1 - chance))


def test_kappa_of_one_kind_or_of_nothing_is_undefined():
    assert np.isnan(kappa(np.diag([5.0, 0, 0]))[0])
    assert kappa(np.diag([5.0, 0, 0]))[1] == 1
    assert all(np.isnan(kappa(np.zeros((3, 3)))))


def test_a_reading_right_95_times_in_100_turns_90_into_86():
    """METHODS C5."""
    seen = 0.9 * 0.95 + 0.1 * 0.05
    assert seen == pytest.approx(0.86)
    assert rogan_gladen(seen, 0.95, 0.95) == pytest.approx(0.9)


def test_rogan_gladen_undoes_any_reading_with_skill():
    rng = np.random.default_rng(0)
    truth, q1, q0 = rng.random(50), rng.uniform(0.6, 1, 50), rng.uniform(0.6, 1, 50)
    assert rogan_gladen(truth * q1 + (1 - truth) * (1 - q0), q1, q0) == pytest.approx(truth)


def test_rogan_gladen_stays_a_share_and_needs_skill():
    assert rogan_gladen(0.02, 0.9, 0.9) == 0
    assert rogan_gladen(0.99, 0.9, 0.9) == 1
    assert np.isnan(rogan_gladen(0.5, 0.5, 0.5))
    assert np.isnan(rogan_gladen(0.5, 0.3, 0.2))


def test_the_noise_of_the_labels_is_in_the_interval():
    rng = np.random.default_rng(0)
    seen = rng.normal(0.8, 0.01, 4000)
    widths = []
    for n in (20, 100, 1000):
        low, high = rogan_gladen_interval(seen, (1.0, n), (1.0, n), 0.95, np.random.default_rng(1))
        widths.append(high - low)
    assert widths[0] > widths[1] > widths[2] > 0.03
    none = rogan_gladen_interval(seen, (0.5, 50), (0.5, 50), 0.95, rng)
    assert all(np.isnan(none))


def test_power_tuning_uses_a_reading_for_what_it_is_worth():
    rng = np.random.default_rng(3)
    person = rng.random(400) < 0.6
    weight = np.ones(400)
    assert power_tuning(person, person, weight, 10**6) == pytest.approx(1.0, abs=1e-3)
    assert power_tuning(person, rng.random(400) < 0.5, weight, 10**6) < 0.15
    assert power_tuning(person, ~person, weight, 10**6) == 0
    assert power_tuning(person, np.ones(400), weight, 10**6) == 1
    noisy = np.where(rng.random(400) < 0.2, ~person, person)
    assert power_tuning(person, noisy, weight, 400) == pytest.approx(
        np.cov(person, noisy)[0, 1] / np.var(noisy, ddof=1) / 2, rel=0.01
    )


def test_weights_stand_for_their_stratum():
    stratum = np.array([0] * 10 + [1] * 4 + [3] * 6)
    labelled = np.zeros(20, bool)
    labelled[[0, 1, 10, 14]] = True
    weight, covered = stratum_weights(stratum, labelled)
    assert weight.tolist() == [5, 5, 4, 6]
    assert covered == 1
    labelled[14] = False
    assert stratum_weights(stratum, labelled)[1] == pytest.approx(14 / 20)
    assert stratum_weights(np.zeros(0, np.int64), np.zeros(0, bool)) == (pytest.approx([]), 0.0)


def test_kish():
    assert effective_number([1, 1, 1]) == 3
    assert effective_number([1, 0, 0]) == 1
    assert effective_number([]) == 0
