"""The area under the ROC curve under whole-cluster weights, for all draws at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
