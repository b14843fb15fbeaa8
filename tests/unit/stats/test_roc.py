"""AUROC against scikit-learn, under weights, ties and clusters."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from palpate.stats.intervals import proportion_interval
from palpate.stats.resampling import draw_clusters
from palpate.stats.roc import auroc, replicate_auroc


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_it_is_scikit_learns_with_ties_and_weights(rows):
    label, score, weight = (np.array(column) for column in zip(*rows, strict=True))
    ours = auroc(score.astype(float), label, weight[None, :].astype(float))[0]
    if (weight * label).sum() == 0 or (weight * (1 - label)).sum() == 0:
        assert np.isnan(ours)
    else:
        assert np.isclose(ours, roc_auc_score(label, score, sample_weight=weight))


def study(seed: int = 0):
    rng = np.random.default_rng(seed)
    label, cluster = np.arange(90) % 2, np.arange(90) // 3
    return label, rng.normal(label * 1.0, 1).round(1), cluster


def test_draws_are_those_of_resampled_clusters():
    label, score, cluster = study()
    weights = draw_clusters(30, 20, np.random.default_rng(0))
    replicates = replicate_auroc(score, label, cluster, weights)
    assert np.isclose(replicates.value[0], roc_auc_score(label, score))
    for b in range(20):
        assert np.isclose(replicates.draws[b, 0], roc_auc_score(label, score, sample_weight=weights[b][cluster]))


def test_leaving_out_a_cluster_is_right_to_first_order():
    label, score, cluster = study()
    replicates = replicate_auroc(score, label, cluster, draw_clusters(30, 5, np.random.default_rng(0)))
    exact = np.array([roc_auc_score(label[cluster != c], score[cluster != c]) for c in range(30)])
    assert np.corrcoef(exact, replicates.left_out[:, 0])[0, 1] > 0.99
    assert np.abs(exact - replicates.left_out[:, 0]).max() < 0.004


def test_the_blocks_do_not_matter(monkeypatch):
    label, score, cluster = study()
    weights = draw_clusters(30, 50, np.random.default_rng(0))
    whole = replicate_auroc(score, label, cluster, weights)
    monkeypatch.setattr("palpate.stats.roc.CHUNK_VALUES", 200)
    assert np.allclose(whole.rows, replicate_auroc(score, label, cluster, weights).rows)


def test_a_perfect_score_has_an_interval_below_one():
    label, _, cluster = study()
    replicates = replicate_auroc(label.astype(float), label, cluster, draw_clusters(30, 200, np.random.default_rng(0)))
    interval = proportion_interval(replicates, 30, 0.95)
    assert replicates.value[0] == interval.high[0] == 1.0
    assert 0.8 < interval.low[0] < 0.95
