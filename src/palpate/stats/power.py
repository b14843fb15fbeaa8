"""What a design can show before it is run: detectable differences and spreads, and the power of "at chance".

A design is its cases' labels and clusters and its number P of wordings. Of a case's answers three things matter: how often right
(a), how alike its answers are over wordings (ρ, the correlation of right and wrong), and how alike the cases of one patient are
(ICC). Balanced accuracy is Σ wᵢ rᵢ with wᵢ = 1/(2 n_class), r the case's mean over wordings; its variance is

    a(1 − a) · [ρ + (1 − ρ)/P] · [(1 − ICC) Σ wᵢ² + ICC Σ_g (Σ_{i∈g} wᵢ)²]

and that of a paired difference the same with the discordance ψ (how often one model is right and the other is not) in place of
a(1 − a), and the correlation of the *differences* over wordings in place of ρ. `tests/validate/test_power.py` holds it against
simulated studies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from palpate.stats.intervals import t_quantile


@dataclass(frozen=True, slots=True)
class Alike:
    """What is supposed of the answers, or was found in a pilot. Proportions and correlations, spread in proportions."""

    accuracy: float = 0.7
    agreement: float = 0.5  # ρ: correlation of a case's right and wrong over wordings
    icc: float = 0.2  # correlation of cases of one patient, within a class
    discordance: float = 0.3  # ψ: share of trials that one model gets right and the other wrong
    agreement_of_difference: float = 0.5
    icc_of_difference: float = 0.1
    spread: float = 0.05  # σ of the wordings


def weight_sums(label: NDArray[np.int8], cluster: NDArray[np.int64]) -> tuple[float, float]:
    """(Σ wᵢ², Σ_g (Σ wᵢ)²) of balanced accuracy; 1/n and the same for n balanced single images. NaN without one of the classes."""
    counts = np.bincount(label, minlength=2)
    if not counts.all():
        return math.nan, math.nan
    weights = 1 / (2 * counts[label])
    return float((weights**2).sum()), float((np.bincount(cluster, weights) ** 2).sum())


def case_factor(sums: tuple[float, float], icc: float) -> float:
    """The bracket of cases: 1 over the number of independent cases that these are worth."""
    return (1 - icc) * sums[0] + icc * sums[1]


def wording_factor(agreement: float, prompts: int) -> float:
    """The bracket of wordings: 1 for one wording or answers that never differ, 1/P where they have nothing in common."""
    return agreement + (1 - agreement) / prompts


def power_of_difference(difference: float, error: float, freedom: float, *, alpha: float = 0.05) -> float:
    """Probability that a two-sided t-test at α shows a true difference, in its direction."""
    from scipy.stats import nct, norm

    critical = float(t_quantile(1 - alpha, freedom))
    shift = abs(difference) / error
    return float(norm.sf(critical - shift) if math.isinf(freedom) else nct.sf(critical, freedom, shift))


def detectable(error: float, freedom: float = math.inf, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """The smallest true difference that is shown with that power."""
    return float((t_quantile(1 - alpha, freedom) + t_quantile(2 * power - 1, freedom)) * error)


# ---------------------------------------------------------------- spread over wordings
# (P − 1) times the plain variance over wordings is (σ² + noise) times a χ² with P − 1 degrees of freedom.


def spread_noise(accuracy: float, agreement: float, sums: tuple[float, float]) -> float:
    """Variance over wordings that cases alone produce: a(1 − a)(1 − ρ) Σ wᵢ²."""
    return accuracy * (1 - accuracy) * (1 - agreement) * sums[0]


def power_of_spread(sigma: float, noise: float, prompts: int, *, alpha: float = 0.05) -> float:
    """Probability that a test of "no effect of the wording" rejects."""
    from scipy.special import chdtrc, chdtri

    return float(chdtrc(prompts - 1, chdtri(prompts - 1, alpha) * noise / (noise + sigma**2)))


def detectable_spread(noise: float, prompts: int, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """The σ at which that test rejects with this power."""
    from scipy.special import chdtri

    ratio = chdtri(prompts - 1, alpha) / chdtri(prompts - 1, power)
    return math.sqrt(noise * float(ratio - 1))


def fragile_from(noise: float, prompts: int, bound: float, *, level: float = 0.95, power: float = 0.8) -> float:
    """The σ whose interval lies above ``bound`` with this power."""
    from scipy.special import chdtri

    tail = (1 - level) / 2
    ratio = float(chdtri(prompts - 1, tail) / chdtri(prompts - 1, power))
    return math.sqrt((bound**2 + noise) * ratio - noise)


def robust_power(noise: float, prompts: int, bound: float, *, level: float = 0.95) -> float:
    """Probability that the interval of σ lies below ``bound`` where the wording has no effect at all."""
    from scipy.special import chdtr, chdtri

    tail = (1 - level) / 2
    if chdtri(prompts - 1, 1 - tail) <= 0:
        return 0.0
    # The upper end is never below what noise alone gives, so a bound below that is out of reach.
    if (prompts - 1) * noise / chdtri(prompts - 1, 1 - tail) - noise >= bound**2:
        return 0.0
    return float(chdtr(prompts - 1, (bound**2 + noise) * chdtri(prompts - 1, 1 - tail) / noise))


# ---------------------------------------------------------------- at chance


def chance_power(size: float, margin: float, *, alpha: float = 0.05) -> float:
    """Exact power of "at chance": that two one-sided binomial tests place a true .5 within ± ``margin``, of ``size`` cases."""
    from scipy.stats import binom

    n = int(size)
    if n < 1:
        return 0.0
    # From above: the smallest count whose p against .5 − margin is below α; by symmetry the largest against .5 + margin.
    least = int(binom.isf(alpha, n, 0.5 - margin)) + 1
    return max(0.0, float(binom.cdf(n - least, n, 0.5) - binom.cdf(least - 1, n, 0.5)))


def size_for_chance(margin: float, *, power: float = 0.8) -> int:
    """The number of independent cases from which on that power is kept (it saws a little: the last step below it counts)."""
    low, high = 1, 1
    while chance_power(high, margin) < power:
        low, high = high, 2 * high
    found = next(n for n in range(low, high + 1) if chance_power(n, margin) >= power)
    later = [n for n in range(found, found + 60) if chance_power(n, margin) < power]
    return later[-1] + 1 if later else found


# ---------------------------------------------------------------- what the model knows

KNOWLEDGE = 210, 670
"""Independent cases from which a model without knowledge is called a knowledge problem in 80 % of studies: the first, and
the second divided by the wordings. Fitted to simulated studies of guessing models at the usual bounds (0.05, 0.8): about 270 cases
at 12 wordings, 300 at 6, 450 at 3, 880 at one. What fitting a threshold seems to gain falls with the cases alone, the rest with the
wordings too."""


def size_for_knowledge(prompts: int) -> int:
    """The number of independent cases for that."""
    return math.ceil(KNOWLEDGE[0] + KNOWLEDGE[1] / prompts)


# ---------------------------------------------------------------- a whole design


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a task's images and wordings can show, with 80 % power at 5 %. Proportions; counts are images of like patients.

    None where the design has no such thing: one class, or one wording for a spread.
    """

    images: int
    groups: int
    prompts: int
    worth: float  # independent balanced cases that these images are worth, for one wording
    difference: float  # smallest difference of balanced accuracy of two models
    images_for_5_points: int
    spread_seen: float | None  # σ over wordings at which "no effect" is rejected
    spread_fragile: float | None  # σ that is called fragile
    robust_power: float | None  # power of "robust" where the wording has no effect
    chance_10: float  # power of "at chance" within ± 10 points, and ± 5, at a true .5
    chance_5: float
    images_for_chance_5: int
    images_for_knowledge: int  # at which "knowledge problem" is said of a model without any
    error: float  # standard error of balanced accuracy, for other wordings too
    error_more_images: float  # with twice the images
    error_more_prompts: float  # with twice the wordings


