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
    weight = np.zeros(confidence.shape)
    for p in range(confidence.shape[1]):
        at = np.flatnonzero(used[:, p])
        if at.size == 0:
            continue
        value = confidence[at, p]
        left = coverage * at.size
        cut = np.sort(value)[::-1][min(int(np.ceil(left)) - 1, at.size - 1)]
        above, equal = value > cut, value == cut
        weight[at, p] = np.where(above, 1.0, np.where(equal, (left - above.sum()) / equal.sum(), 0.0))
    return weight


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
