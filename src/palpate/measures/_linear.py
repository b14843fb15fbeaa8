"""A cell's statistics with the influence of each cluster: what the measures that need no draws start from."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from palpate.measures._cells import ANSWERED, Cell
from palpate.measures._estimates import Made, one_cluster
from palpate.nouns import OUTCOME_CODE, Estimate, Outcome
from palpate.stats.influence import Linear, ratio, share_interval
from palpate.stats.intervals import Interval
from palpate.stats.resampling import Array, clusters_with_any

CLUSTERED = "cluster-robust variance, Wilson interval on the effective sample size"
CLUSTERED_T = "cluster-robust variance, t interval"
DELONG = "DeLong's variance for clustered data (Obuchowski), Wilson interval on the effective sample size"
NO_MARGIN = "the model gives no probabilities of its answers"
ONE_CLASS = "only one class was read"
NOTHING: tuple[float, float] = (float("nan"), float("nan"))

Flags = NDArray[np.bool_]


def margins(cell: Cell) -> Array:
    """(n, P) margin towards the condition, mean over the repeats that have one; NaN where none has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of no repeat
        return np.asarray(np.nanmean(cell.panel.margin[:, cell.at], axis=2))


def says(cell: Cell, outcome: Outcome) -> NDArray[np.bool_]:
    """(n, P, R) True where that was the outcome."""
    return np.asarray(cell.outcome == OUTCOME_CODE[outcome])


def definite(cell: Cell) -> NDArray[np.bool_]:
    """(n, P, R) True for a definite answer."""
    return np.asarray(ANSWERED[cell.outcome] & cell.read)


def rate(cell: Cell, top: Array, bottom: Array) -> Linear:
    """(P,) Σ top / Σ bottom over the cases, of (n, P) arrays; for the balance of the classes in this study."""
    return ratio(top, bottom, cell.panel.cluster, cell.clusters, label=cell.panel.label)


def class_rates(cell: Cell, right: Array, used: Array) -> tuple[Linear, Linear]:
    """(P,) Σ right / Σ used among the cases with the condition, and among those without."""
    positive = cell.positive[:, None]
    first, second = (rate(cell, right * side, used * side) for side in (positive, ~positive))
    return first, second


def balanced(cell: Cell, right: Array, used: Array) -> Linear:
    """(P,) balanced accuracy: the mean of the two classes' rates."""
    first, second = class_rates(cell, right, used)
    return (first + second).times(0.5)


def class_clusters(cell: Cell, used: Flags) -> NDArray[np.int64]:
    """(2, P + 1) clusters of each class (0 absent, 1 present) with a case in use: under any prompt, then under each."""
    columns = np.column_stack([used.any(axis=1), used])
    by_class = np.stack([columns & (cell.panel.label == label)[:, None] for label in (0, 1)], axis=1)
    return clusters_with_any(by_class, cell.panel.cluster, cell.clusters)


def clusters_in_use(cell: Cell, used: Flags) -> NDArray[np.int64]:
    """(P + 1) clusters with a case in use: under any prompt, then under each."""
    return clusters_with_any(np.column_stack([used.any(axis=1), used]), cell.panel.cluster, cell.clusters)


def shares(
    batch: Made, name: str, statistic: Linear, clusters: NDArray[np.int64], why: str, method: str = CLUSTERED
) -> Iterator[Estimate]:
    """The estimates of a (P,) statistic in [0, 1]: its mean over the prompts, then each. ``clusters`` (P + 1)."""
    found = statistic.with_mean()
    yield from batch.all(name, found.value, share_interval(found, clusters, batch.level), method, why, clusters)


def whole(
    batch: Made, name: str, value: Array | float, interval: Interval | None, method: str, why: str, clusters: int
) -> Estimate:
    """One estimate of the cell; without an interval where ``interval`` is None. Fewer than two clusters: undefined."""
    bounds = NOTHING if interval is None else (float(np.ravel(interval.low)[0]), float(np.ravel(interval.high)[0]))
    shown = float(np.ravel(value)[0])
    if clusters < 2 and np.isfinite(shown):
        shown, why = float("nan"), one_cluster(batch.clusters[0])
    return batch.estimate(name, 0, shown, bounds, method, why)
