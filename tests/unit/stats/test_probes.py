"""Probes against scikit-learn, planted signals, and labels that mean nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

from palpate.stats.probes import (
    PENALTIES,
    Probed,
    _Space,
    chosen,
    directions,
    gram,
    permuted_labels,
    probe,
    probe_score,
    repeated_folds,
)


def planted(
    n: int = 200, d: int = 40, strength: float = 1.0, seed: int = 0, per_cluster: int = 2
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(features, label, cluster): normal features, the label shifting a random direction; clusters share their label."""
    rng = np.random.default_rng(seed)
    cluster = np.arange(n) // per_cluster
    label = (rng.permutation(cluster.max() + 1) % 2)[cluster].astype(np.int8)
    direction = rng.standard_normal(d)
    direction /= np.linalg.norm(direction)
    return rng.standard_normal((n, d)) + strength * np.outer(2.0 * label - 1, direction) / 2, label, cluster


def folds(label: np.ndarray, cluster: np.ndarray, repeats: int = 2, count: int = 5, seed: int = 1) -> np.ndarray:
    return repeated_folds(label, cluster, repeats, count, np.random.default_rng(seed))


def area(probed: Probed, label: np.ndarray) -> float:
    return float(np.mean([roc_auc_score(label, row) for row in probed.score]))


# ---------------------------------------------------------------- one fold, against scikit-learn


