"""Did tuning help, when each model is asked in the way that suits it, or by what it tells apart rather than what it says?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from palpate.measures._cells import Cell, cells
from palpate.measures._estimates import finished, judged, one_cluster, place
from palpate.measures._linear import CLUSTERED_T, NO_MARGIN, Flags, balanced, class_clusters, clusters_in_use, margins
from palpate.measures._pairing import pairs, same_cell
from palpate.nouns import Estimate, Lineage, Panel
from palpate.parts import MeasureSettings
from palpate.stats.folds import grouped_folds
from palpate.stats.influence import Linear, change_interval
from palpate.stats.intervals import two_sided_p
from palpate.stats.resampling import Array, generator
from palpate.stats.roc import linear_auroc
from palpate.stats.verdicts import four_way, holm

ONE_CLASS = "only one class was read under both models"
METHOD_AUROC = f"paired, DeLong's variance for clustered data, {CLUSTERED_T}"


class Fair:
    """Tuned minus base in AUROC, and in balanced accuracy with each model's own best prompt, chosen on other cases."""

    name: ClassVar[str] = "fair"
    question: ClassVar[int] = 4
    estimates: ClassVar[Mapping[str, str]] = {
        "delta_auroc": "AUROC of the mean margin of the tuned − of the base model, on cases and prompts with a margin under both",
        "delta_ba_best_prompts": "ba_all of the tuned − of the base model, each with its own best prompt, chosen on one half of "
        "the cases and scored on the other, both ways; trials read under both",
    }

    def measure(self, panels: Sequence[Panel], settings: MeasureSettings) -> Iterator[Estimate]:
        """Per pair, task and cell; verdicts hold over the tasks of a pair (Holm)."""
        found: list[_Difference] = []
        for lineage in settings.lineages:
            for base, tuned in pairs(panels, lineage):
                for cell in cells(base):
                    other = same_cell(cell, tuned)
                    if other is not None:
                        found += _differences(lineage, cell, other, settings)
        yield from _with_verdicts(found, settings)


@dataclass(frozen=True, slots=True)
class _Difference:
    """An estimate with what its verdict needs; ``p`` NaN where it has none."""

    estimate: Estimate
    p: float
    narrow: tuple[float, float]


def _differences(lineage: Lineage, base: Cell, tuned: Cell, settings: MeasureSettings) -> Iterator[_Difference]:
    by = {"base": lineage.base, "tuned": lineage.tuned, "relation": lineage.relation}
    by |= {k: v for k, v in place(base.panel, base.name).items() if k != "model"}
    area, used = _auroc(base, tuned)
    why = ONE_CLASS if used.any() else NO_MARGIN
    yield _one("delta_auroc", by, area, base, used, METHOD_AUROC, why, settings)
    difference, used, chosen = _best_prompts(base, tuned, settings)
    method = f"paired, {CLUSTERED_T}; best prompts of the halves: {chosen}"
    yield _one("delta_ba_best_prompts", by, difference, base, used, method, ONE_CLASS, settings)


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
    """Each half's best prompt of each model is used on the other half (METHODS D3); the choice is taken as given."""
    both = base.seen * tuned.seen
    half = grouped_folds(base.panel.label, base.panel.cluster, 2, generator(settings.seed, base.panel.task, "halves"))
    scored = np.zeros((half.size, 1, 3))  # base right, tuned right, read under both of their best prompts
    named: list[str] = []
    for dev in (0, 1):
        rows = half != dev
        best = [_best(cell, both, half == dev) for cell in (base, tuned)]
        if min(best) < 0:
            return Linear(np.asarray(np.nan), np.full(base.clusters, np.nan)), scored[..., 2] > 0, "none"
        read = both[:, best[0]] * both[:, best[1]] * rows
        columns = [c.right[:, p] * read for c, p in zip((base, tuned), best, strict=True)]
        scored[:, 0] += np.stack([*columns, read], axis=1)
        named.append(" and ".join(dict.fromkeys(base.prompts[p] for p in best)))
    first, second = (balanced(base, scored[..., k], scored[..., 2]).mean() for k in (0, 1))
    return second - first, scored[..., 2] > 0, "; ".join(named)


def _best(cell: Cell, both: Array, rows: NDArray[np.bool_]) -> int:
    """The prompt with the highest ba_all on these cases, the first of equals; −1 where none has both classes."""
    value = balanced(cell, cell.right * both * rows[:, None], both * rows[:, None]).value
    return int(np.nanargmax(value)) if np.isfinite(value).any() else -1


def _one(
    name: str, by: Mapping[str, str], value: Linear, cell: Cell, used: Flags, method: str, why: str, settings: MeasureSettings
) -> _Difference:
    clusters = class_clusters(cell, used)[:, 0]
    least, count = int(clusters.min()), int(clusters_in_use(cell, used)[0])
    floor = float((0.25 / (clusters + 2.0) ** 2).sum())
    wide, narrow = (change_interval(value, floor, max(least, 1), at) for at in (settings.level, 2 * settings.level - 1))
    defined = least >= 2 and bool(np.isfinite(value.value))
    number = float(value.value) if defined else np.nan
    bounds = max(float(wide.low), -1.0), min(float(wide.high), 1.0)
    cases = int(used.any(axis=1).sum())
    reason = why if least == 0 else one_cluster(count)
    missing = int((~used).sum())
    found = finished(Estimate(name, by, number, *bounds, settings.level, method, cases, count, missing), reason)
    if not used.any() and why == NO_MARGIN:
        found = replace(found, reason=why)
    p = float(two_sided_p(value.value / wide.error, wide.freedom)) if defined else np.nan
    return _Difference(found, p, (float(narrow.low), float(narrow.high)))


def _with_verdicts(found: Sequence[_Difference], settings: MeasureSettings) -> Iterator[Estimate]:
    """Holm over the tasks of one pair, for one estimate of one cell."""
    families: dict[tuple[str, ...], list[int]] = {}
    for at, difference in enumerate(found):
        by = difference.estimate.by
        key = (difference.estimate.measure, by["base"], by["tuned"], by["cell"], by.get("perturbation", ""))
        families.setdefault(key, []).append(at)
    adjusted = np.full(len(found), np.nan)
    for members in families.values():
        adjusted[members] = holm([found[at].p for at in members])
    alpha, margin = 1 - settings.level, settings.thresholds.equivalence
    rule = f"other than 0 (Holm over tasks), equivalent if its {100 - 200 * alpha:.3g} % interval is within {margin:g} of it"
    for difference, p in zip(found, adjusted, strict=True):
        e = difference.estimate
        if e.value is None or not np.isfinite(p):
            yield replace(e, verdict=None)
            continue
        yield judged(e, four_way(e.value, float(p), difference.narrow, margin=margin, alpha=alpha, words=("better", "worse")), rule)


PARTS = (Fair(),)
