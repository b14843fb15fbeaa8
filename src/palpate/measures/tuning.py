"""Did fine-tuning help? Base and tuned model on the same cases and prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from palpate.measures._cells import Cell, Draws, clusters_with
from palpate.measures._estimates import METHOD_PAIRED, finished, one_cluster
from palpate.measures._pairs import NOT_PAIRED, ONE_CLASS, CellPair, cell_pairs
from palpate.measures._tests import NAN, Ruling, Tested, with_words
from palpate.nouns import Estimate, Panel
from palpate.parts import Headline, MeasureSettings
from palpate.stats.intervals import Interval, shift_interval, two_sided_p
from palpate.stats.resampling import Array, Replicates, generator, over_prompts, pigeonhole
from palpate.stats.verdicts import detectable_difference

NO_ANSWER = "no definite answer of one model in at least one class"
METHOD_WORDINGS = "paired pigeonhole bootstrap (clusters × prompts), t interval: for other wordings of the same question"
METHOD_MDE = "from the standard error of delta_ba_all; no interval"

WORDS: Mapping[str, tuple[str, str]] = {
    "delta_ba_all": ("better", "worse"),
    "delta_ba_all_over_wordings": ("better", "worse"),
    "delta_ba_answered": ("better", "worse"),
    "delta_accuracy_all": ("better", "worse"),
    "delta_coverage": ("higher", "lower"),
    "delta_refusal_rate": ("higher", "lower"),
}


class Tuning:
    """Tuned minus base, paired by case and prompt, with a verdict that may be "undetermined"."""

    name: ClassVar[str] = "tuning"
    question: ClassVar[int] = 4
    estimates: ClassVar[Mapping[str, str]] = {
        "delta_ba_all": "ba_all of the tuned − of the base model, on the trials read under both, mean over these prompts",
        "delta_ba_all_over_wordings": "The same difference with the prompts taken as a sample of wordings: its interval is wider",
        "delta_ba_all_mde": "Smallest true difference of ba_all this sample would find with 80 % power (two-sided 5 %)",
        "delta_ba_answered": "ba_answered of the tuned − of the base model; each on its own definite answers",
        "delta_accuracy_all": "accuracy_all of the tuned − of the base model, on the trials read under both",
        "delta_coverage": "Coverage of the tuned − of the base model, on the trials read under both",
        "delta_refusal_rate": "Refusal rate of the tuned − of the base model, on the trials read under both",
    }

    headlines: ClassVar[tuple[Headline, ...]] = (
        Headline(
            "delta_ba_all", 0.0, ("delta_ba_all_over_wordings", "delta_ba_answered", "delta_refusal_rate", "delta_prompt_spread")
        ),
    )

    def measure(self, panels: Sequence[Panel], settings: MeasureSettings) -> Iterator[Estimate]:
        """Estimates per pair, task and cell; verdicts hold over the tasks of a pair (Holm)."""
        draws = Draws(settings.seed, settings.draws)
        found = [t for pair in cell_pairs(panels, settings.lineages) for t in _differences(pair, draws, settings)]
        alpha, margin = 1 - settings.level, settings.thresholds.equivalence
        yield from with_words(found, lambda e: Ruling(WORDS[e.measure], alpha, margin) if e.measure in WORDS else None)


def _differences(pair: CellPair, draws: Draws, settings: MeasureSettings) -> Iterator[Tested]:
    if pair.tuned is None:
        cases, clusters = len(pair.base.panel.cases), pair.base.clusters
        for name in Tuning.estimates:
            empty = Estimate(name, pair.by, None, None, None, settings.level, METHOD_PAIRED, cases, clusters)
            yield Tested(replace(empty, reason=NOT_PAIRED))
        return
    yield from _Pair(pair.base, pair.tuned, pair.by, draws, settings).differences()


class _Pair:
    """One cell under both models, reduced to the trials read under both."""

    def __init__(self, base: Cell, tuned: Cell, by: Mapping[str, str], draws: Draws, settings: MeasureSettings) -> None:
        self.by, self.settings, self.prompts = by, settings, len(base.prompts)
        both = base.seen * tuned.seen
        values = [both, *(v * both for cell in (base, tuned) for v in (cell.right, cell.answered, cell.refused))]
        table = base.by_class(values)
        self.sums = draws.replicate(base, table)
        self.by_class: Array = clusters_with(table)[..., 0].max(axis=1)  # (2,)
        answered = clusters_with(table)[..., [2, 5]]  # (2 classes, P, 2 models)
        self.answered_by_class: Array = answered.max(axis=1).min(axis=1)
        cases = both.any(axis=1)
        self.cases, self.clusters = int(cases.sum()), int(np.unique(base.panel.cluster[cases]).size)
        self.left_out = int((~(base.read & tuned.read)).sum()) if base.read.shape == tuned.read.shape else int((both == 0).sum())
        self.rng = generator(settings.seed, base.panel.task, base.name, "prompts")

    def differences(self) -> Iterator[Tested]:
        """All estimates of the pair's cell."""
        halves = np.array([0.25, 0.25])
        ba_all = self._per_prompt(1, 4, by_class=True)
        yield from self._one("delta_ba_all", ba_all.map(_mean), self.by_class, halves, METHOD_PAIRED, ONE_CLASS)
        if self.prompts > 1:
            mixed = pigeonhole(ba_all, self.rng)
            mixed = Replicates(mixed.rows[:, None], mixed.n_draws)
            freedom = min(self.clusters, self.prompts) - 1
            yield from self._one("delta_ba_all_over_wordings", mixed, self.by_class, halves, METHOD_WORDINGS, ONE_CLASS, freedom)
        answered = self._answered()
        yield from self._one("delta_ba_answered", answered.map(_mean), self.answered_by_class, halves, METHOD_PAIRED, NO_ANSWER)
        whole, one = np.array([self.clusters]), np.array([1.0])
        for name, first in (("delta_accuracy_all", 1), ("delta_coverage", 2), ("delta_refusal_rate", 3)):
            yield from self._one(name, self._per_prompt(first, first + 3, by_class=False).map(_mean), whole, one, METHOD_PAIRED, "")

    def _per_prompt(self, base: int, tuned: int, *, by_class: bool) -> Replicates:
        """(…, P) tuned − base of a rate over the trials read under both; the mean of the classes' rates where ``by_class``."""

        def difference(rows: Array) -> Array:
            if by_class:
                return np.asarray(((rows[..., tuned] - rows[..., base]) / rows[..., 0]).mean(axis=1))
            return np.asarray((rows[..., tuned] - rows[..., base]).sum(axis=1) / rows[..., 0].sum(axis=1))

        return self.sums.map(difference)

    def _answered(self) -> Replicates:
        """(…, P) tuned − base of balanced accuracy on each model's own definite answers."""
        return self.sums.map(lambda rows: (rows[..., 4] / rows[..., 5] - rows[..., 1] / rows[..., 2]).mean(axis=1))

    def _one(
        self, name: str, rows: Replicates, clusters: Array, shares: Array, method: str, why: str, freedom: int | None = None
    ) -> Iterator[Tested]:
        """The estimate of (…, 1) replicates. ``shares``: squared weight of each class, for the floor of the error."""
        level = self.settings.level
        enough = int(clusters.min()) >= 2
        floor = np.array([(shares / (clusters + 2) ** 2).sum()])
        size = float(clusters.min())
        interval, narrow = (shift_interval(rows, floor, size, at, most_freedom=freedom) for at in (level, 2 * level - 1))
        value = float(rows.value[0]) if enough else np.nan
        reason = why if int(clusters.min()) == 0 else one_cluster(self.clusters)
        p = float(two_sided_p(rows.value / interval.error, interval.freedom)[0]) if enough else NAN
        bounds = _bounds(interval) if enough else (np.nan, np.nan)
        mde = float(detectable_difference(interval.error, interval.freedom, alpha=1 - level)[0]) if enough else np.nan
        found = replace(self._estimate(name, value, bounds, method, reason), mde=mde if np.isfinite(mde) else None)
        yield Tested(found, p, _bounds(narrow))
        if name == "delta_ba_all":
            yield Tested(self._estimate("delta_ba_all_mde", mde, (np.nan, np.nan), METHOD_MDE, reason))

    def _estimate(self, name: str, value: float, bounds: tuple[float, float], method: str, why: str) -> Estimate:
        low, high = bounds
        level = self.settings.level
        found = Estimate(name, self.by, value, low, high, level, method, self.cases, self.clusters, self.left_out)
        return finished(found, why)


def _mean(rows: Array) -> Array:
    return over_prompts(rows[:, np.isfinite(rows[0])])[:, None]


def _bounds(interval: Interval) -> tuple[float, float]:
    """Differences of rates cannot leave [−1, 1]."""
    return max(float(interval.low[0]), -1.0), min(float(interval.high[0]), 1.0)


PARTS = (Tuning(),)