@pytest.fixture(scope="module")
def fold() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(features as the probe scales them, label, training places, held-out places, kernel)."""
    x, label, _ = planted(120, 30, 1.5)
    scaled = (x - x.mean(axis=0)) / x.std(axis=0) / np.sqrt(x.shape[1])
    return scaled, label, np.arange(90), np.arange(90, 120), gram(x)


def test_the_gram_matrix_is_that_of_scaled_features(fold):
    scaled, _, _, _, kernel = fold
    assert np.allclose(kernel, scaled @ scaled.T, atol=1e-5)


@pytest.mark.parametrize(("n", "d"), [(60, 20), (40, 300)])
def test_directions_are_the_participation_ratio_of_the_components(n, d):
    rng = np.random.default_rng(2)
    states = rng.standard_normal((n, d)) * rng.uniform(0.1, 3, d) + 5
    states[:, : d // 2] += 4 * rng.standard_normal((n, 1))
    variance = PCA().fit((states - states.mean(0)) / states.std(0)).explained_variance_
    assert directions(states) == pytest.approx(variance.sum() ** 2 / (variance**2).sum(), rel=1e-4)


def test_directions_of_one_of_many_and_of_none():
    rng = np.random.default_rng(3)
    assert directions(np.outer(rng.standard_normal(50), rng.standard_normal(30))) == pytest.approx(1, abs=1e-4)
    assert 40 < directions(rng.standard_normal((50, 4000))) <= 50  # as many as there are cases to see them
    assert directions(np.ones((50, 30))) == 0


def test_constant_columns_count_nothing():
    x, *_ = planted(50, 10)
    padded = np.concatenate([x, np.full((50, 10), 3.0)], axis=1)
    assert np.allclose(gram(padded) * 2, gram(x), atol=1e-4)


def test_the_components_are_those_of_scikit_learn(fold):
    scaled, _, seen, out, kernel = fold
    space = _Space(kernel, seen, out, 12)
    pca = PCA(12, svd_solver="full").fit(scaled[seen])
    wanted = pca.transform(scaled[out])
    got = (space.out / np.sqrt(space.variance))[:, ::-1]
    assert np.allclose(np.abs(got), np.abs(wanted), atol=1e-4)
    assert np.allclose(space.variance[::-1], pca.explained_variance_ * (len(seen) - 1), rtol=1e-4)


def test_the_fit_is_the_ridge_regression_of_the_best_leave_one_out_penalty(fold):
    scaled, label, seen, out, kernel = fold
    space = _Space(kernel, seen, out, 20)
    pca = PCA(20, svd_solver="full").fit(scaled[seen])
    z, y = pca.transform(scaled[seen]), np.where(label[seen] == 1, 1.0, -1.0)
    ridge = RidgeCV(PENALTIES * float(space.variance.mean()), gcv_mode="svd", store_cv_results=True).fit(z, y)
    found = space.fit(label)
    assert np.corrcoef(found.held_out, ridge.predict(pca.transform(scaled[out])))[0, 1] > 1 - 1e-6
    penalty = PENALTIES * float(space.variance.mean())
    missed = ridge.cv_results_[:, int(np.argmin(np.abs(penalty - ridge.alpha_)))]
    own = y - np.sign(y) * 0  # leave-one-out predictions by refitting, case by case
    for i in range(0, len(seen), 9):
        rest = np.delete(np.arange(len(seen)), i)
        own[i] = Ridge(float(ridge.alpha_)).fit(z[rest], y[rest]).predict(z[i : i + 1])[0]
        assert (y[i] - own[i]) ** 2 == pytest.approx(float(missed[i]), rel=0.02, abs=1e-4)
    shown = own[::9]
    assert np.corrcoef(found.own[::9], shown)[0, 1] > 1 - 1e-4


def test_its_direction_is_that_of_discriminant_analysis_where_nothing_needs_shrinking():
    x, label, cluster = planted(600, 6, 2.0)
    probed = probe(x, label, folds(label, cluster, 1))
    lda = LinearDiscriminantAnalysis().fit(x, label)
    assert abs(np.corrcoef(probed.score[0], lda.decision_function(x))[0, 1]) > 0.99


@pytest.mark.parametrize(("strength", "d"), [(1.0, 40), (2.0, 40), (2.0, 400), (3.0, 1000)])
def test_the_held_out_auroc_is_that_of_logistic_regression(strength, d):
    ours, theirs = [], []
    for seed in range(2):
        x, label, cluster = planted(200, d, strength, seed)
        fold = folds(label, cluster, 1, seed=seed)
        ours.append(area(probe(x, label, fold), label))
        score = np.empty(200)
        for f in range(5):
            seen, out = fold[0] != f, fold[0] == f
            fits = []
            for c in (1e-3, 1e-2, 1e-1):
                made = make_pipeline(PCA(min(64, d)), LogisticRegression(C=c, max_iter=500))
                inner = fold[0][seen] % 2 == 0
                held = x[seen][~inner]
                fitted = made.fit(x[seen][inner], label[seen][inner])
                fits.append((roc_auc_score(label[seen][~inner], fitted.decision_function(held)), c))
            best = make_pipeline(PCA(min(64, d)), LogisticRegression(C=max(fits)[1], max_iter=500)).fit(x[seen], label[seen])
            score[out] = best.decision_function(x[out])
        theirs.append(roc_auc_score(label, score))
    assert np.mean(ours) > np.mean(theirs) - 0.03


# ---------------------------------------------------------------- planted signals


def test_a_strong_signal_is_found_to_its_full_worth():
    x, label, cluster = planted(1000, 20, 2.0)
    probed = probe(x, label, folds(label, cluster))
    assert area(probed, label) == pytest.approx(norm.cdf(2 / np.sqrt(2)), abs=0.025)
    right = [probed.mean_right[label == y].mean() for y in (0, 1)]
    assert np.mean(right) == pytest.approx(norm.cdf(1.0), abs=0.03)


def test_a_signal_in_a_direction_of_small_variance_is_found():
    rng = np.random.default_rng(3)
    label = (np.arange(300) % 2).astype(np.int8)
    x = rng.standard_normal((300, 30)) * 20
    x[:, 7] = 0.1 * (label + rng.normal(0, 0.2, 300))
    assert area(probe(x, label, folds(label, np.arange(300))), label) > 0.95


def test_noise_gives_nothing_on_average():
    areas, rights, controls = [], [], []
    for seed in range(30):
        x, label, cluster = planted(100, 300, 0.0, seed)
        permuted = np.stack([permuted_labels(label, cluster, np.random.default_rng([seed, r])) for r in range(2)])
        probed = probe(x, label, folds(label, cluster, seed=seed), permuted)
        areas.append(area(probed, label))
        rights.append(np.mean([probed.mean_right[label == y].mean() for y in (0, 1)]))
        controls.append(probed.control.mean())
    assert np.mean(areas) == pytest.approx(0.5, abs=0.03)
    assert np.mean(rights) == pytest.approx(0.5, abs=0.03)
    assert np.mean(controls) == pytest.approx(0.5, abs=0.03)


def test_what_a_group_has_in_common_is_no_signal_across_groups():
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(30), 8)
    label = (np.arange(30) % 2)[cluster].astype(np.int8)
    x = rng.standard_normal((30, 50))[cluster] + 0.1 * rng.standard_normal((240, 50))
    grouped = area(probe(x, label, folds(label, cluster)), label)
    torn = area(probe(x, label, folds(label, np.arange(240))), label)
    assert torn > 0.95  # every patient's other images are in the training cases
    assert grouped < 0.7


def test_the_control_shows_what_can_be_learnt_by_heart():
    rng = np.random.default_rng(0)
    cluster = np.arange(200)
    label = (cluster % 2).astype(np.int8)
    x = rng.standard_normal((200, 10)) + 1.5 * label[:, None]
    permuted = np.stack([permuted_labels(label, cluster, rng) for _ in range(3)])
    probed = probe(x, label, folds(label, cluster, 3), permuted)
    assert area(probed, label) > 0.95
    assert np.abs(probed.control - 0.5).max() < 0.15


def test_permuted_labels_stay_with_their_groups():
    cluster = np.repeat(np.arange(40), 3)
    label = (np.arange(40) % 2)[cluster].astype(np.int8)
    permuted = permuted_labels(label, cluster, np.random.default_rng(1))
    assert all(len(set(permuted[cluster == c])) == 1 for c in range(40))
    assert permuted.mean() == 0.5
    assert 0.3 < (permuted == label).mean() < 0.7


# ---------------------------------------------------------------- shape of the answer


def test_no_case_is_scored_by_a_probe_that_saw_its_group():
    x, label, cluster = planted(80, 10, 1.0)
    fold = folds(label, cluster, 1)
    before = probe(x, label, fold).score[0]
    moved = np.where(fold[0] == 0, 1 - label, label)  # labels of fold 0 turned over: its own scores must not notice
    after = probe(x, moved, fold).score[0]
    assert np.allclose(before[fold[0] == 0], after[fold[0] == 0])
    assert not np.allclose(before[fold[0] == 1], after[fold[0] == 1])


def test_the_same_input_gives_the_same_answer_in_half_and_full_precision():
    x, label, cluster = planted(100, 30, 1.5)
    fold = folds(label, cluster)
    one, two = probe(x, label, fold), probe(x, label, fold)
    assert np.array_equal(one.score, two.score)
    half = probe(x.astype(np.float16), label, fold)
    assert np.corrcoef(one.mean_score, half.mean_score)[0, 1] > 0.999


def test_scale_and_shift_of_a_column_do_not_matter():
    x, label, cluster = planted(100, 12, 1.5)
    fold = folds(label, cluster)
    moved = x * np.linspace(0.01, 1000, 12) + np.arange(12) * 50
    assert np.allclose(probe(x, label, fold).score, probe(moved, label, fold).score, atol=2e-2)


def test_features_that_say_nothing_at_all_give_chance():
    label = (np.arange(40) % 2).astype(np.int8)
    probed = probe(np.ones((40, 5)), label, folds(label, np.arange(40)))
    assert np.abs(probed.score).max() < 1e-6
    assert area(probed, label) == pytest.approx(0.5, abs=1e-9)


def test_too_few_groups_is_an_error_in_words():
    label = np.array([0, 0, 0, 1], np.int8)
    with pytest.raises(ValueError, match="too few groups"):
        probe(np.random.default_rng(0).standard_normal((4, 3)), label, np.arange(4)[None] % 4)


# ---------------------------------------------------------------- scores that need no training, and the choice of a layer


def test_a_score_gets_a_threshold_from_the_other_folds():
    rng = np.random.default_rng(0)
    label = (np.arange(600) % 2).astype(np.int8)
    score = rng.normal(2.0 * label + 5.0, 1.0)  # a criterion far from 0
    probed = probe_score(score, label, folds(label, np.arange(600), 3))
    right = np.mean([probed.mean_right[label == y].mean() for y in (0, 1)])
    assert right == pytest.approx(norm.cdf(1.0), abs=0.03)
    assert probed.score.shape == probed.right.shape == (3, 600)
    assert np.isnan(probed.control).all()


def test_a_layer_is_chosen_by_training_cases_alone():
    layers, best = [], []
    for seed in range(12):  # twelve layers of noise: the best of them looks good by luck
        x, label, cluster = planted(80, 30, 0.0, 0)
        x = np.random.default_rng([seed, 9]).standard_normal(x.shape)
        layers.append(probe(x, label, folds(label, cluster)))
        best.append(area(layers[-1], label))
    picked, which = chosen(layers, folds(label, cluster))
    assert max(best) > 0.55
    assert area(picked, label) < max(best)
    assert which.shape == (2, 5)
    for r in range(2):
        for f in range(5):
            assert which[r, f] == np.argmax([layer.training[r, f] for layer in layers])


def test_the_layer_that_knows_is_chosen():
    fold, layers = None, []
    for strength in (0.0, 3.0, 1.0):
        x, label, cluster = planted(120, 10, strength, 5)
        fold = folds(label, cluster)
        layers.append(probe(x, label, fold))
    picked, which = chosen(layers, fold)
    assert (which == 1).all()
    assert np.array_equal(picked.score, layers[1].score)
    assert np.array_equal(picked.right, layers[1].right)
    assert np.isnan(chosen([replace(p, control=np.full(2, np.nan)) for p in layers], fold)[0].control).all()
