"""The area under the ROC curve under whole-cluster weights, for all draws at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from palpate.stats.influence import Linear, ratio
from palpate.stats.resampling import Array, Replicates, Weights

CHUNK_VALUES = 500_000
"""Weights worked on at once: few enough to stay in the processor's cache."""


def auroc(score: Array, label: NDArray[np.int8], weights: Array) -> Array:
    """(rows,) P(score₊ > score₋) + ½ P(=) under case ``weights`` (rows, n): the Mann–Whitney form. NaN where a class is absent.

    Sorted once: in every row, each positive case counts the negative weight below it and half of that beside it.
    """
    positive, negative = np.flatnonzero(label == 1), np.flatnonzero(label == 0)
    negative = negative[np.argsort(score[negative], kind="stable")]
    first, last = (np.searchsorted(score[negative], score[positive], side) for side in ("left", "right"))
    below = np.zeros((weights.shape[0], negative.size + 1))
    np.cumsum(weights[:, negative], axis=1, out=below[:, 1:])
    heavy = weights[:, positive]
    counted = np.einsum("bi,bi->b", heavy, below[:, first])
    if not np.array_equal(first, last):
        counted = (counted + np.einsum("bi,bi->b", heavy, below[:, last])) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(counted / (heavy.sum(axis=1) * below[:, -1]))


def replicate_auroc(score: Array, label: NDArray[np.int8], cluster: NDArray[np.int64], weights: Weights) -> Replicates:
    """(1 + draws + clusters, 1) replicates of the AUROC; ``weights`` (draws, clusters).

    The leave-one-cluster-out rows are to first order, from the placements of DeLong et al. 1988: exact ones would cost
    clusters × cases.
    """
    block = max(1, CHUNK_VALUES // max(score.size, 1))
    value = auroc(score, label, np.ones((1, score.size)))
    starts = range(0, weights.shape[0], block)
    draws = [auroc(score, label, weights[s : s + block].astype(np.float64)[:, cluster]) for s in starts]
    influence = np.bincount(cluster, weights=_influence(score, label, float(value[0])), minlength=weights.shape[1])
    return Replicates(np.concatenate([value, *draws, value - influence])[:, None], weights.shape[0])


def _influence(score: Array, label: NDArray[np.int8], value: float) -> Array:
    """(n,) how much each case moves the AUROC: (its placement among the other class − AUROC) / cases of its own class."""
    ordered = {y: np.sort(score[label == y]) for y in (0, 1)}
    below = (np.searchsorted(ordered[0], score, "left") + np.searchsorted(ordered[0], score, "right")) / 2
    above = ordered[1].size - (np.searchsorted(ordered[1], score, "left") + np.searchsorted(ordered[1], score, "right")) / 2
    sizes = ordered[1].size, ordered[0].size
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(label == 1, (below / sizes[1] - value) / sizes[0], (above / sizes[0] - value) / sizes[1])


def placements(score: Array, positive: NDArray[np.bool_], used: NDArray[np.bool_]) -> Array:
    """(n, P) of each case, per column: the share of the other class it is on the right side of, ties half (DeLong et al. 1988).

    ``score``, ``positive`` (which class) and ``used`` are (n, P). 0 where not used; NaN in a column without one of the classes.
    """
    found = np.zeros(score.shape)
    for p in range(score.shape[1]):
        up, down = np.flatnonzero(used[:, p] & positive[:, p]), np.flatnonzero(used[:, p] & ~positive[:, p])
        high, low = np.sort(score[up, p]), np.sort(score[down, p])
        with np.errstate(divide="ignore", invalid="ignore"):
            below = np.searchsorted(low, score[up, p], "left") + np.searchsorted(low, score[up, p], "right")
            above = np.searchsorted(high, score[down, p], "left") + np.searchsorted(high, score[down, p], "right")
            found[up, p] = below / (2 * np.float64(low.size))
            found[down, p] = 1 - above / (2 * np.float64(high.size))
    return found


def linear_auroc(
    score: Array, positive: NDArray[np.bool_], used: NDArray[np.bool_], cluster: NDArray[np.int64], clusters: int
) -> Linear:
    """(P,) AUROC of each column of ``score`` (n, P) with its influences by cluster: DeLong's for clustered data (Obuchowski 1997).

    NaN where a class has no case in use.
    """
    value = placements(score, positive, used)
    sides = [
        ratio(np.where(used & side, value, 0.0), (used & side).astype(float), cluster, clusters) for side in (positive, ~positive)
    ]
    # Both means are the AUROC; each case moves it through its own class alone.
    return Linear(sides[0].value + 0.0 * sides[1].value, sides[0].influence + sides[1].influence)


def delong_covariance(score: Array, label: NDArray[np.int8]) -> tuple[Array, Array]:
    """(P,) AUROC and their (P, P) covariance for independent cases (DeLong, DeLong & Clarke-Pearson 1988), of ``score`` (n, P)."""
    positive = np.broadcast_to((label == 1)[:, None], score.shape)
    value = placements(score, positive, np.ones(score.shape, bool))
    parts = [np.atleast_2d(np.cov(value[label == y], rowvar=False)) / (label == y).sum() for y in (1, 0)]
    return value[label == 1].mean(axis=0), parts[0] + parts[1]
