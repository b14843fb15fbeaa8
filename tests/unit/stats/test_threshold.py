"""Thresholds against trying every cut, and folds that keep clusters whole."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from palpate.stats.folds import grouped_folds
from palpate.stats.threshold import best_thresholds, right_out_of_fold


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(-4, 4), st.booleans()), min_size=1, max_size=25))
def test_no_cut_does_better(rows):
    label, score, kept = (np.array(column) for column in zip(*rows, strict=True))
    cut = best_thresholds(score.astype(float), label.astype(np.int8), kept[None, :])[0]
    y = label[kept]
    if len(set(y)) < 2:
        assert np.isnan(cut)
        return
    ours = balanced_accuracy_score(y, score[kept] > cut)
    cuts = np.arange(-5, 5) + 0.5
    assert np.isclose(ours, max(balanced_accuracy_score(y, score[kept] > c) for c in cuts))


def test_a_case_never_helps_to_choose_its_own_threshold():
    """Pure noise: in the sample the best cut always looks good, out of fold it does not."""
    rng, inside, outside = np.random.default_rng(0), [], []
    for s in range(200):
        label, score = (np.arange(60) % 2).astype(np.int8), rng.standard_normal((60, 1))
        fold = grouped_folds(label, np.arange(60), 5, np.random.default_rng(s))
        right = right_out_of_fold(score, label, np.ones((60, 1), bool), fold)
        outside.append(np.nanmean(right))
        cut = best_thresholds(score[:, 0], label, np.ones((1, 60), bool))[0]
        inside.append(((score[:, 0] > cut) == label).mean())
    assert np.mean(inside) > 0.56
    assert 0.44 < np.mean(outside) < 0.51


def test_what_is_not_used_has_no_answer():
    label = (np.arange(20) % 2).astype(np.int8)
    used = np.ones((20, 2), bool)
    used[:5, 0] = False
    used[:, 1] = False
    right = right_out_of_fold(np.tile(label[:, None] * 2.0, 2), label, used, np.arange(20) % 4)
    assert np.isnan(right[:5, 0]).all()
    assert (right[5:, 0] == 1).all()
    assert np.isnan(right[:, 1]).all()


def test_folds_keep_clusters_whole_and_classes_even():
    rng = np.random.default_rng(0)
    cluster = rng.permutation(np.repeat(np.arange(50), 4))
    label = (np.arange(50) % 2)[cluster].astype(np.int8)
    fold = grouped_folds(label, cluster, 5, rng)
    assert all(len(set(fold[cluster == c])) == 1 for c in range(50))
    assert np.bincount(fold).tolist() == [40] * 5
    assert [label[fold == k].mean() for k in range(5)] == [0.5] * 5
    assert grouped_folds(np.zeros(0, np.int8), np.zeros(0, np.int64), 5, rng).size == 0
