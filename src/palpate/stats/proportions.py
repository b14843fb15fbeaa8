"""Exact and score methods for plain proportions of independent cases, through statsmodels (imported when called)."""

from __future__ import annotations


def wilson_interval(successes: int, trials: int, level: float) -> tuple[float, float]:
    """Wilson's score interval. Raises ValueError for no trials."""
    return _interval(successes, trials, level, "wilson")


def jeffreys_interval(successes: int, trials: int, level: float) -> tuple[float, float]:
    """Jeffreys' interval (equal-tailed, Beta(½, ½) prior). Raises ValueError for no trials."""
    return _interval(successes, trials, level, "jeffreys")


def _interval(successes: int, trials: int, level: float, method: str) -> tuple[float, float]:
    if trials < 1:
        raise ValueError("a proportion of no trials is undefined")
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(successes, trials, alpha=1 - level, method=method)
    return float(low), float(high)


def binomial_p(successes: int, trials: int, chance: float = 0.5) -> float:
    """Exact two-sided p that the success probability is ``chance``."""
    from scipy.stats import binomtest

    return float(binomtest(successes, trials, chance).pvalue)


def binomial_equivalence_p(successes: int, trials: int, margin: float, chance: float = 0.5) -> float:
    """Exact two one-sided tests: p that the success probability is *not* within ``margin`` of ``chance``."""
    from statsmodels.stats.proportion import binom_tost

    return float(binom_tost(successes, trials, chance - margin, chance + margin)[0])
