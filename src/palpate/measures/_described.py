"""A model's descriptions as statistics: balanced accuracy of what readers made of them, and its gain over the direct answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from palpate.descriptions import Diagnoses
from palpate.measures._cells import Cell
from palpate.measures._linear import margins
from palpate.nouns import OUTCOME_CODE, Outcome, Panel
from palpate.stats.folds import grouped_folds
from palpate.stats.influence import Linear, change_interval, ratio, score_error, share_interval
from palpate.stats.intervals import Interval, p_above
from palpate.stats.resampling import Array, generator
from palpate.stats.roc import linear_auroc
from palpate.stats.threshold import right_sides

FOLDS = 10
CHANCE = 0.5
POSITIVE, NEGATIVE = OUTCOME_CODE[Outcome.POSITIVE], OUTCOME_CODE[Outcome.NEGATIVE]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Table:
    """One column per (diagnoses, description prompt): n cases × K. ``right``: share of right answers over the repeats read, a
    non-answer wrong; ``yes``: share read as positive; ``used``: read at all; ``score``: the reader's margin, NaN where none."""

    panel: Panel
    of: tuple[tuple[Diagnoses, str], ...]
    right: Array
    yes: Array
    used: Flags
    score: Array = field(repr=False)

    @property
    def clusters(self) -> int:
        """How many clusters the panel lists."""
        return int(self.panel.cluster.max()) + 1 if self.panel.cluster.size else 0

    def only(self, wanted: Callable[[Diagnoses, str], bool]) -> Table:
        """The columns that are wanted."""
        at = [k for k, (d, prompt) in enumerate(self.of) if wanted(d, prompt)]
        taken = (self.right[:, at], self.yes[:, at], self.used[:, at], self.score[:, at])
        return Table(self.panel, tuple(self.of[k] for k in at), *taken)

    def among(self, cases: Flags) -> Table:
        """The same, of some cases (n) alone."""
        return Table(self.panel, self.of, self.right, self.yes, self.used & cases[:, None], self.score)

    @property
    def any(self) -> Flags:
        """(n,) cases of which something was read."""
        return np.asarray(self.used.any(axis=1))

    @property
    def mean_right(self) -> Array:
        """(n,) share of right answers over the columns read; NaN where none was."""
        count = self.used.sum(axis=1)
        total = np.where(self.used, self.right, 0.0).sum(axis=1)
        return np.asarray(np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0))

    def groups(self) -> int:
        """Clusters of the class that has fewer, of those read."""
        return groups(self.panel, self.any)

    def ba(self) -> Linear:
        """(K,) balanced accuracy of each column."""
        return balanced(self.panel, self.right, self.used)

    def says_yes(self) -> Linear:
        """(K,) share read as positive."""
        used = self.used.astype(np.float64)
        return ratio(self.yes * used, used, self.panel.cluster, self.clusters, label=self.panel.label)

    def auroc(self) -> Linear:
        """(K,) AUROC of the reader's margin."""
        used = self.used & np.isfinite(self.score)
        positive = np.broadcast_to((self.panel.label == 1)[:, None], used.shape)
        return linear_auroc(np.where(used, self.score, 0.0), positive, used, self.panel.cluster, self.clusters)


def table(panel: Panel, diagnoses: Sequence[Diagnoses], prompts: Sequence[str]) -> Table:
    """All columns of some diagnoses."""
    of = tuple((d, prompt) for d in diagnoses for prompt in prompts)
    truth = np.where(panel.label == 1, POSITIVE, NEGATIVE)[:, None]
    right, yes, score, used = (np.zeros((panel.label.size, len(of)), kind) for kind in (float, float, float, bool))
    for k, (d, prompt) in enumerate(of):
        outcome, margin = d.outcome[:, prompts.index(prompt)], d.margin[:, prompts.index(prompt)]
        count = np.maximum((outcome >= 0).sum(axis=1), 1)
        used[:, k] = (outcome >= 0).any(axis=1)
        right[:, k] = ((outcome == truth) & (outcome >= 0)).sum(axis=1) / count
        yes[:, k] = (outcome == POSITIVE).sum(axis=1) / count
        known = np.isfinite(margin).sum(axis=1)
        total = np.where(np.isfinite(margin), margin, 0.0).sum(axis=1)
        score[:, k] = np.where(known > 0, total / np.maximum(known, 1), np.nan)
    return Table(panel, of, right, yes, used, score)


