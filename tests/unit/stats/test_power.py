"""What a design can show: the working notes' figures, statsmodels and exact counting; each part of a design counts as it should."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import binom_tost_reject_interval, power_binom_tost

from palpate.stats.power import (
    Alike,
    Resolution,
    alike_in_clusters,
    alike_over_prompts,
    case_factor,
    chance_power,
    detectable,
    detectable_spread,
    fragile_from,
    power_of_difference,
    power_of_spread,
    resolution,
    robust_power,
    size_for_chance,
    size_for_knowledge,
    weight_sums,
    wording_factor,
)


def balanced(n: int, size: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """n images, half of either label, in clusters of ``size`` neighbours of one label."""
    return np.repeat([0, 1], n // 2).astype(np.int8), np.arange(n) // size


@pytest.mark.parametrize(("n", "points"), [(100, 15.3), (300, 8.9), (500, 6.9), (1000, 4.8)])
def test_the_detectable_paired_difference_of_the_notes(n: int, points: float) -> None:
    """30 % discordance, 80 % power, single images, one wording: as in the table of noise."""
    error = math.sqrt(0.3 * case_factor(weight_sums(*balanced(n)), 0.0))
    assert 100 * detectable(error) == pytest.approx(points, abs=0.06)
    assert detectable(error, n - 1) > detectable(error)


@pytest.mark.parametrize(
    ("n", "margin", "power"),
    [(100, 0.1, 0.24), (200, 0.1, 0.77), (300, 0.1, 0.93), (100, 0.05, 0.0), (500, 0.05, 0.44), (900, 0.05, 0.81)],
)
def test_the_power_of_at_chance_of_the_notes_and_of_statsmodels(n: int, margin: float, power: float) -> None:
    assert chance_power(n, margin) == pytest.approx(power, abs=0.006)
    assert chance_power(n, margin) == pytest.approx(max(0.0, power_binom_tost(0.5 - margin, 0.5 + margin, n, 0.5)), abs=1e-9)


def test_the_power_of_at_chance_by_counting() -> None:
    for n, margin in ((40, 0.1), (101, 0.1), (237, 0.08)):
        least = [k for k in range(n + 1) if stats.binom.sf(k - 1, n, 0.5 - margin) < 0.05]
        most = [k for k in range(n + 1) if stats.binom.cdf(k, n, 0.5 + margin) < 0.05]
        counted = sum(stats.binom.pmf(k, n, 0.5) for k in set(least) & set(most))
        assert chance_power(n, margin) == pytest.approx(counted)
    assert binom_tost_reject_interval(0.4, 0.6, 300)[0] == pytest.approx(
        min(k for k in range(301) if stats.binom.sf(k - 1, 300, 0.4) < 0.05)
    )
    assert chance_power(0.4, 0.1) == 0.0


def test_the_images_for_at_chance_keep_that_power() -> None:
    for margin in (0.1, 0.2):
        size = size_for_chance(margin)
        assert min(chance_power(n, margin) for n in range(size, size + 40)) >= 0.8
        assert chance_power(size - 1, margin) < 0.8


@pytest.mark.parametrize("shift", [0.5, 1.0, 2.0, 2.8, 4.0])
@pytest.mark.parametrize("n", [12, 60, 400])
def test_the_power_of_a_difference_is_statsmodels(shift: float, n: int) -> None:
    ours = power_of_difference(shift / math.sqrt(n), 1 / math.sqrt(n), n - 1)
    both = TTestPower().power(shift / math.sqrt(n), nobs=n, alpha=0.05)
    assert ours == pytest.approx(both, abs=0.02)  # statsmodels counts the wrong direction too
    assert ours <= both + 1e-9


def test_at_the_detectable_difference_the_power_is_what_was_asked() -> None:
    for freedom in (20, 99, math.inf):
        for power in (0.5, 0.8, 0.95):
            assert power_of_difference(detectable(0.03, freedom, power=power), 0.03, freedom) == pytest.approx(power, abs=0.015)


@pytest.mark.parametrize(("sigma", "rejects"), [(0.0, 0.05), (0.028, 0.31), (0.046, 0.72), (0.088, 0.99)])
def test_the_power_against_a_spread_of_the_notes(sigma: float, rejects: float) -> None:
    """12 wordings, 100 images; without effect they spread by .037 there."""
    assert power_of_spread(sigma, 0.037**2, 12) == pytest.approx(rejects, abs=0.03)


def test_spreads_by_simulation() -> None:
    """(P − 1) s² / (σ² + noise) is χ²: what is seen, called fragile and called robust, counted over many draws."""
    rng, prompts, noise, level = np.random.default_rng(0), 12, 0.0009, 0.95

    def plain(sigma: float) -> np.ndarray:
        return rng.normal(0, math.sqrt(sigma**2 + noise), (40_000, prompts)).var(axis=1, ddof=1)

    low, high = (stats.chi2.ppf(q, prompts - 1) for q in ((1 + level) / 2, (1 - level) / 2))
    seen = plain(detectable_spread(noise, prompts)) * (prompts - 1) / noise > stats.chi2.ppf(0.95, prompts - 1)
    assert seen.mean() == pytest.approx(0.8, abs=0.01)
    fragile = plain(fragile_from(noise, prompts, 0.02)) * (prompts - 1) / low - noise > 0.02**2
    assert fragile.mean() == pytest.approx(0.8, abs=0.01)
    for bound in (0.05, 0.08):
        upper = np.maximum(plain(0.0), noise) * (prompts - 1) / high - noise
        assert (upper < bound**2).mean() == pytest.approx(robust_power(noise, prompts, bound), abs=0.01)


def test_weights_of_balanced_accuracy() -> None:
    label, cluster = balanced(100, 5)
    assert weight_sums(label, cluster) == pytest.approx((1 / 100, 5 / 100))
    assert case_factor((0.01, 0.05), 0.0) == pytest.approx(0.01)
    assert case_factor((0.01, 0.05), 1.0) == pytest.approx(0.05)  # 20 patients, and no more
    assert case_factor((0.01, 0.05), 0.25) == pytest.approx(0.01 * (1 + 4 * 0.25))  # the design effect 1 + (m − 1) ICC
    uneven = np.repeat([0, 1], [90, 10]).astype(np.int8)
    assert weight_sums(uneven, np.arange(100))[0] == pytest.approx((1 / 90 + 1 / 10) / 4)
    assert all(math.isnan(s) for s in weight_sums(np.zeros(5, np.int8), np.arange(5)))


def test_wordings_help_as_far_as_answers_differ() -> None:
    assert wording_factor(1.0, 12) == 1.0
    assert wording_factor(0.0, 12) == pytest.approx(1 / 12)
    assert wording_factor(0.4, 1) == 1.0


def test_a_design_in_whole() -> None:
    def one(n: int, prompts: int = 12, size: int = 1, **alike: float) -> Resolution:
        found = resolution(*balanced(n, size), prompts, Alike(**alike))
        assert found is not None
        return found

    small, large = one(100), one(400)
    assert small.difference / large.difference == pytest.approx(2, rel=0.02)
    assert large.images_for_5_points == pytest.approx(small.images_for_5_points, rel=0.04)
    assert one(100, size=5).difference > small.difference  # patients with several images are worth fewer
    assert one(100, size=5).worth == pytest.approx(100 / (1 + 4 * 0.2))
    assert one(100, prompts=24).difference < small.difference
    assert one(100, 1).spread_seen is None is one(100, 1).robust_power
    assert one(900, 1, accuracy=0.5).chance_5 == pytest.approx(0.81, abs=0.01)
    assert one(100, 1).images_for_chance_5 == pytest.approx(888, abs=2)
    assert small.error_more_images < small.error
    assert small.error_more_prompts < small.error
    assert one(100, spread=0.2).error_more_prompts < one(100, spread=0.2).error_more_images
    assert resolution(np.ones(10, np.int8), np.arange(10), 12, Alike()) is None
    assert resolution(np.arange(10).astype(np.int8) % 2, np.zeros(10, np.int64), 12, Alike()) is None


def test_the_images_to_call_a_lack_of_knowledge_so_fall_with_the_wordings_and_rise_with_patients() -> None:
    sizes = [size_for_knowledge(prompts) for prompts in (1, 3, 6, 12)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes == pytest.approx([880, 450, 300, 270], rel=0.08)  # as simulated, see tests/validate
    label = np.tile([0, 1], 60).astype(np.int8)
    alike = Alike(icc=0.3)
    single, grouped = (resolution(label, cluster, 6, alike) for cluster in (np.arange(120), np.arange(120) // 6))
    assert single is not None
    assert grouped is not None
    assert single.images_for_knowledge == pytest.approx(size_for_knowledge(6), rel=0.02)
    assert grouped.images_for_knowledge != single.images_for_knowledge


def test_how_alike_answers_are_is_recovered() -> None:
    rng = np.random.default_rng(1)
    case, rest = rng.normal(0, 1, (4000, 1)), rng.normal(0, 1, (4000, 6))
    assert alike_over_prompts(math.sqrt(0.3) * case + math.sqrt(0.7) * rest + np.arange(6)) == pytest.approx(0.3, abs=0.02)
    assert alike_over_prompts(rest) == pytest.approx(0.0, abs=0.02)
    assert alike_over_prompts(np.repeat(case, 6, axis=1)) == pytest.approx(1.0)
    cluster = np.repeat(np.arange(1000), 4)
    values = math.sqrt(0.4) * rng.normal(size=1000)[cluster] + math.sqrt(0.6) * rng.normal(size=4000)
    assert alike_in_clusters(values, cluster) == pytest.approx(0.4, abs=0.04)
    unequal = np.sort(rng.integers(0, 900, 4000))
    values = math.sqrt(0.4) * rng.normal(size=900)[unequal] + math.sqrt(0.6) * rng.normal(size=4000)
    assert alike_in_clusters(values, unequal) == pytest.approx(0.4, abs=0.04)
    assert alike_in_clusters(values, np.arange(4000)) is None
    assert alike_over_prompts(np.ones((5, 1))) is None
    assert alike_over_prompts(np.ones((5, 3))) is None
