"""How much of the spread over prompts is the prompts, and how much is the sampling of cases.

The plain standard deviation over prompts is never zero: twelve prompts without any effect spread by .03–.05 at 100 cases.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from palpate.stats.resampling import Array, Replicates


@dataclass(frozen=True, slots=True)
class PromptSpread:
    """Spread of a statistic over P prompts, in the statistic's units (variance: their square).

    ``variance`` is signed: unbiased, so it may fall below 0 where there is no effect; ``sigma`` shows that as 0.
    """

    naive: float  # standard deviation over the prompts, ddof = 1
    noise: float  # the part of naive² that sampling cases alone produces
    variance: float  # naive² − noise
    sigma: float
    low: float
    high: float
    prompts: int


def prompt_spread(replicates: Replicates, clusters: int, level: float) -> PromptSpread:
    """σ of the prompts' true values from (…, prompts) replicates, with its interval.

    σ̂² = Var_p(T_p) − E*[Var_p(T*_p − T_p)] · C/(C−1), * = whole clusters resampled jointly for all prompts. Equals the analysis
    of variance estimate where that exists (``balanced_prompt_variance``). Interval: Tukey–Williams, exact for normal prompt
    effects: (P−1)·Var_p / χ² brackets σ² + noise. At least two prompts and two clusters; NaN bounds where undefined.
    """
    value = replicates.value
    prompts = value.shape[0]
    naive2 = float(np.var(value, ddof=1))
    deviation = replicates.draws - value
    # Only draws with every prompt defined: the variance over prompts of a shorter list is another quantity.
    deviation = deviation[np.isfinite(deviation).all(axis=1)]
    if deviation.shape[0] < 2 or clusters < 2:
        return PromptSpread(naive2**0.5, np.nan, np.nan, np.nan, np.nan, np.nan, prompts)
    noise = float(np.var(deviation, axis=1, ddof=1).mean()) * clusters / (clusters - 1)
    return spread_with_noise(value, noise, clusters, level)


def spread_with_noise(value: Array, noise: float, clusters: int, level: float) -> PromptSpread:
    """The same where the noise is known otherwise (``influence.spread_noise``), of (P,) values."""
    prompts = value.shape[0]
    naive2 = float(np.var(value, ddof=1))
    variance = naive2 - noise
    low, high = _tukey_williams(naive2, noise, prompts, level)
    if naive2 + noise < 1e-20:  # no case was ever answered differently: all that bounds the effect is the number of clusters
        high = _unseen(prompts, clusters, level)
    sigma = max(variance, 0.0) ** 0.5
    return PromptSpread(naive2**0.5, noise, variance, sigma, min(low, sigma), max(high, sigma), prompts)


def detectable_spread(noise: float, prompts: int, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """The smallest σ that a test of "no prompt effect" finds with that power, given the noise variance of one prompt.

    Var_p / (σ² + noise) is χ²/(P−1): the test rejects above noise · χ²_{1−α}, so σ² = noise · (χ²_{1−α} / χ²_{1−power} − 1).
    """
    from scipy.special import chdtri

    freedom = prompts - 1
    return float((max(noise, 0.0) * (float(chdtri(freedom, alpha)) / float(chdtri(freedom, power)) - 1)) ** 0.5)


def replicate_spread(replicates: Replicates, clusters: int) -> Replicates:
    """(…, 1) replicates of σ itself, for prompts that are fixed: what two models' spreads are compared by.

    A draw's variance over prompts holds the noise twice, that of the data and its own, so it is taken off twice; a jackknife
    row's holds it once. NaN where fewer than two prompts or clusters, or where a prompt is undefined.
    """
    value, draws = replicates.value, replicates.draws
    deviation = draws - value
    whole = np.isfinite(deviation).all(axis=1)
    if value.size < 2 or clusters < 2 or whole.sum() < 2:
        return Replicates(np.full((replicates.rows.shape[0], 1), np.nan), replicates.n_draws)
    noise = float(np.var(deviation[whole], axis=1, ddof=1).mean()) * clusters / (clusters - 1)
    times = np.ones(replicates.rows.shape[0])
    times[1 : 1 + replicates.n_draws] = 2.0
    variance = np.var(replicates.rows, axis=1, ddof=1) - times * noise
    return Replicates(np.sqrt(np.maximum(variance, 0.0))[:, None], replicates.n_draws)


def _tukey_williams(naive2: float, noise: float, prompts: int, level: float) -> tuple[float, float]:
    """Bounds of σ. A spread far below what noise gives would have an empty interval: its upper end is then that of noise alone."""
    from scipy.special import chdtri

    tail = (1 - level) / 2
    freedom = prompts - 1
    low = freedom * naive2 / float(chdtri(freedom, tail)) - noise
    high = freedom * max(naive2, noise) / float(chdtri(freedom, 1 - tail)) - noise
    return max(low, 0.0) ** 0.5, max(high, 0.0) ** 0.5


def _unseen(prompts: int, clusters: int, level: float) -> float:
    """Largest σ compatible with C clusters none of which depends on the prompt.

    At most a share 1 − (α/2)^(1/C) of clusters can depend on it (exact binomial), so prompts differ by no more than that;
    values in a range r have a standard deviation of at most r/2 · √(P/(P−1)).
    """
    share = 1 - ((1 - level) / 2) ** (1 / clusters)
    return float(share / 2 * (prompts / (prompts - 1)) ** 0.5)


def jackknife_spread(replicates: Replicates, clusters: int, level: float) -> tuple[float, float]:
    """Interval of σ by leaving out one prompt at a time, on σ²; for comparison with Tukey–Williams."""
    from palpate.stats.intervals import t_quantile

    value, deviation = replicates.value, replicates.draws - replicates.value
    prompts = value.shape[0]
    correction = clusters / (clusters - 1)

    def variance(kept: NDArray[np.int64]) -> float:
        return float(np.var(value[kept], ddof=1) - np.var(deviation[:, kept], axis=1, ddof=1).mean() * correction)

    all_prompts = np.arange(prompts, dtype=np.int64)
    left_out = np.array([variance(np.delete(all_prompts, p)) for p in all_prompts])
    error = np.sqrt((prompts - 1) / prompts * ((left_out - left_out.mean()) ** 2).sum())
    half = float(t_quantile(level, prompts - 1)) * error
    middle = variance(all_prompts)
    return float(max(middle - half, 0) ** 0.5), float(max(middle + half, 0) ** 0.5)


def pigeonhole_spread(replicates: Replicates, prompt_weights: Array, clusters: int, level: float) -> tuple[float, float]:
    """Percentile interval of σ with prompts resampled as well, noise taken off twice (data and draw); for comparison."""
    deviation = replicates.draws - replicates.value
    prompts = deviation.shape[1]
    noise = float(np.var(deviation, axis=1, ddof=1).mean()) * clusters / (clusters - 1)
    mean = (prompt_weights * replicates.draws).sum(axis=1, keepdims=True)
    drawn = (prompt_weights * (replicates.draws - mean) ** 2).sum(axis=1) * (prompts / (prompts - 1)) ** 2 - 2 * noise
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(max(low, 0) ** 0.5), float(max(high, 0) ** 0.5)


def balanced_prompt_variance(scores: Array) -> float:
    """σ̂²_prompt by two-way analysis of variance of ``scores`` (n cases, P prompts), one case per cluster: (MS_P − MS_E)/n."""
    n, prompts = scores.shape
    by_prompt, by_case, overall = scores.mean(axis=0), scores.mean(axis=1, keepdims=True), scores.mean()
    between = n * ((by_prompt - overall) ** 2).sum() / (prompts - 1)
    residual = ((scores - by_case - by_prompt + overall) ** 2).sum() / ((n - 1) * (prompts - 1))
    return float((between - residual) / n)


def spread_difference(first: PromptSpread, second: PromptSpread, correlation: float) -> tuple[float, float]:
    """Interval of σ₁ − σ₂ of two statistics over the same prompts, from their own intervals (MOVER, Zou & Donner 2008).

    ``correlation``: of the two statistics over the prompts. Two sample variances of jointly normal values that correlate by r
    correlate by r², and so nearly do their intervals' half widths.
    """
    shared = correlation**2

    def length(a: float, b: float) -> float:
        return float(max(a * a + b * b - 2 * shared * a * b, 0.0) ** 0.5)

    middle = first.sigma - second.sigma
    down = length(first.sigma - first.low, second.high - second.sigma)
    up = length(first.high - first.sigma, second.sigma - second.low)
    return middle - down, middle + up
