"""Signal detection: how well two classes are told apart, and where the line is drawn, as two numbers (Green & Swets 1966)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from palpate.stats.influence import Linear
from palpate.stats.resampling import Array


def log_linear(hits: ArrayLike, trials: ArrayLike) -> Array:
    """(hits + ½)/(trials + 1): keeps z finite where every trial, or none, is a hit (Hautus 1995)."""
    return np.asarray((np.asarray(hits, np.float64) + 0.5) / (np.asarray(trials, np.float64) + 1.0))


def d_prime_and_criterion(hit: ArrayLike, false_alarm: ArrayLike) -> tuple[Array, Array]:
    """d′ = z(H) − z(FA) and c = −½[z(H) + z(FA)]. c above 0: says "present" too seldom; below 0: too often."""
    from scipy.special import ndtri

    h, f = np.asarray(ndtri(np.asarray(hit))), np.asarray(ndtri(np.asarray(false_alarm)))
    return h - f, -0.5 * (h + f)


def z_rate(rate: Linear, trials: Array) -> tuple[Linear, Array]:
    """z of the log-linear rate with its influences, and the slope dz/d rate; ``rate`` is Σ hits / Σ trials."""
    from scipy.special import ndtri

    with np.errstate(invalid="ignore"):
        z = np.asarray(ndtri(log_linear(rate.value * trials, trials)))
        density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
        slope = trials / (trials + 1) / density
    return rate.through(np.where(trials > 0, z, np.nan), slope), np.asarray(slope)
