"""Is there any effect of the prompt? Permute the prompts inside each cluster and see how often the spread is as large."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from palpate.stats.resampling import Array

GAUSSIAN_FROM = 1000
"""From this many clusters that differ over prompts, draws come from the permutation's exact mean and covariance, as a normal."""

POOL = 1024
"""Random permutations drawn for one null, each used with all its shifts."""


@dataclass(frozen=True, slots=True)
class PermutationNull:
    """What the standard deviation and the range over prompts are when the prompt has no effect, draw by draw."""

    deviations: Array  # (draws,) standard deviation over prompts, ddof = 1
    ranges: Array  # (draws,) largest minus smallest
    observed: float  # standard deviation over prompts of the same statistic, in the data
    p: float  # share of draws at least as spread, the data counted as one of them


def permutation_null(table: Array, draws: int, rng: np.random.Generator) -> PermutationNull:
    """Null of the spread over prompts of T_p = Σ_c table[c, p], ``table`` (clusters, prompts).

    Each cluster's row is permuted as a whole: exact under "the prompt makes no difference", and it keeps the difficulty of a case
    and the correlation of its answers, and of the cases of one patient. Cochran's Q conditions on the same permutations.
    """
    prompts = table.shape[1]
    differs = table[np.ptp(table, axis=1) > 1e-12]
    constant = table.sum(axis=0) - differs.sum(axis=0)
    observed = float(np.std(table.sum(axis=0), ddof=1))
    if differs.shape[0] >= GAUSSIAN_FROM:
        # A permuted row has covariance s²(I − 1/P), s² its variance with ddof = 1; so has the sum, which is normal by then.
        scale = np.sqrt(np.var(differs, axis=1, ddof=1).sum())
        totals = rng.standard_normal((draws, prompts)) * scale
        totals -= totals.mean(axis=1, keepdims=True)
    else:
        totals = constant + _permuted_totals(differs, draws, rng)
    deviations = np.std(totals, axis=1, ddof=1)
    as_spread = int((deviations >= observed * (1 - 1e-9)).sum())
    return PermutationNull(deviations, np.ptp(totals, axis=1), observed, (1 + as_spread) / (1 + draws))


def _permuted_totals(rows: Array, draws: int, rng: np.random.Generator) -> Array:
    """(draws, prompts) column sums after permuting every row afresh in every draw."""
    totals = np.zeros((draws, rows.shape[1]))
    if rows.shape[0] == 0:
        return totals
    pool = _pool(rows.shape[1], rng)
    for row in rows:  # a row at a time: its draws fit the processor's cache
        totals += row.take(pool.take(rng.integers(0, len(pool), draws), axis=0))
    return totals


def _pool(prompts: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """(POOL × prompts, prompts) permutations to take from: random ones with all their cyclic shifts.

    Drawing each anew costs five times as much. With the shifts every prompt is taken by every place equally often, so a row's mean
    and variance under the pool are exactly those under all permutations.
    """
    base = np.argsort(rng.random((POOL, prompts)), axis=1)
    shifts = (base[:, :, None] + np.arange(prompts)) % prompts
    return np.ascontiguousarray(shifts.transpose(0, 2, 1).reshape(-1, prompts)).astype(np.intp)


def cochran_q(scores: NDArray[np.float64]) -> tuple[float, float]:
    """Cochran's Q and its p from ``scores`` (n, P) of 0/1: do the P prompts have the same success rate?

    χ² with P − 1 degrees of freedom. Rows that are all 0 or all 1 drop out; with no other row Q is 0 and p is 1.
    """
    from scipy.special import chdtrc

    prompts = scores.shape[1]
    by_prompt, by_case = scores.sum(axis=0), scores.sum(axis=1)
    below = prompts * by_case.sum() - (by_case**2).sum()
    if below <= 0:
        return 0.0, 1.0
    q = (prompts - 1) * (prompts * (by_prompt**2).sum() - by_prompt.sum() ** 2) / below
    return float(q), float(chdtrc(prompts - 1, q))
