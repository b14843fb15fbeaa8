"""Exact and score methods for plain proportions of independent cases, through SciPy (imported when called)."""

from __future__ import annotations


def wilson_interval(successes: int, trials: int, level: float) -> tuple[float, float]:
    """Wilson's score interval. Raises ValueError for no trials."""
    from scipy.stats import binomtest

    _refuse_none(trials)
    found = binomtest(successes, trials).proportion_ci(level, "wilson")
    return float(found.low), float(found.high)


def jeffreys_interval(successes: int, trials: int, level: float) -> tuple[float, float]:
    """Jeffreys' interval (equal-tailed, Beta(½, ½) prior). Raises ValueError for no trials."""
    from scipy.stats import beta

    _refuse_none(trials)
    low, high = beta.interval(level, successes + 0.5, trials - successes + 0.5)
    return float(low), float(high)


def _refuse_none(trials: int) -> None:
    if trials < 1:
        raise ValueError("a proportion of no trials is undefined")


def binomial_p(successes: int, trials: int, chance: float = 0.5) -> float:
    """Exact two-sided p that the success probability is ``chance``."""
    from scipy.stats import binomtest

    return float(binomtest(successes, trials, chance).pvalue)


def binomial_equivalence_p(successes: int, trials: int, margin: float, chance: float = 0.5) -> float:
    """Exact two one-sided tests: p that the success probability is *not* within ``margin`` of ``chance``."""
    from scipy.stats import binom

    too_low = binom.sf(successes - 1, trials, chance - margin)  # as many or more, were it just at the lower bound
    too_high = binom.cdf(successes, trials, chance + margin)
    return float(max(too_low, too_high))
