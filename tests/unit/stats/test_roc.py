"""AUROC against scikit-learn, under weights, ties and clusters."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from palpate.stats.intervals import proportion_interval
from palpate.stats.resampling import draw_clusters
from palpate.stats.roc import auroc, delong_covariance, linear_auroc, replicate_auroc


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


def delong_by_definition(score: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """DeLong, DeLong & Clarke-Pearson 1988, equations 3 to 6, pair by pair."""
    up, down = score[label == 1], score[label == 0]
    psi = (up[:, None] > down[None]) + 0.5 * (up[:, None] == down[None])  # (m, n, P)
    v10, v01 = psi.mean(axis=1), psi.mean(axis=0)
    area = psi.mean(axis=(0, 1))
    s10 = (v10 - area).T @ (v10 - area) / (len(up) - 1)
    s01 = (v01 - area).T @ (v01 - area) / (len(down) - 1)
    return area, s10 / len(up) + s01 / len(down)


def test_delongs_covariance_is_that_of_its_definition():
    label, _, _ = study()
    score = np.random.default_rng(3).normal(label[:, None], 1, (90, 4)).round(1)
    area, covariance = delong_covariance(score, label)
    theirs = delong_by_definition(score, label)
    assert np.allclose(area, theirs[0])
    assert np.allclose(covariance, theirs[1])


def test_influences_give_delongs_variance_for_single_images_and_the_bootstraps_for_patients():
    label, score, cluster = study(2)
    positive, used = (label == 1)[:, None], np.ones((90, 1), bool)
    single = linear_auroc(score[:, None], positive, used, np.arange(90), 90)
    assert np.isclose(single.value[0], roc_auc_score(label, score))
    assert np.isclose(single.variance(90)[0], delong_by_definition(score[:, None], label)[1][0, 0], rtol=0.03)
    grouped = linear_auroc(score[:, None], positive, used, cluster, 30)
    drawn = replicate_auroc(score, label, cluster, draw_clusters(30, 8000, np.random.default_rng(0)))
    assert np.isclose(grouped.variance(30)[0], drawn.draws.var() * 30 / 29, rtol=0.1)


def test_what_is_not_used_does_not_count_and_one_class_has_no_area():
    label, score, cluster = study()
    used = np.ones((90, 2), bool)
    used[:30, 0] = False
    used[:, 1] = label == 1
    found = linear_auroc(np.stack([score, score], axis=1), np.stack([label == 1] * 2, axis=1), used, cluster, 30)
    assert np.isclose(found.value[0], roc_auc_score(label[30:], score[30:]))
    assert np.isnan(found.value[1])
