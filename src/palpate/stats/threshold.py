"""What a score is worth at a threshold it was not fitted on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from palpate.stats.resampling import Array


def best_thresholds(score: Array, label: NDArray[np.int8], training: NDArray[np.bool_]) -> Array:
    """(K,) the threshold of ``score`` (n,) that maximises balanced accuracy on each row of ``training`` (K, n).

    NaN without both classes. Sorted once. Cuts lie midway between neighbouring scores (or beyond the ends, where all are called
    one class); of equally good cuts, the one nearest the middle of their range of places.
    """
    order = np.argsort(score, kind="stable")
    ordered, y = score[order], label[order]
    weight = training[:, order]
    up, down = (weight & (y == 1)).cumsum(axis=1), (weight & (y == 0)).cumsum(axis=1)
    rows = training.shape[0]
    n1, n0 = up[:, -1:], down[:, -1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        # Cut after place k: the k + 1 lowest are called absent.
        gain = np.concatenate([np.zeros((rows, 1)), down / n0 - up / n1], axis=1)
    last = np.append(ordered[1:] > ordered[:-1], True)  # no cut between equal scores
    gain[:, 1:][:, ~last] = -np.inf
    top = gain >= gain.max(axis=1, keepdims=True) - 1e-12
    middle = (top * np.arange(gain.shape[1])).sum(axis=1) / np.maximum(top.sum(axis=1), 1)
    distance = np.where(top, np.abs(np.arange(gain.shape[1]) - middle[:, None]), np.inf)
    place = distance.argmin(axis=1)
    cuts = np.concatenate([[ordered[0] - 1.0], (ordered + np.append(ordered[1:], ordered[-1] + 2.0)) / 2])
    return np.where((n1[:, 0] > 0) & (n0[:, 0] > 0), cuts[place], np.nan)


def right_out_of_fold(score: Array, label: NDArray[np.int8], used: NDArray[np.bool_], fold: NDArray[np.int64]) -> Array:
    """(n, P) 1 where a case is on the right side of the threshold fitted on the other folds, else 0; NaN where there is none."""
    found = np.full(score.shape, np.nan)
    folds = int(fold.max()) + 1 if fold.size else 0
    other = fold[None, :] != np.arange(folds)[:, None]
    for p in range(score.shape[1]):
        at = np.flatnonzero(used[:, p])
        if at.size < 2:
            continue
        cuts = best_thresholds(score[at, p], label[at], other[:, at])[fold[at]]
        right = (score[at, p] > cuts) == (label[at] == 1)
        found[at, p] = np.where(np.isfinite(cuts), right, np.nan)
    return found
