"""Thresholds against trying every cut, and folds that keep clusters whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from palpate.stats.folds import grouped_folds
from palpate.stats.threshold import best_thresholds, right_sides


def smoothed(cut: float, score: np.ndarray, label: np.ndarray, width: float) -> float:
    """Balanced accuracy at a cut, each case spread out by a normal of that width."""
    below = norm.cdf((cut - score) / width)
    return float((below[label == 0].mean() + 1 - below[label == 1].mean()) / 2)


@pytest.mark.parametrize("seed", range(4))
def test_no_cut_does_better_by_the_smoothed_score(seed):
    rng = np.random.default_rng(seed)
    label = (np.arange(120) % 2).astype(np.int8)
    score = rng.normal(1.5 * label + 3, 1) ** 2
    kept = rng.random(120) < 0.8
    cut = best_thresholds(score, label, kept[None, :])[0]
    first, third = np.quantile(score, [0.25, 0.75])
    width = 0.9 * min(score.std(), (third - first) / 1.34) * 120**-0.2
    tried = [smoothed(c, score[kept], label[kept], width) for c in np.linspace(score.min(), score.max(), 2000)]
    assert smoothed(cut, score[kept], label[kept], width) == pytest.approx(max(tried), abs=0.001)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(-4, 4), st.booleans()), min_size=1, max_size=25))
def test_whatever_the_scores_there_is_a_cut_unless_a_class_is_missing(rows):
    label, score, kept = (np.array(column) for column in zip(*rows, strict=True))
    cut = best_thresholds(score.astype(float), label.astype(np.int8), kept[None, :])[0]
    assert np.isnan(cut) == (len(set(label[kept])) < 2)


def test_it_costs_less_on_other_cases_than_the_plain_maximum():
    """d′ = 1.5, 50 cases to choose on: how far the cut lies from the best one, 0."""
    rng, ours, plain = np.random.default_rng(0), [], []
    label = (np.arange(50) % 2).astype(np.int8)
    for _ in range(300):
        score = rng.normal(1.5 * (label - 0.5), 1)
        ours.append(best_thresholds(score, label, np.ones((1, 50), bool))[0])
        plain.append(max(score - 1e-9, key=lambda c, s=score: (s > c)[label == 1].mean() - (s > c)[label == 0].mean()))
    assert np.std(ours) < 0.8 * np.std(plain)


def test_two_heaps_are_cut_in_the_middle():
    label = np.repeat([0, 1], 30).astype(np.int8)
    assert abs(best_thresholds(np.where(label == 1, 5.0, -5.0), label, np.ones((1, 60), bool))[0]) < 1


def test_a_case_never_helps_to_choose_its_own_threshold():
    """Pure noise: in the sample the best cut always looks good, out of fold it does not."""
    rng, inside, outside = np.random.default_rng(0), [], []
    for s in range(200):
        label, score = (np.arange(60) % 2).astype(np.int8), rng.standard_normal((60, 1))
        fold = grouped_folds(label, np.arange(60), 5, np.random.default_rng(s))
        right, in_sample = right_sides(score, label, np.ones((60, 1), bool), fold)
        outside.append(np.nanmean(right))
        cut = best_thresholds(score[:, 0], label, np.ones((1, 60), bool))[0]
        inside.append(((score[:, 0] > cut) == label).mean())
        assert np.nanmean(in_sample) == inside[-1]
    assert np.mean(inside) > 0.53
    assert 0.44 < np.mean(outside) < 0.51


def test_what_is_not_used_has_no_answer():
    label = (np.arange(20) % 2).astype(np.int8)
    used = np.ones((20, 2), bool)
    used[:5, 0] = False
    used[:, 1] = False
    right, in_sample = right_sides(np.tile(label[:, None] * 2.0, 2), label, used, np.arange(20) % 4)
    assert np.isnan(right[:5, 0]).all()
    assert (right[5:, 0] == 1).all()
    assert np.isnan(right[:, 1]).all()
    assert np.array_equal(np.isnan(in_sample), ~used)


def test_folds_keep_clusters_whole_and_classes_even():
    rng = np.random.default_rng(0)
    cluster = rng.permutation(np.repeat(np.arange(50), 4))
    label = (np.arange(50) % 2)[cluster].astype(np.int8)
    fold = grouped_folds(label, cluster, 5, rng)
    assert all(len(set(fold[cluster == c])) == 1 for c in range(50))
    assert np.bincount(fold).tolist() == [40] * 5
    assert [label[fold == k].mean() for k in range(5)] == [0.5] * 5
    assert grouped_folds(np.zeros(0, np.int8), np.zeros(0, np.int64), 5, rng).size == 0


def test_scores_that_are_all_alike_but_for_rounding_have_a_cut():
    label = (np.arange(30) % 2).astype(np.int8)
    for value in (0.0, -7.1234, 1e6 / 3):
        score = np.full(30, value)
        score[::3] *= 1 + 1e-16
        score[1::3] += np.spacing(value)
        cut = best_thresholds(score, label, np.ones((2, 30), bool))
        assert np.isfinite(cut).all()
        assert np.nanmean(right_sides(score[:, None], label, np.ones((30, 1), bool), np.arange(30) % 5)[0]) == 0.5
