"""Resampling whole clusters, and prompts, without a loop over draws.

Everything here rests on one idea: a statistic that is a function of sums over cases needs only the sums of each cluster
(patient, slide). A bootstrap draw is then a vector of whole-cluster weights, a draw's sums are a matrix product, and the
statistic is evaluated on all draws at once. The draws of a task are shared by all its prompts and models, so differences
are paired by construction. Clusters are never split: twelve wordings of one image are not twelve observations.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Weights = NDArray[np.uint8] | NDArray[np.float64]
"""(draws, clusters) how often each cluster is taken: bytes, or floating point where they are kept for many products."""

CHUNK_VALUES = 8_000_000
"""Largest block of weights turned to floating point at once (64 MB), so that memory does not grow with draws × clusters."""


def generator(seed: int, *purpose: str) -> np.random.Generator:
    """A generator that depends on the study's seed and on what it is for, never on what was drawn before."""
    digest = hashlib.blake2b("\x1f".join(purpose).encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "big")])


def draw_clusters(clusters: int, draws: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(draws, clusters) how often each cluster is taken when ``clusters`` of them are drawn with replacement.

    Multinomial, over whole clusters, stratified by nothing: the class balance varies as it would with new patients.
    """
    weights = np.empty((draws, clusters), np.uint8)
    rows = max(1, CHUNK_VALUES // max(clusters, 1))
    for start in range(0, draws, rows):
        block = min(rows, draws - start)
        picks = rng.integers(0, clusters, size=(block, clusters)) + np.arange(block)[:, None] * clusters
        counts = np.bincount(picks.ravel(), minlength=block * clusters)
        weights[start : start + block] = counts.reshape(block, clusters)  # a count over 255 has probability < 1e-300
    return weights


def cluster_sums(values: Array, cluster: NDArray[np.int64], clusters: int) -> Array:
    """(clusters, …) sums over the cases of each cluster, of ``values`` (n, …)."""
    sums = np.zeros((clusters, *values.shape[1:]))
    if cluster.size:
        order = np.argsort(cluster, kind="stable")
        ordered = cluster[order]
        starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        sums[ordered[starts]] = np.add.reduceat(values[order], starts, axis=0)
    return sums


def clusters_with_any(flags: NDArray[np.bool_], cluster: NDArray[np.int64], clusters: int) -> NDArray[np.int64]:
    """(…) how many clusters have a case that is flagged, of ``flags`` (n, …)."""
    return np.asarray((cluster_sums(flags.astype(np.float64), cluster, clusters) > 0).sum(axis=0), np.int64)


@dataclass(frozen=True, slots=True)
class Replicates:
    """A statistic on the data (first row), on every bootstrap draw, and with each cluster left out (last rows).

    ``rows`` is (1 + draws + clusters, …). A function of sums is a function of ``rows``: ``sums.map(lambda s: s[:, 0] / s[:, 1])``.
    NaN marks a row where the statistic is undefined (a draw without one class, say).
    """

    rows: Array
    n_draws: int

    @property
    def value(self) -> Array:
        """(…) on the data."""
        return np.asarray(self.rows[0])

    @property
    def draws(self) -> Array:
        """(draws, …) on the bootstrap draws."""
        return self.rows[1 : 1 + self.n_draws]

    @property
    def left_out(self) -> Array:
        """(clusters, …) with each cluster left out in turn: the delete-one-cluster jackknife."""
        return self.rows[1 + self.n_draws :]

    def map(self, function: Callable[[Array], Array]) -> Replicates:
        """The replicates of a function of this statistic; 0/0 gives NaN, silently."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return Replicates(function(self.rows), self.n_draws)


def replicate(table: Array, weights: Weights) -> Replicates:
    """The sums of ``table`` (clusters, …) on the data, in every draw, and with each cluster left out."""
    clusters, draws = table.shape[0], weights.shape[0]
    flat = table.reshape(clusters, int(np.prod(table.shape[1:])))
    rows = np.empty((1 + draws + clusters, flat.shape[1]))  # filled in place: it may be large
    rows[0] = flat.sum(axis=0)
    block = max(1, CHUNK_VALUES // max(clusters, 1))
    for start in range(0, draws, block):
        end = min(start + block, draws)
        np.matmul(weights[start:end].astype(np.float64, copy=False), flat, out=rows[1 + start : 1 + end])
    np.subtract(rows[0], flat, out=rows[1 + draws :])
    return Replicates(rows.reshape(rows.shape[0], *table.shape[1:]), draws)


def draw_prompts(prompts: int, draws: int, rng: np.random.Generator) -> Array:
    """(draws, prompts) weights that sum to 1: the prompt half of the pigeonhole bootstrap (Owen 2007)."""
    return draw_clusters(prompts, draws, rng).astype(np.float64) / prompts


def over_prompts(rows: Array) -> Array:
    """(rows, …) mean over the prompts of (rows, …, prompts), each over the prompts where it is defined; NaN where none is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        total = rows.sum(axis=-1)
        if np.isfinite(total).all():
            return np.asarray(total / rows.shape[-1])
        defined = np.isfinite(rows)
        return np.asarray(np.where(defined, rows, 0.0).sum(axis=-1) / defined.sum(axis=-1))


def pigeonhole(replicates: Replicates, rng: np.random.Generator) -> Replicates:
    """The mean over prompts of (…, prompts) replicates when prompts are resampled too, apart from the clusters.

    Owen 2007, doi 10.1214/07-AOAS122: rows and columns of the cases × prompts table are drawn separately. Mildly
    conservative: the cases × prompts interaction is counted up to three times. The jackknife rows stay those of clusters.
    """
    mixed = over_prompts(replicates.rows)
    weights = draw_prompts(replicates.rows.shape[1], replicates.n_draws, rng)
    defined = np.isfinite(replicates.draws)
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = np.where(defined, replicates.draws * weights, 0.0).sum(axis=1) / (weights * defined).sum(axis=1)
    mixed[1 : 1 + replicates.n_draws] = drawn
    return Replicates(mixed, replicates.n_draws)