def resolution(
    label: NDArray[np.int8],
    cluster: NDArray[np.int64],
    prompts: int,
    alike: Alike,
    *,
    fragile: float = 0.02,
    robust: float = 0.05,
) -> Resolution | None:
    """What this design resolves, the answers being ``alike``; None without cases of both classes or with one cluster."""
    sums = weight_sums(label, cluster)
    groups = len(np.unique(cluster))
    if math.isnan(sums[0]) or groups < 2:
        return None
    images = len(label)
    case, between = case_factor(sums, alike.icc), case_factor(sums, alike.icc_of_difference)
    error = math.sqrt(alike.discordance * wording_factor(alike.agreement_of_difference, prompts) * between)
    difference = detectable(error, groups - 1)
    chance = wording_factor(alike.agreement, prompts) * case
    noise = max(spread_noise(alike.accuracy, alike.agreement, sums), 1e-12)
    several = prompts > 1
    variance = alike.accuracy * (1 - alike.accuracy)

    def standard_error(cases: float, wordings: int) -> float:
        return math.sqrt(variance * cases * wording_factor(alike.agreement, wordings) + alike.spread**2 / wordings)

    return Resolution(
        images=images,
        groups=groups,
        prompts=prompts,
        worth=1 / case,
        difference=difference,
        images_for_5_points=math.ceil(images * (difference / 0.05) ** 2),
        spread_seen=detectable_spread(noise, prompts) if several else None,
        spread_fragile=fragile_from(noise, prompts, fragile) if several else None,
        robust_power=robust_power(noise, prompts, robust) if several else None,
        chance_10=chance_power(1 / chance, 0.10),
        chance_5=chance_power(1 / chance, 0.05),
        images_for_chance_5=math.ceil(images * size_for_chance(0.05) * chance),
        images_for_knowledge=math.ceil(images * size_for_knowledge(prompts) * case),
        error=standard_error(case, prompts),
        error_more_images=standard_error(case / 2, prompts),
        error_more_prompts=standard_error(case, 2 * prompts),
    )


# ---------------------------------------------------------------- from a pilot


def alike_over_prompts(values: NDArray[np.float64]) -> float | None:
    """ρ of (n, P) values: the share of the variance that cases keep over prompts (two-way analysis of variance, in [0, 1])."""
    n, prompts = values.shape
    if n < 2 or prompts < 2:
        return None
    by_case = values.mean(axis=1, keepdims=True)
    residual = values - by_case - values.mean(axis=0) + values.mean()
    rest = float((residual**2).sum() / ((n - 1) * (prompts - 1)))
    between = max(0.0, float(by_case.var(ddof=1)) - rest / prompts)
    return between / (between + rest) if between + rest > 1e-12 else None


def alike_in_clusters(values: NDArray[np.float64], cluster: NDArray[np.int64]) -> float | None:
    """ICC of (n,) values over clusters (one-way analysis of variance, in [0, 1]); None where hardly any cluster has two."""
    _, inverse, counts = np.unique(cluster, return_inverse=True, return_counts=True)
    n, groups = len(values), len(counts)
    if groups < 2 or n - groups < 5:
        return None
    means = np.bincount(inverse, values) / counts
    within = float(((values - means[inverse]) ** 2).sum() / (n - groups))
    between = float((counts * (means - values.mean()) ** 2).sum() / (groups - 1))
    size = (n - float((counts**2).sum()) / n) / (groups - 1)
    shared = max(0.0, (between - within) / size)
    return shared / (shared + within) if shared + within > 1e-12 else None
