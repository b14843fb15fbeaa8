"""Entropies against scipy, and the expected entropy against drawing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import entropy

from palpate.stats.information import expected_entropy, miller_madow, plugin_entropy


def test_the_plug_in_is_scipys():
    counts = np.array([[3, 5, 2], [0, 4, 0], [0, 0, 0]])
    found = plugin_entropy(counts)
    assert found[0] == pytest.approx(entropy([3, 5, 2], base=2))
    assert found[1] == 0
    assert np.isnan(found[2])


def test_miller_madow_takes_most_of_the_bias_away():
    rng = np.random.default_rng(0)
    counts = rng.multinomial(30, [0.5, 0.3, 0.2], 4000)
    true = entropy([0.5, 0.3, 0.2], base=2)
    assert abs(miller_madow(counts).mean() - true) < 0.2 * abs(plugin_entropy(counts).mean() - true)


@pytest.mark.parametrize("taken", [1, 2, 3, 5])
def test_the_expected_entropy_is_that_of_drawing_without_replacement(taken):
    pool = np.repeat([0, 1, 2], [8, 5, 2])
    rng = np.random.default_rng(0)
    drawn = np.stack([rng.permutation(pool)[:taken] for _ in range(6000)])
    counts = np.stack([(drawn == k).sum(axis=1) for k in range(3)], axis=1)
    assert expected_entropy(np.array([8, 5, 2]), taken) == pytest.approx(plugin_entropy(counts).mean(), abs=0.015)