def balanced(panel: Panel, right: Array, used: Flags) -> Linear:
    """(K,) mean of the two classes' rates, of (n, K) shares of right answers."""
    clusters = int(panel.cluster.max()) + 1 if panel.cluster.size else 0
    rates = []
    for y in (0, 1):
        side = (used & (panel.label == y)[:, None]).astype(np.float64)
        rates.append(ratio(right * side, side, panel.cluster, clusters, label=panel.label))
    return (rates[0] + rates[1]).times(0.5)


def groups(panel: Panel, used: Flags) -> int:
    """Clusters of the class that has fewer, among the cases in use."""
    return min(int(np.unique(panel.cluster[used & (panel.label == y)]).size) for y in (0, 1))


@dataclass(frozen=True, slots=True)
class Rival:
    """What descriptions are held against: balanced accuracy of ``right`` (n, P). ``best``: the same at a threshold fitted on the
    very cases, too good; the low end of a gain is taken from it. ``used`` (n, P)."""

    right: Array
    used: Flags
    best: Array | None = None

    @property
    def any(self) -> Flags:
        """(n,) cases it has."""
        return np.asarray(self.used.any(axis=1))


def direct(cell: Cell) -> Rival:
    """The answers in words, non-answers wrong."""
    return Rival(cell.right, cell.seen > 0)


def rethresholded(cell: Cell, seed: int) -> Rival:
    """The margin at a threshold fitted on other cases, as ``ba_own_threshold`` has it."""
    score, label = margins(cell), cell.panel.label
    used = np.isfinite(score) & (cell.seen > 0)
    fold = grouped_folds(label, cell.panel.cluster, FOLDS, generator(seed, cell.panel.task, "folds"))
    right, in_sample = right_sides(score, label, used, fold)
    fitted = np.isfinite(right)
    return Rival(np.nan_to_num(right), fitted, np.nan_to_num(in_sample))


@dataclass(frozen=True)
class Gain:
    """Balanced accuracy of descriptions, mean over the columns, less the rival's, on the cases of both.

    ``score`` and ``gain`` (); ``cautious`` () the gain whose low end counts; ``used`` (n,); ``groups`` of the smaller class.
    """

    score: Linear
    gain: Linear
    cautious: Linear
    used: Flags
    groups: int

    @property
    def defined(self) -> bool:
        """True where both classes have at least two groups."""
        return self.groups >= 2 and bool(np.isfinite(self.gain.value))

    def interval(self, level: float) -> Interval:
        """Of the gain."""
        found, careful = self._both(level)
        return Interval(np.minimum(found.low, careful.low), found.high, found.error, found.freedom)

    def _both(self, level: float) -> tuple[Interval, Interval]:
        floor = 2 * 0.25 / (self.groups + 2) ** 2
        found, careful = (change_interval(s, floor, max(self.groups, 2), level) for s in (self.gain, self.cautious))
        return found, careful

    def score_interval(self, level: float) -> Interval:
        """Of the balanced accuracy."""
        return share_interval(self.score, max(self.groups, 2), level)

    def p_above(self, bound: float) -> float:
        """p that it gains more than ``bound`` by a score above guessing; 1 where it is undefined.

        The largest p of what must hold together (intersection–union, Berger 1982, Technometrics 24, 295): below 1 − level exactly
        where the low ends of both intervals at that level lie above ``bound`` and 0.5.
        """
        if not self.defined:
            return 1.0
        sides = zip((self.gain, self.cautious), self._both(0.95), strict=True)
        gains = [float(p_above(s.value, bound, found.error, found.freedom)) for s, found in sides]
        return max(*gains, above_chance(self.score, self.groups))


def above_chance(score: Linear, groups: int) -> float:
    """p that readers' balanced accuracy () lies above 0.5: the score test, as the low end of its interval has it."""
    clusters = max(groups, 2)
    return float(p_above(score.value, CHANCE, score_error(score, clusters, CHANCE), clusters - 1))


def gain(columns: Table, rival: Rival) -> Gain:
    """The gain of some columns over a rival; undefined where there are none."""
    panel, both = columns.panel, columns.any & rival.any
    count = groups(panel, both)
    score = columns.among(both).ba().mean()
    used = rival.used & both[:, None]
    own = balanced(panel, rival.right, used).mean()
    best = own if rival.best is None else balanced(panel, rival.best, used).mean()
    return Gain(score, score - own, score - best, both, count)
