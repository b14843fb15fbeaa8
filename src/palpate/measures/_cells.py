"""The prompts of one intent cell of a Panel, as tables of shares per case and prompt: what every measure starts from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from palpate.nouns import OUTCOME_CODE, OUTCOMES, Outcome, Panel
from palpate.stats.resampling import CHUNK_VALUES, Array, Replicates, Weights, cluster_sums, draw_clusters, generator, replicate

ANSWERED = np.array([o.answered for o in OUTCOMES])
REFUSED = np.array([o.refused for o in OUTCOMES])


@dataclass(frozen=True)
class Cell:
    """One intent cell of one panel: n cases × P prompts × R repeats. Only prompts of one cell may be pooled."""

    panel: Panel
    name: str
    at: NDArray[np.int64]  # (P,) places of the cell's prompts in the panel
    outcome: NDArray[np.int8]  # (n, P, R) codes into OUTCOMES, −1 where there is no reading

    @property
    def prompts(self) -> list[str]:
        """Names of the P prompts."""
        return [self.panel.prompts[p].name for p in self.at]

    @property
    def clusters(self) -> int:
        """How many clusters the panel lists."""
        return int(self.panel.cluster.max()) + 1 if self.panel.cluster.size else 0

    @property
    def positive(self) -> NDArray[np.bool_]:
        """(n,) True where the condition is present."""
        return np.asarray(self.panel.label == 1)

    @property
    def read(self) -> NDArray[np.bool_]:
        """(n, P, R) True where there is a reading."""
        return np.asarray(self.outcome >= 0)

    @property
    def left_out(self) -> NDArray[np.int64]:
        """(P,) readings missing (errors, never asked) per prompt."""
        return np.asarray((~self.read).sum(axis=(0, 2)), np.int64)

    def share(self, flag: NDArray[np.bool_]) -> Array:
        """(n, P) mean of ``flag`` (n, P, R) over the repeats that were read; 0 where none was (``seen`` is 0 there too)."""
        count = self.read.sum(axis=2)
        share: Array = np.divide((flag & self.read).sum(axis=2), count, out=np.zeros(count.shape), where=count > 0)
        return share

    @property
    def seen(self) -> Array:
        """(n, P) 1 where at least one repeat was read: the denominator of everything "all"."""
        return np.asarray(self.read.any(axis=2), np.float64)

    @property
    def right(self) -> Array:
        """(n, P) share of right answers; every non-answer (refusal, hedge, unparsed, off-topic) is not right."""
        positive = self.positive[:, None, None]
        says = np.where(positive, OUTCOME_CODE[Outcome.POSITIVE], OUTCOME_CODE[Outcome.NEGATIVE])
        return self.share(self.outcome == says)

    @property
    def answered(self) -> Array:
        """(n, P) share of definite answers."""
        return self.share(ANSWERED[self.outcome])

    @property
    def refused(self) -> Array:
        """(n, P) share of refusals (policy or capability)."""
        return self.share(REFUSED[self.outcome])

    def is_outcome(self, outcome: Outcome) -> Array:
        """(n, P) share of that outcome."""
        return self.share(self.outcome == OUTCOME_CODE[outcome])

    def by_class(self, values: Sequence[Array]) -> Array:
        """(clusters, 2, P, len(values)) sums over the cases of each cluster and class (0 absent, 1 present)."""
        stacked = np.stack(values, axis=1)
        positive = self.positive[:, None, None]
        split = np.stack([np.where(positive, 0.0, stacked), np.where(positive, stacked, 0.0)], axis=2)
        return values_last(cluster_sums(split, self.panel.cluster, self.clusters))


def cells(panel: Panel) -> Iterator[Cell]:
    """The panel's intent cells, in the order of their first prompt. Open questions have no outcome and are left out."""
    names = dict.fromkeys(p.cell for p in panel.prompts if p.form.closed)
    for name in names:
        at = np.array([i for i, p in enumerate(panel.prompts) if p.cell == name and p.form.closed], dtype=np.int64)
        yield Cell(panel, name, at, panel.outcome[:, at])


def values_last(table: Array) -> Array:
    """(…, 2, P, K) of (…, K, 2, P): a view, so that one value of all prompts lies together in memory, as it is worked on."""
    return table.transpose(0, 2, 3, 1)


@lru_cache(maxsize=4)
def _drawn(seed: int, draws: int, task: str, clusters: int) -> Weights:
    """The draws of one task, kept for the next measure: all measures of a run take the same."""
    drawn = draw_clusters(clusters, draws, generator(seed, task, "clusters"))
    # As floating point they need not be turned into it for every product; 64 MB at most.
    weights: Weights = drawn.astype(np.float64) if drawn.size <= CHUNK_VALUES else drawn
    weights.flags.writeable = False
    return weights


class Draws:
    """The bootstrap draws of each task: made once, shared by all its models, prompts and statistics, so differences are paired."""

    def __init__(self, seed: int, draws: int) -> None:
        self._seed, self._draws = seed, draws

    def of(self, task: str, clusters: int) -> Weights:
        """(draws, clusters) weights of that task; they depend on seed, task and clusters alone, not on what was asked before."""
        return _drawn(self._seed, self._draws, task, clusters)

    def replicate(self, cell: Cell, table: Array) -> Replicates:
        """(…, 2, P, K) replicates of the sums by class and prompt of ``table`` (clusters, 2, P, K), whose first column is ``seen``.

        Every draw is brought to the class balance of the data: how many cases of each class there are is a choice of the study,
        not something a new sample of patients would vary. Rates within a class are not touched by it.
        """
        rows = replicate(table.transpose(0, 3, 1, 2), self.of(cell.panel.task, cell.clusters)).rows  # (…, K, 2, P)
        seen = rows[:, :1]
        rows *= np.divide(seen[:1], seen, out=np.ones_like(seen), where=seen > 0)
        return Replicates(values_last(rows), self._draws)


def clusters_with(table: Array) -> NDArray[np.int64]:
    """(…) how many clusters have a share in each column of ``table`` (clusters, …)."""
    return np.asarray((table > 0).sum(axis=0), np.int64)
