"""Did tuning help, when each model is asked in the way that suits it, or by what it tells apart rather than what it says?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from palpate.measures._cells import Cell
from palpate.measures._estimates import finished, made, one_cluster
from palpate.measures._linear import CLUSTERED_T, NO_MARGIN, Flags, balanced, class_clusters, clusters_in_use, margins
from palpate.measures._pairs import NOT_PAIRED, ONE_CLASS, CellPair, cell_pairs
from palpate.measures._tests import Ruling, Tested, undefined, with_words
from palpate.nouns import Estimate, Panel
from palpate.parts import MeasureSettings
from palpate.stats.folds import grouped_folds
from palpate.stats.influence import Linear, change_interval
from palpate.stats.intervals import two_sided_p
from palpate.stats.resampling import Array, generator
from palpate.stats.roc import linear_auroc
from palpate.stats.verdicts import detectable_difference

METHOD_AUROC = f"paired, DeLong's variance for clustered data, {CLUSTERED_T}"


class Fair:
    """Tuned minus base in AUROC, and in balanced accuracy with each model's own best prompt, chosen on other cases."""

    name: ClassVar[str] = "fair"
    question: ClassVar[int] = 4
    estimates: ClassVar[Mapping[str, str]] = {
        "delta_auroc": "AUROC of the mean margin of the tuned − of the base model, on cases and prompts with a margin under both",
        "delta_ba_best_prompts": "ba_all of the tuned − of the base model, each with its own best prompt, chosen on a third of the "
        "cases and scored on the others; trials read under both",
    }

    def measure(self, panels: Sequence[Panel], settings: MeasureSettings) -> Iterator[Estimate]:
        """Per pair, task and cell; verdicts hold over the tasks of a pair (Holm)."""
        found = [t for pair in cell_pairs(panels, settings.lineages) for t in _differences(pair, settings)]
        ruling = Ruling(("better", "worse"), 1 - settings.level, settings.thresholds.equivalence)
        yield from with_words(found, lambda e: ruling)


def _differences(pair: CellPair, settings: MeasureSettings) -> Iterator[Tested]:
    base, tuned = pair.base, pair.tuned
    batch = replace(made(base, settings.level), by=pair.by)
    if tuned is None:
        yield from undefined(batch, Fair.estimates, NOT_PAIRED, METHOD_AUROC)
        return
    area, used = _auroc(base, tuned)
    why = ONE_CLASS if used.any() else NO_MARGIN
    yield _one("delta_auroc", pair.by, area, base, used, METHOD_AUROC, why, settings)
    difference, used, chosen = _best_prompts(base, tuned, settings)
    method = f"paired, {CLUSTERED_T}; chosen on a third of the cases, scored on the others: {chosen}"
    yield _one("delta_ba_best_prompts", pair.by, difference, base, used, method, ONE_CLASS, settings)


def _auroc(base: Cell, tuned: Cell) -> tuple[Linear, Flags]:
    scores = margins(base), margins(tuned)
    prompts = np.isfinite(scores[0]).any(axis=0) & np.isfinite(scores[1]).any(axis=0)
    blank = np.full((scores[0].shape[0], 1), np.nan)
    means = [s[:, prompts].mean(axis=1, keepdims=True) if prompts.any() else blank for s in scores]
    used = np.isfinite(means[0]) & np.isfinite(means[1])
    positive = np.broadcast_to(base.positive[:, None], used.shape)
    first, second = (linear_auroc(np.where(used, m, 0.0), positive, used, base.panel.cluster, base.clusters).mean() for m in means)
    return second - first, used


def _best_prompts(base: Cell, tuned: Cell, settings: MeasureSettings) -> tuple[Linear, Flags, str]:
    """Each model's best prompt on a third of the cases is scored on the others (METHODS D3), so the choice is given.

    One way only: scoring the third as well, with prompts chosen on the rest, makes both parts depend on each other. The interval
    that takes the choices as given then holds .92, not .95.
    """
    both = base.seen * tuned.seen
    third = grouped_folds(base.panel.label, base.panel.cluster, 3, generator(settings.seed, base.panel.task, "best prompts"))
    chosen = third == 0
    best = [_best(cell, both, chosen) for cell in (base, tuned)]
    if min(best) < 0:
        return Linear(np.asarray(np.nan), np.full(base.clusters, np.nan)), np.zeros((third.size, 1), bool), "none"
    read = (both[:, best[0]] * both[:, best[1]] * ~chosen)[:, None]
    first, second = (balanced(c, c.right[:, [p]] * read, read).mean() for c, p in zip((base, tuned), best, strict=True))
    return second - first, read > 0, " and ".join(base.prompts[p] for p in best)


def _best(cell: Cell, both: Array, rows: NDArray[np.bool_]) -> int:
    """The prompt with the highest ba_all on these cases, the first of equals; −1 where none has both classes."""
    value = balanced(cell, cell.right * both * rows[:, None], both * rows[:, None]).value
    return int(np.nanargmax(value)) if np.isfinite(value).any() else -1


def _one(
    name: str, by: Mapping[str, str], value: Linear, cell: Cell, used: Flags, method: str, why: str, settings: MeasureSettings
) -> Tested:
    clusters = class_clusters(cell, used)[:, 0]
    least, count = int(clusters.min()), int(clusters_in_use(cell, used)[0])
    floor = float((0.25 / (clusters + 2.0) ** 2).sum())
    wide, narrow = (change_interval(value, floor, max(least, 1), at) for at in (settings.level, 2 * settings.level - 1))
    defined = least >= 2 and bool(np.isfinite(value.value))
    number = float(value.value) if defined else np.nan
    bounds = max(float(wide.low), -1.0), min(float(wide.high), 1.0)
    empty = Estimate(name, by, number, *bounds, settings.level, method, int(used.any(axis=1).sum()), count, int((~used).sum()))
    found = finished(empty, why if least == 0 else one_cluster(count))
    if not used.any() and why == NO_MARGIN:
        found = replace(found, reason=why)
    if not defined:
        return Tested(found)
    mde = float(detectable_difference(wide.error, wide.freedom, alpha=1 - settings.level))
    p = float(two_sided_p(value.value / wide.error, wide.freedom))
    return Tested(replace(found, mde=mde if np.isfinite(mde) else None), p, (float(narrow.low), float(narrow.high)))


PARTS = (Fair(),)
