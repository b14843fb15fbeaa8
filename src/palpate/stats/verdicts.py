"""From an interval to a word: multiplicity, equivalence, and what a sample could have seen.

A word is given only where the data force it; "undetermined" is a result, and the smallest detectable difference stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from palpate.stats.intervals import t_quantile


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """Holm's adjusted p-values (1979), in the given order; NaN (a test that could not be made) stays NaN and is not counted."""
    p = np.asarray(p_values, np.float64)
    adjusted = np.full(p.shape, np.nan)
    places = np.flatnonzero(np.isfinite(p))
    order = places[np.argsort(p[places], kind="stable")]
    steps = p[order] * (len(order) - np.arange(len(order)))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def equivalent(low: float, high: float, margin: float) -> bool:
    """Two one-sided tests (Schuirmann 1987): True where the 1 − 2α interval [low, high] lies inside ±margin."""
    return -margin < low and high < margin


def four_way(value: float, p: float, narrow: tuple[float, float], *, margin: float, alpha: float, words: tuple[str, str]) -> str:
    """words[0] / words[1] / equivalent / undetermined for a difference, given its (adjusted) p and its 1 − 2α interval.

    A difference shown to be other than 0 is called so even where it is also smaller than the margin: its size is in the interval.
    """
    if p < alpha:
        return words[0] if value > 0 else words[1]
    return "equivalent" if equivalent(*narrow, margin) else "undetermined"


def detectable_difference(error: ArrayLike, freedom: ArrayLike, *, alpha: float = 0.05, power: float = 0.8) -> NDArray[np.float64]:
    """The smallest true difference a two-sided test at α finds with that power: (t_{1−α/2} + t_power) · standard error."""
    return np.asarray((t_quantile(1 - alpha, freedom) + t_quantile(2 * power - 1, freedom)) * np.asarray(error, np.float64))


def mcnemar_mid_p(gained: int, lost: int) -> float:
    """McNemar's mid-p for one prompt: ``gained`` pairs right only with the second model, ``lost`` right only with the first.

    Fagerland, Lydersen & Laake 2013, doi 10.1186/1471-2288-13-91: the exact p less half the probability of what was seen.
    """
    from scipy.special import bdtr

    total = gained + lost
    if total == 0:
        return 1.0
    fewer = min(gained, lost)
    below = float(bdtr(fewer, total, 0.5))
    at = below - (float(bdtr(fewer - 1, total, 0.5)) if fewer else 0.0)
    return min(1.0, 1.0 if gained == lost else 2 * below - at)
