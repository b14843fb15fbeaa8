"""Cross-fitting: folds that keep clusters whole and classes even."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def grouped_folds(label: NDArray[np.int8], cluster: NDArray[np.int64], folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(n,) the fold (0 … folds−1) of each case: whole clusters, dealt out in random order, those of each class in turn.

    A cluster with cases of both classes counts with those that have more positive than average. Balanced to within one cluster
    per class; the sizes of clusters are not balanced.
    """
    clusters = int(cluster.max()) + 1 if cluster.size else 0
    size = np.maximum(np.bincount(cluster, minlength=clusters), 1)
    share = np.bincount(cluster, weights=label, minlength=clusters) / size
    order = rng.permutation(clusters)
    order = order[np.argsort(share[order] > (label.mean() if label.size else 0.0), kind="stable")]
    fold = np.empty(clusters, np.int64)
    fold[order] = np.arange(clusters) % folds
    return np.asarray(fold[cluster])
