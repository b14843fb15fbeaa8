"""How much an answer says about the image, in bits, with the bias of few repeats taken out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from palpate.stats.resampling import Array


def plugin_entropy(counts: Array) -> Array:
    """(…) entropy in bits of the counts along the last axis; NaN where they are all 0."""
    total = counts.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = counts / total
        bits = -np.where(share > 0, share * np.log2(np.where(share > 0, share, 1.0)), 0.0).sum(axis=-1)
        return np.where(total[..., 0] > 0, bits, np.nan)


def miller_madow(counts: Array) -> Array:
    """(…) entropy in bits, plus (kinds seen − 1)/(2N ln 2) for the plug-in's bias (Miller 1955)."""
    total = counts.sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(plugin_entropy(counts) + ((counts > 0).sum(axis=-1) - 1) / (2 * total * np.log(2)))


def expected_entropy(counts: NDArray[np.int64], taken: int) -> float:
    """Expected plug-in entropy (bits) of ``taken`` answers drawn without replacement from the pool ``counts`` (kinds,).

    Exact: by linearity only each kind's hypergeometric distribution is needed. It is what the repeats of one image would show if
    the answer did not depend on the image.
    """
    from scipy.special import gammaln

    def log_choose(n: float, k: Array) -> Array:
        return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))

    pool = float(counts.sum())
    drawn = np.arange(1, taken, dtype=np.float64)  # 0 and all of one kind contribute nothing
    bits = -(drawn / taken) * np.log2(drawn / taken)
    ways = log_choose(pool, np.asarray(float(taken)))
    total = 0.0
    for count in map(float, counts):
        possible = (drawn <= count) & (taken - drawn <= pool - count)
        k = drawn[possible]
        chance = np.exp(log_choose(count, k) + log_choose(pool - count, taken - k) - ways)
        total += float((chance * bits[possible]).sum())
    return total
