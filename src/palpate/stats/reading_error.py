"""How well a reading agrees with a person's, and a share corrected for what the reading gets wrong. Arrays in, numbers out.

Everything here rests on weighted tables, so that a stratified sample counts for the answers it stands for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from palpate.stats.resampling import Array

LEAST_SKILL = 0.1
"""Below this sensitivity + specificity − 1 a reading says next to nothing, and dividing by it would say anything."""


ADDED = 1 / 3
"""Labelled answers added to either side of a rate: Kerman's neutral prior (2011, doi 10.1214/11-EJS648). By simulation ½,
Jeffreys', covers .97–.99 where the reading seldom errs, and .15 falls to .92."""


def kappa(table: ArrayLike) -> tuple[float, float, float]:
    """(κ, agreement, agreement expected by chance) of a square table of weights, person × reading (Cohen 1960).

    κ is NaN where chance alone makes all agree (one category only).
    """
    t = np.asarray(table, np.float64)
    total = t.sum()
    if total <= 0:
        return float("nan"), float("nan"), float("nan")
    agreed = float(np.trace(t) / total)
    chance = float((t.sum(axis=0) * t.sum(axis=1)).sum() / total**2)
    return ((agreed - chance) / (1 - chance) if chance < 1 - 1e-12 else float("nan")), agreed, chance


def rogan_gladen(seen: ArrayLike, sensitivity: ArrayLike, specificity: ArrayLike) -> Array:
    """The true share behind a share seen through a reading: (seen + specificity − 1)/(sensitivity + specificity − 1), in [0, 1].

    Rogan & Gladen 1978 (doi 10.1093/oxfordjournals.aje.a112510). NaN where the reading has hardly any skill.
    """
    p, q1, q0 = (np.asarray(x, np.float64) for x in (seen, sensitivity, specificity))
    skill = q1 + q0 - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(skill >= LEAST_SKILL, np.clip((p + q0 - 1) / skill, 0.0, 1.0), np.nan))


def rogan_gladen_interval(
    seen: Array, sensitivity: tuple[float, float], specificity: tuple[float, float], level: float, rng: np.random.Generator
) -> tuple[float, float]:
    """Interval of the corrected share from draws of the share seen and of the reading's own error.

    ``seen`` (draws,) are bootstrap draws of the share; the other two (rate, effective number of labelled answers behind it). Their
    noise is drawn from Beta(x + ⅓, n − x + ⅓), added counts as in Lang & Reiczigel 2014 (doi 10.1016/j.prevetmed.2013.09.015): a
    reading that made no error in 30 answers is not free of error.
    """
    rates = [rng.beta(rate * n + ADDED, (1 - rate) * n + ADDED, seen.size) for rate, n in (sensitivity, specificity)]
    drawn = rogan_gladen(seen, *rates)
    drawn = drawn[np.isfinite(drawn)]
    if drawn.size < 0.8 * seen.size:
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def power_tuning(person: ArrayLike, reading: ArrayLike, weight: ArrayLike, unlabelled: int) -> float:
    """λ of PPI++ (Angelopoulos et al. 2023, arxiv.org/abs/2311.01453) for a mean: cov(person, reading)/var(reading) · N/(N + n),
    weighted, kept in [0, 1]. 1 uses the reading fully, 0 the labelled answers alone."""
    y, f, w = (np.asarray(x, np.float64) for x in (person, reading, weight))
    w = w / w.sum()
    spread = float((w * (f - (w * f).sum()) ** 2).sum())
    if spread < 1e-12:
        return 1.0
    together = float((w * (f - (w * f).sum()) * (y - (w * y).sum())).sum())
    return float(np.clip(together / spread * unlabelled / max(unlabelled + y.size, 1), 0.0, 1.0))


def effective_number(weight: ArrayLike) -> float:
    """Kish's effective sample size of weighted observations: (Σw)²/Σw²; 0 for none."""
    w = np.asarray(weight, np.float64)
    squares = float((w**2).sum())
    return float(w.sum() ** 2 / squares) if squares > 0 else 0.0


def stratum_weights(stratum: NDArray[np.int64], labelled: NDArray[np.bool_]) -> tuple[Array, float]:
    """(weight of each labelled observation, share of all that lies in strata with a label).

    Each labelled one stands for N/n of its stratum, in the order of ``stratum[labelled]``.
    """
    size = int(stratum.max(initial=-1)) + 1
    all_, known = (np.bincount(s, minlength=size).astype(np.float64) for s in (stratum, stratum[labelled]))
    covered = float(all_[known > 0].sum() / max(all_.sum(), 1.0))
    return all_[stratum[labelled]] / known[stratum[labelled]], covered
