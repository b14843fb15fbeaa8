"""Does the model know when it is wrong? Confidence against correctness (Traub et al. 2024, arXiv 2407.01032)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from palpate.stats.influence import Linear, ratio
from palpate.stats.resampling import Array
from palpate.stats.roc import linear_auroc


def augrc(accuracy: Linear, failure: Linear) -> Linear:
    """Area under the generalised risk–coverage curve, from accuracy and AUROC_f (confidence against correctness).

    (1 − AUROC_f) · acc · (1 − acc) + ½(1 − acc)²: the mean over coverages of P(wrong and accepted), by the trapezoidal rule.
    Lower is better; ½(1 − acc)² were every error the least confident.
    """
    acc, area = accuracy.value, failure.value
    value = (1 - area) * acc * (1 - acc) + 0.5 * (1 - acc) ** 2
    by_accuracy, by_area = (1 - area) * (1 - 2 * acc) - (1 - acc), -acc * (1 - acc)
    return Linear(np.asarray(value), accuracy.influence * by_accuracy + failure.influence * by_area)


def failure_auroc(
    confidence: Array, right: NDArray[np.bool_], used: NDArray[np.bool_], cluster: NDArray[np.int64], clusters: int
) -> Linear:
    """(P,) AUROC_f: the probability that a right answer is more confident than a wrong one, of (n, P) arrays."""
    return linear_auroc(confidence, right, used, cluster, clusters)


def accepted(confidence: Array, used: NDArray[np.bool_], coverage: float) -> Array:
    """(n, P) weight of each case among the ``coverage`` most confident of its column: 1, 0, or a share where ties straddle."""
    if not used.any():
        return np.zeros(confidence.shape)
    rising = np.sort(np.where(used, confidence, -np.inf), axis=0)
    size = used.sum(axis=0)
    left = coverage * size
    least = np.maximum(np.minimum(np.ceil(left).astype(np.int64), size), 1)  # the last one accepted, counted from the top
    cut = np.take_along_axis(rising, confidence.shape[0] - least[None, :], axis=0)
    above, equal = used & (confidence > cut), used & (confidence == cut)
    shared = (left - above.sum(axis=0)) / np.maximum(equal.sum(axis=0), 1)
    return np.where(above, 1.0, np.where(equal, shared, 0.0))


def risk_at(
    confidence: Array,
    right: NDArray[np.bool_],
    used: NDArray[np.bool_],
    coverage: float,
    cluster: NDArray[np.int64],
    clusters: int,
) -> Linear:
    """(P,) error rate among the ``coverage`` most confident answers. The cut is taken as fixed where this sample puts it."""
    weight = accepted(confidence, used, coverage)
    return ratio(weight * ~right, weight, cluster, clusters)
