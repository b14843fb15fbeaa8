"""Confidence against correctness: brute force, and the identity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palpate.stats.influence import ratio
from palpate.stats.selective import accepted, augrc, failure_auroc, risk_at


def linears(confidence, right):
    n = confidence.size
    used, cluster = np.ones((n, 1), bool), np.arange(n)
    accuracy = ratio(right[:, None].astype(float), np.ones((n, 1)), cluster, n)
    return accuracy, failure_auroc(confidence[:, None], right[:, None], used, cluster, n)


def trapezoid(confidence, right):
    """P(wrong and accepted) at every coverage, by the trapezoidal rule; no ties."""
    wrong = np.cumsum(~right[np.argsort(-confidence)]) / right.size
    risks = np.concatenate([[0.0], wrong])
    return float(((risks[1:] + risks[:-1]) / 2).mean())


@given(st.lists(st.booleans(), min_size=2, max_size=40), st.integers(0, 10_000))
def test_augrc_is_the_area_under_the_generalised_risk_coverage_curve(rights, seed):
    right = np.array(rights)
    confidence = np.random.default_rng(seed).permutation(right.size).astype(float)
    accuracy, failure = linears(confidence, right)
    if right.all() or not right.any():
        assert np.isnan(augrc(accuracy, failure).value[0])
        return
    acc, area = accuracy.value[0], failure.value[0]
    identity = (1 - area) * acc * (1 - acc) + 0.5 * (1 - acc) ** 2
    assert augrc(accuracy, failure).value[0] == pytest.approx(identity)
    assert identity == pytest.approx(trapezoid(confidence, right))


def test_its_influence_is_its_derivative():
    rng = np.random.default_rng(0)
    right = rng.random(200) < 0.7
    confidence = rng.normal(right, 1)
    accuracy, failure = linears(confidence, right)
    found = augrc(accuracy, failure)
    rows = [np.r_[np.arange(200), [i] * 1] for i in (3, 50)]
    for i, at in zip((3, 50), rows, strict=True):
        again = augrc(*linears(confidence[at], right[at]))
        assert again.value[0] - found.value[0] == pytest.approx(found.influence[i, 0], abs=2e-4)


def test_the_most_confident_are_accepted_and_ties_shared():
    confidence = np.array([[3.0], [2.0], [2.0], [2.0], [1.0]])
    used = np.ones((5, 1), bool)
    assert accepted(confidence, used, 0.6)[:, 0] == pytest.approx([1, 2 / 3, 2 / 3, 2 / 3, 0])
    assert accepted(confidence, used, 1.0).sum() == 5
    used[0] = False
    assert accepted(confidence, used, 0.5)[:, 0] == pytest.approx([0, 2 / 3, 2 / 3, 2 / 3, 0])
    assert accepted(confidence, ~used[[0] * 5] & False, 0.5).sum() == 0


def test_the_risk_at_a_coverage_counts_the_accepted():
    confidence, right = np.arange(10.0), np.arange(10) % 3 > 0
    found = risk_at(confidence[:, None], right[:, None], np.ones((10, 1), bool), 0.8, np.arange(10), 10)
    assert found.value[0] == pytest.approx((~right[2:]).mean())
