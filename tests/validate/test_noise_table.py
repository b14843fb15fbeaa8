"""What noise alone does, line by line by Palpate's own code, beside the figures of the working notes. Run by ``make validate``.

The lines about spreads over prompts are in ``test_spread.py``, under the same heading.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, silhouette_score

from figures_found import record
from palpate.stages.picture import neighbours, tsne
from palpate.stats.calibration import ece
from palpate.stats.power import case_factor, chance_power, detectable, weight_sums
from palpate.stats.probes import probe, repeated_folds
from palpate.stats.proportions import binomial_p, wilson_interval
from palpate.stats.variance import spread_with_noise
from planted import Planted
from simulated import accuracy_coverage, of_cell, study_settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TABLE = "What noise alone does: the notes' table and Palpate's"


def compare(row: str, notes: float, found: float, tolerance: float) -> None:
    record(TABLE, row, notes=notes, found=float(found), tolerance=tolerance)
    assert found == pytest.approx(notes, abs=tolerance)


def test_what_twelve_prompts_tell_of_a_spread():
    """Without noise the interval of σ is the plain deviation times these."""
    for prompts, low, high in ((12, 0.71, 1.70), (30, 0.80, 1.34)):
        values = np.linspace(0.3, 0.7, prompts)
        found = spread_with_noise(values, 0.0, 10_000, 0.95)
        for name, notes, end in (("low", low, found.low), ("high", high, found.high)):
            compare(
                f"interval of σ over {prompts} prompts, no noise: {name} end / standard deviation", notes, end / found.naive, 0.006
            )


def test_one_hundred_answers_against_chance():
    least = min(k for k in range(50, 101) if binomial_p(k, 100) < 0.05)
    compare("right answers of 100 that are above chance (exact, two-sided)", 61, least, 0)
    low, high = wilson_interval(50, 100, 0.95)
    compare("Wilson's 95 % interval of 50 of 100: low end", 0.404, low, 0.0005)
    compare("Wilson's 95 % interval of 50 of 100: high end", 0.596, high, 0.0005)


@pytest.mark.parametrize(
    ("n", "margin", "power"),
    [(100, 0.1, 0.24), (200, 0.1, 0.77), (300, 0.1, 0.93), (100, 0.05, 0.0), (500, 0.05, 0.44), (900, 0.05, 0.81)],
)
def test_the_power_of_at_chance(n, margin, power):
    compare(f"power of “at chance” within ±{100 * margin:.0f} points, n = {n} (exact)", power, chance_power(n, margin), 0.006)


@pytest.mark.parametrize(("n", "points"), [(100, 15.3), (300, 8.9), (500, 6.9), (1000, 4.8)])
def test_the_detectable_paired_difference(n, points):
    """30 % discordance, single images, one wording. The notes' last figure is 30 % discordance rounded down: 4.85."""
    sums = weight_sums(np.repeat([0, 1], n // 2).astype(np.int8), np.arange(n))
    found = 100 * detectable(math.sqrt(0.3 * case_factor(sums, 0.0)))
    compare(f"smallest paired difference found with 80 % power, points, n = {n}", points, found, 0.06)


@pytest.mark.parametrize(
    ("n", "bins", "notes"),
    [(100, 10, 0.071), (100, 15, 0.089), (300, 10, 0.040), (300, 15, 0.051), (1000, 10, 0.022), (1000, 15, 0.028)],
)
def test_the_calibration_error_of_a_perfectly_calibrated_model(n, bins, notes):
    """Confidence uniform in (.5, 1), bins of equal width over (0, 1)."""
    rng, found = np.random.default_rng(n), []
    for _ in range(1500):
        p = rng.uniform(0.5, 1, n)
        found.append(ece(p, (rng.random(n) < p).astype(float), bins, equal="width"))
    compare(f"calibration error of a calibrated model, {bins} bins, n = {n}", notes, float(np.mean(found)), 0.0025)


@pytest.mark.parametrize(("n", "highest", "deviation"), [(100, 0.60, 0.076), (600, 0.53, 0.032)])
def test_a_probe_of_noise(n, highest, deviation):
    """Twenty features of noise, one round of 5 folds, threshold halfway: 95th percentile of accuracy, deviation of AUROC."""
    right, area = [], []
    for s in range(400):
        rng = np.random.default_rng([n, s])
        label = rng.permutation(np.arange(n) % 2).astype(np.int8)
        fold = repeated_folds(label, np.arange(n), 1, 5, rng)
        found = probe(rng.normal(size=(n, 20)), label, fold)
        right.append(((found.mean_score > 0) == (label == 1)).mean())
        area.append(roc_auc_score(label, found.mean_score))
    compare(f"probe of noise, n = {n}: 95th percentile of accuracy", highest, float(np.quantile(right, 0.95)), 0.015)
    compare(f"probe of noise, n = {n}: standard deviation of AUROC", deviation, float(np.std(area)), 0.012)


def hidden_signal(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """600 cases, 256 features: the classes differ along directions of little variance alone."""
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.arange(600) % 2).astype(np.int8)
    scale = np.geomspace(10, 0.1, 256)
    states = rng.normal(size=(600, 256)) * scale
    states[:, -40:] += 0.11 * np.where(label == 1, 1, -1)[:, None]
    return states.astype(np.float32), label


def test_a_picture_hides_what_a_probe_finds():
    states, label = hidden_signal()
    fold = repeated_folds(label, np.arange(600), 1, 5, np.random.default_rng(1))
    score = probe(states, label, fold).mean_score
    area = float(roc_auc_score(label, score))
    # As the reference study draws them: principal components of the features as they are. Palpate's own pictures scale them first.
    left, size, _ = np.linalg.svd(states - states.mean(axis=0), full_matrices=False)
    components = (left[:, :50] * size[:50]).astype(np.float32)
    compare("signal in directions of little variance (256 features, n = 600): AUROC of the probe", 0.999, area, 0.01)
    compare("… silhouette of the classes", 0.0008, float(silhouette_score(states, label)), 0.003)
    compare("… nearest neighbours in the t-SNE picture of 50 components", 0.46, neighbours(tsne(components, 30, 0), label), 0.08)
    compare("… nearest neighbours among the features", 0.52, neighbours(states, label), 0.06)


def test_f1_has_no_chance_level():
    one = Planted(100, 1, 1, (0.0, 1.0)).panel(0)
    from palpate.measures.accuracy import Accuracy

    found = list(Accuracy().measure([one], study_settings(0, 100)))
    compare("F1 of “always yes” on balanced cases", 0.667, of_cell(iter(found), "f1_all").value, 0.0005)
    compare("its balanced accuracy", 0.5, of_cell(iter(found), "ba_all").value, 1e-9)


def test_the_simulated_power_of_at_chance():
    """By the verdict itself, not by the formula: one prompt, true .5."""
    for n, notes in ((100, 0.24), (300, 0.93)):
        words = accuracy_coverage(Planted(n, 1, 1, 0.5, within_case=0.5), {"ba_all": 0.5}, 1000)["ba_all"].verdicts
        compare(f"studies called “at chance” within ±10 points, n = {n}", notes, words["at chance"] / 1000, 0.06)
