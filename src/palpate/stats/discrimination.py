"""The area under the ROC curve under whole-cluster weights, for all draws at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from palpate.stats.resampling import Array, Replicates, Weights

CHUNK_VALUES = 4_000_000


def auroc(score: Array, label: NDArray[np.int8], weights: Array) -> Array:
    """(rows,) P(score₊ > score₋) + ½ P(=) under case ``weights`` (rows, n): the Mann–Whitney form. NaN where a class is absent.

    Sorted once: in every row, each positive case counts the negative weight below it and half of that beside it.
    """
    order = np.argsort(score, kind="stable")
    _, start = np.unique(score[order], return_index=True)  # cases of equal score share one step
    heavy = weights[:, order]
    positive = np.add.reduceat(heavy * (label[order] == 1), start, axis=1)
    negative = np.add.reduceat(heavy * (label[order] == 0), start, axis=1)
    below = np.cumsum(negative, axis=1) - negative / 2
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((positive * below).sum(axis=1) / pairs)


def replicate_auroc(score: Array, label: NDArray[np.int8], cluster: NDArray[np.int64], weights: Weights) -> Replicates:
    """(1 + draws + clusters, 1) replicates of the AUROC; ``weights`` (draws, clusters)."""
    clusters = weights.shape[1]
    block = max(1, CHUNK_VALUES // max(score.size, 1))
    rows = [auroc(score, label, np.ones((1, score.size)))]
    starts = range(0, weights.shape[0], block)
    rows.extend(auroc(score, label, weights[s : s + block].astype(np.float64)[:, cluster]) for s in starts)
    for start in range(0, clusters, block):
        left_out = np.arange(start, min(start + block, clusters))
        rows.append(auroc(score, label, (cluster[None, :] != left_out[:, None]).astype(np.float64)))
    return Replicates(np.concatenate(rows)[:, None], weights.shape[0])
