"""How far each cluster moves a statistic: clustered standard errors of smooth statistics, without drawing.

A statistic T that is smooth in its data moves by I_c, to first order, where cluster c's weight grows: its *influence*.
The variance Σ_c I_c² · C/(C−1) is what the cluster bootstrap's converges to (the infinitesimal jackknife, Efron 1982;
for the AUROC it is DeLong's, for clustered data Obuchowski's 1997; for a regression the sandwich). It needs no draws.
Statistics of one sample are combined by combining their influences: differences are paired by construction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from palpate.stats.intervals import Interval, effective_size_of, informative_share, proportion_of, shift_of
from palpate.stats.resampling import Array, cluster_sums


@dataclass(frozen=True, slots=True)
class Linear:
    """A statistic ``value`` (…) and its influences (C clusters, …), both NaN where it is undefined."""

    value: Array
    influence: Array

    def variance(self, clusters: ArrayLike) -> Array:
        """(…) Σ I² · C/(C−1), C being how many clusters the statistic rests on; NaN below two."""
        size = np.asarray(clusters, np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(size > 1, (self.influence**2).sum(axis=0) * size / (size - 1), np.nan)

    @property
    def informative(self) -> Array:
        """(…) how many clusters carry the variance: (ΣI²)²/ΣI⁴; 0 where none varies."""
        return informative_share(self.influence**2)

    def __add__(self, other: Linear) -> Linear:
        return Linear(self.value + other.value, self.influence + other.influence)

    def __sub__(self, other: Linear) -> Linear:
        return Linear(self.value - other.value, self.influence - other.influence)

    def times(self, factor: ArrayLike) -> Linear:
        """The statistic times a constant."""
        scale = np.asarray(factor, np.float64)
        return Linear(np.asarray(self.value * scale), np.asarray(self.influence * scale))

    def by(self, other: Linear) -> Linear:
        """The product of two statistics."""
        return Linear(self.value * other.value, self.influence * other.value + other.influence * self.value)

    def through(self, value: Array, slope: Array) -> Linear:
        """A smooth function of the statistic: its ``value`` and ``slope`` there (the delta method)."""
        return Linear(np.asarray(value, np.float64), self.influence * slope)

    def mean(self) -> Linear:
        """The mean over the last axis (prompts), of those that are defined; NaN where none is."""
        defined = np.isfinite(self.value)
        count = defined.sum(axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.where(defined, self.value, 0.0).sum(axis=-1) / count
            influence = np.where(defined, self.influence, 0.0).sum(axis=-1) / count
        return Linear(np.asarray(value), np.asarray(influence))

    def with_mean(self) -> Linear:
        """(P + 1): the mean over the P prompts, put before them."""
        mean = self.mean()
        value = np.concatenate([mean.value[..., None], self.value], axis=-1)
        return Linear(value, np.concatenate([mean.influence[..., None], self.influence], axis=-1))


def within(each: Array, label: NDArray[np.int8], *, used: NDArray[np.bool_] | None = None) -> Array:
    """(n, …) influences of cases less the mean of their class: what is left to chance where a study chose how many there are.

    The variance of stratified sampling; the mean of a class says how the statistic would move were there more of that class.
    ``used`` (n, …): the cases that count in each column, where not all do; the influence of the others must be 0, and stays it.
    """
    found = np.array(each, np.float64)
    for y in (0, 1):
        rows = label == y
        if not rows.any():
            continue
        if used is None:
            found[rows] -= found[rows].mean(axis=0)
        else:
            found[rows] -= used[rows] * (found[rows].sum(axis=0) / np.maximum(used[rows].sum(axis=0), 1))
    return found


def ratio(top: Array, bottom: Array, cluster: NDArray[np.int64], clusters: int, *, label: NDArray[np.int8] | None = None) -> Linear:
    """Σ top / Σ bottom over the cases, of (n, …) arrays: a rate, with the denominator as random as the numerator.

    With ``label`` the interval holds for the balance of the classes as it is (``within``).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = bottom.sum(axis=0)
        value = top.sum(axis=0) / whole
        each = (top - value * bottom) / whole
    return Linear(np.asarray(value), cluster_sums(each if label is None else within(each, label), cluster, clusters))


def share_interval(statistic: Linear, clusters: ArrayLike, level: float) -> Interval:
    """Interval of statistics in [0, 1]: Wilson's on the effective sample size, as ``intervals.proportion_interval``."""
    size = effective_size_of(statistic.value, statistic.variance(clusters), statistic.informative, clusters)
    return proportion_of(statistic.value, size, clusters, level)


def score_error(statistic: Linear, clusters: ArrayLike, null: ArrayLike) -> Array:
    """Standard error that statistics in [0, 1] (…,) would have at ``null``, on their effective sample sizes: for a test that agrees
    with ``share_interval`` (the score test)."""
    size = effective_size_of(statistic.value, statistic.variance(clusters), statistic.informative, clusters)
    at = np.asarray(null, np.float64)
    return np.asarray(np.sqrt(at * (1 - at) / size))


def change_interval(
    statistic: Linear, floor: ArrayLike, clusters: ArrayLike, level: float, *, besides: ArrayLike = 0.0
) -> Interval:
    """Interval of statistics that are no proportion (differences, d′, slopes): value ± t · error, as ``intervals.shift_interval``.

    ``floor``: the variance that one cluster not yet seen would add; 0 where the statistic's scale gives none. ``besides``: variance
    from elsewhere than the sample of clusters, such as fitting anew.
    """
    variance = np.asarray(statistic.variance(clusters) + np.asarray(besides, np.float64))
    return shift_of(statistic.value, variance, statistic.informative, floor, clusters, level)


def spread_noise(statistic: Linear, clusters: int) -> float:
    """E[Var_p(T̂_p − T_p)] of (P,) statistics: the part of their variance over prompts that sampling cases alone makes."""
    return float(np.var(statistic.influence, axis=1, ddof=1).sum() * clusters / (clusters - 1))
