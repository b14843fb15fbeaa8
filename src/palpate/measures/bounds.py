"""What can be said of the accuracy without assuming anything about the answers that were not given?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from palpate.measures._cells import Cell, Draws, cells, clusters_with
from palpate.measures._estimates import METHOD_BA, Made, finished, made, one_cluster
from palpate.measures._pairs import comparable
from palpate.measures._tests import NAN, Ruling, Tested, blank, shift, with_words
from palpate.nouns import Estimate, Panel
from palpate.parts import MeasureSettings
from palpate.stats.intervals import Interval, combined_interval
from palpate.stats.resampling import Array, Replicates, over_prompts

NO_CLASS = "only one class was read: balanced accuracy needs cases with and without the condition"
METHOD_BOUNDS = "from the low end of ba_all's interval to the high end of ba_if_right's"
METHOD_LEAD = "from the low end of (first at worst − second at best) to the high end of (first at best − second at worst), paired"


class Bounds:
    """Worst and best case of the open answers, and which models they leave ranked."""

    name: ClassVar[str] = "bounds"
    question: ClassVar[int] = 1
    estimates: ClassVar[Mapping[str, str]] = {
        "ba_if_right": "Balanced accuracy of all read trials, had every answer without a definite outcome been right: the upper "
        "bound (ba_all is the lower)",
        "ba_bounds": "Balanced accuracy of all read trials, an answer without a definite outcome counting half; its interval holds "
        "whatever those answers would have been",
        "ba_lead": "ba_bounds of the first model − of the second (over); its interval holds whatever the open answers of either "
        "would have been; models are ranked only where it excludes 0",
    }

    def measure(self, panels: Sequence[Panel], settings: MeasureSettings) -> Iterator[Estimate]:
        """Estimates per cell, and per pair of models of one task and cell; verdicts hold over the pairs of a cell (Holm)."""
        draws = Draws(settings.seed, settings.draws)
        leads: list[Tested] = []
        groups: dict[tuple[str, str], list[Panel]] = {}
        for panel in panels:
            groups.setdefault((panel.task, str(panel.perturbation)), []).append(panel)
        for group in groups.values():
            ends = [_ends(cell, draws) for panel in group for cell in cells(panel)]
            for one in ends:
                yield from _estimates(one, settings)
            leads.extend(_leads(ends, settings))
        if not leads:
            return
        ruling = Ruling(("ahead", "behind"), 1 - settings.level, none="not ranked")

        def family(e: Estimate) -> tuple[str, ...]:
            return e.by["task"], e.by["cell"], e.by.get("perturbation", "")

        yield from with_words(leads, lambda e: ruling, family, "the pairs of the task")


@dataclass(frozen=True, slots=True)
class _Ends:
    """(…, 2 classes) replicated rates of a cell, mean over its prompts: open answers wrong, and right; clusters by class (2,)."""

    cell: Cell
    worst: Replicates
    best: Replicates
    clusters: Array

    @property
    def batch(self) -> Made:
        return made(self.cell, 0.95)


def _ends(cell: Cell, draws: Draws) -> _Ends:
    table = cell.by_class((cell.seen, cell.right, cell.seen - cell.answered))
    sums = draws.replicate(cell, table)

    def rates(rows: Array, *, open_right: bool) -> Array:
        top = rows[..., 1] + rows[..., 2] if open_right else rows[..., 1]
        rate = top / rows[..., 0]  # (…, 2, P)
        rate = np.where(np.isfinite(rate).all(axis=1, keepdims=True), rate, np.nan)
        return np.stack([over_prompts(rate[:, label]) for label in (0, 1)], axis=1)

    worst, best = (sums.map(lambda rows, k=k: rates(rows, open_right=k)) for k in (False, True))  # type: ignore[misc]
    return _Ends(cell, worst, best, clusters_with(table)[..., 0].max(axis=1).astype(np.float64))


def _interval(rates: Replicates, clusters: Array, level: float) -> Interval:
    first, second = (rates.map(lambda rows, k=k: rows[:, [k]]) for k in (1, 0))  # type: ignore[misc]
    return combined_interval(first, second, (clusters[[1]], clusters[[0]]), (0.5, 0.5), level)


def _estimates(ends: _Ends, settings: MeasureSettings) -> Iterator[Estimate]:
    level = settings.level
    batch = replace(ends.batch, level=level)
    enough = ends.clusters.min() >= 2
    reason = one_cluster(batch.clusters[0]) if ends.clusters.min() == 1 else NO_CLASS
    worst, best = (_interval(rates, ends.clusters, level) for rates in (ends.worst, ends.best))
    for name, method, value, low, high in (
        ("ba_if_right", METHOD_BA, ends.best.value.mean(), best.low[0], best.high[0]),
        ("ba_bounds", METHOD_BOUNDS, (ends.worst.value.mean() + ends.best.value.mean()) / 2, worst.low[0], best.high[0]),
    ):
        empty = blank(batch, name, method)
        yield finished(replace(empty, value=float(value) if enough else NAN, low=float(low), high=float(high)), reason)


def _leads(ends: Sequence[_Ends], settings: MeasureSettings) -> Iterator[Tested]:
    """Every two models of a task and cell that were asked the same, in the order of their names."""
    ordered = sorted(ends, key=lambda e: e.cell.panel.model)
    found = False
    for i, first in enumerate(ordered):
        for second in ordered[i + 1 :]:
            if first.cell.panel.model != second.cell.panel.model and comparable(first.cell, second.cell):
                found = True
                yield _lead(first, second, settings)
    if not found:
        for one in ordered:
            empty = blank(replace(one.batch, level=settings.level), "ba_lead", METHOD_LEAD)
            yield Tested(
                finished(replace(empty, value=NAN, low=NAN, high=NAN), "no other model was asked the same cases and wordings")
            )


def _lead(first: _Ends, second: _Ends, settings: MeasureSettings) -> Tested:
    clusters = np.minimum(first.clusters, second.clusters)
    empty = replace(blank(replace(first.batch, level=settings.level), "ba_lead", METHOD_LEAD, over=second.cell.panel.model))
    floor = float((0.25 / (clusters + 2) ** 2).sum())
    least, most = (_difference(a, b) for a, b in ((first.worst, second.best), (first.best, second.worst)))
    low, high = (shift(empty, rows, float(clusters.min()), floor, why=NO_CLASS) for rows in (least, most))
    if low.estimate.value is None or high.estimate.value is None:
        return Tested(low.estimate)
    value = (low.estimate.value + high.estimate.value) / 2
    # A lead is shown by its nearer bound, which lies below it by half of what the open answers leave unknown.
    unknown = (high.estimate.value - low.estimate.value) / 2
    mde = None if low.estimate.mde is None or high.estimate.mde is None else unknown + max(low.estimate.mde, high.estimate.mde)
    found = replace(low.estimate, value=value, high=high.estimate.high, mde=mde)
    p = low.p if low.estimate.value > 0 else high.p if high.estimate.value < 0 else 1.0
    return Tested(found, p, (low.narrow[0], high.narrow[1]))


def _difference(first: Replicates, second: Replicates) -> Replicates:
    return Replicates((first.rows - second.rows).mean(axis=1, keepdims=True), first.n_draws)


PARTS = (Bounds(),)
