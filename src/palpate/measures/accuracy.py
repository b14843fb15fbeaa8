"""How often is the model right, and is that better than chance?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from palpate.measures._cells import Cell, Draws, cells, clusters_with
from palpate.measures._estimates import METHOD, METHOD_BA, Made, made, with_mean
from palpate.measures._tests import Ruling, Tested, with_words
from palpate.nouns import Estimate, Panel
from palpate.parts import Headline, MeasureSettings
from palpate.stats.intervals import Interval, combined_interval, proportion_interval, two_sided_p
from palpate.stats.resampling import Array, Replicates
from palpate.stats.verdicts import detectable_difference

CHANCE = 0.5
WORDS = ("above chance", "below chance")

NO_CLASS = "only one class was read: balanced accuracy needs cases with and without the condition"
NO_ANSWER = "no definite answer in at least one class"


@dataclass(frozen=True, slots=True)
class _Sums:
    """Replicated sums (…, 2 classes, P): seen, right and answered readings, and the clusters they come from (2, P) each."""

    seen: Replicates
    right: Replicates
    answered: Replicates
    clusters_seen: Array
    clusters_answered: Array


class Accuracy:
    """Balanced accuracy, its parts, and the verdict against chance, over the prompts of a cell and for each prompt."""

    name: ClassVar[str] = "accuracy"
    question: ClassVar[int] = 1
    estimates: ClassVar[Mapping[str, str]] = {
        "ba_all": "Balanced accuracy, (sensitivity + specificity)/2, of all read trials, a non-answer counting as wrong (chance: "
        "half the coverage). Its verdict against chance is taken on ba_answered, whose chance is 0.5",
        "ba_answered": "Balanced accuracy of definite answers only; chance is 0.5",
        "coverage": "Definite answers / all read trials",
        "accuracy_all": "Right answers / all read trials, a non-answer counting as wrong",
        "accuracy_answered": "Right answers / definite answers",
        "sensitivity": "Right answers / all read trials of cases with the condition, a non-answer counting as wrong",
        "specificity": "Right answers / all read trials of cases without it, a non-answer counting as wrong",
        "f1_all": "F1 of the condition over all read trials, a non-answer counting as the opposite of the label. No chance level: "
        "always saying yes scores 0.667 on balanced cases",
        "f1_nr": "F1 of the condition over definite answers only (refusals and other non-answers left out); no chance level",
        "accuracy_share_of_best": "accuracy_all / the best accuracy any reader can reach on these cases, where that is known",
    }

    headlines: ClassVar[tuple[Headline, ...]] = (Headline("ba_all", CHANCE, ("ba_answered", "coverage", "auroc")),)

    def measure(self, panels: Sequence[Panel], settings: MeasureSettings) -> Iterator[Estimate]:
        """Estimates per cell and per prompt; the verdict on ba_all holds over the tasks of a model, or its prompts (Holm)."""
        draws = Draws(settings.seed, settings.draws)
        found: list[Tested] = []
        for panel in panels:
            for cell in cells(panel):
                sums = _sums(cell, draws)
                batch = made(cell, settings.level)
                found.extend(_against_chance(list(_estimates(cell, sums, batch)), sums, batch, settings))
        yield from with_words(found, lambda e: _ruling(e, settings))


def _sums(cell: Cell, draws: Draws) -> _Sums:
    table = cell.by_class((cell.seen, cell.right, cell.answered))
    stacked = draws.replicate(cell, table)
    clusters = clusters_with(table).astype(np.float64)
    seen, right, answered = (stacked.map(lambda rows, k=k: rows[..., k]) for k in range(3))  # type: ignore[misc]
    return _Sums(seen, right, answered, clusters[..., 0], clusters[..., 2])


def _estimates(cell: Cell, sums: _Sums, batch: Made) -> Iterator[Estimate]:
    level = batch.level
    seen, right, answered = sums.seen, sums.right, sums.answered
    seen_by, answered_by = (_cell_first(c) for c in (sums.clusters_seen, sums.clusters_answered))
    for name, bottom, by_class, why in (("ba_all", seen, seen_by, NO_CLASS), ("ba_answered", answered, answered_by, NO_ANSWER)):
        first, second = _class_rates(right, bottom)
        interval = combined_interval(first, second, (by_class[1], by_class[0]), (0.5, 0.5), level)
        value = (first.value + second.value) / 2
        yield from batch.all(name, value, interval, METHOD_BA, why, by_class.min(axis=0))
    both = np.maximum(seen_by.max(axis=0), 1)
    whole = np.asarray(batch.clusters)
    rates: tuple[tuple[str, Replicates, Replicates, Array, str], ...] = (
        ("coverage", _both(answered), _both(seen), whole, ""),
        ("accuracy_all", _both(right), _both(seen), whole, ""),
        ("accuracy_answered", _both(right), _both(answered), _answered_clusters(cell), "no definite answer"),
        ("sensitivity", _one(right, 1), _one(seen, 1), seen_by[1], "no case with the condition was read"),
        ("specificity", _one(right, 0), _one(seen, 0), seen_by[0], "no case without the condition was read"),
    )
    for name, top, bottom, clusters, why in rates:
        rate = _ratio(top, bottom).map(with_mean)
        interval = proportion_interval(rate, clusters, level)
        estimates = list(batch.all(name, rate.value, interval, METHOD, why, clusters))
        yield from estimates
        if name == "accuracy_all" and cell.panel.best_accuracy:
            yield from _share_of_best(estimates, cell.panel.best_accuracy)
    for name, bottom, by_class, why in (("f1_all", seen, seen_by, NO_CLASS), ("f1_nr", answered, answered_by, NO_ANSWER)):
        rate = _f1(right, bottom).map(with_mean)
        # F1 is a proportion of the right among the positive, said or true, so it rests on no more than the larger class.
        interval = proportion_interval(rate, np.minimum(both, whole), level)
        yield from batch.all(name, rate.value, interval, METHOD, why, by_class.min(axis=0))


def _class_rates(right: Replicates, bottom: Replicates) -> tuple[Replicates, Replicates]:
    """(…, P + 1) sensitivity and specificity, the mean taken over the prompts where both are defined."""

    def rates(rows: Array) -> Array:
        rate = rows[:, :2] / rows[:, 2:]
        return np.where(np.isfinite(rate).all(axis=1, keepdims=True), rate, np.nan)

    stacked = Replicates(np.concatenate([right.rows, bottom.rows], axis=1), right.n_draws).map(rates)
    return stacked.map(lambda r: with_mean(r[:, 1])), stacked.map(lambda r: with_mean(r[:, 0]))


def _both(sums: Replicates) -> Replicates:
    return sums.map(lambda rows: rows.sum(axis=1))


def _one(sums: Replicates, label: int) -> Replicates:
    return sums.map(lambda rows: rows[:, label])


def _ratio(top: Replicates, bottom: Replicates) -> Replicates:
    with np.errstate(divide="ignore", invalid="ignore"):
        return Replicates(top.rows / bottom.rows, top.n_draws)


def _f1(right: Replicates, bottom: Replicates) -> Replicates:
    """2 TP / (2 TP + FN + FP), a trial of ``bottom`` that is not right being a false negative or a false positive by its label."""

    def score(right_rows: Array, rows: Array) -> Array:
        true = right_rows[:, 1]
        value = 2 * true / (true + rows[:, 1] + rows[:, 0] - right_rows[:, 0])
        return np.where((rows > 0).all(axis=1), value, np.nan)

    with np.errstate(divide="ignore", invalid="ignore"):
        return Replicates(score(right.rows, bottom.rows), right.n_draws)


def _cell_first(by_class: Array) -> Array:
    """(2, P + 1) clusters of each class: for the cell, the most any of its prompts has."""
    return np.concatenate([by_class.max(axis=1, keepdims=True), by_class], axis=1)


def _answered_clusters(cell: Cell) -> Array:
    answered = cell.answered > 0
    cluster = cell.panel.cluster
    return np.array([np.unique(cluster[kept]).size for kept in (answered.any(axis=1), *answered.T)], np.float64)


def _share_of_best(estimates: Sequence[Estimate], best: float) -> Iterator[Estimate]:
    for e in estimates:
        value, low, high = (None if x is None else x / best for x in (e.value, e.low, e.high))
        method = f"{e.method}; divided by the best possible {best:.4g}"
        yield replace(e, measure="accuracy_share_of_best", value=value, low=low, high=high, method=method)


# ---------------------------------------------------------------- against chance


def _against_chance(found: Sequence[Estimate], sums: _Sums, batch: Made, settings: MeasureSettings) -> Iterator[Tested]:
    """The estimates of one cell, the first ones (ba_all of the cell and its prompts) with the test of ba_answered against 0.5."""
    first, second = _class_rates(sums.right, sums.answered)
    by_class = _cell_first(sums.clusters_answered)
    narrow: Interval = combined_interval(first, second, (by_class[1], by_class[0]), (0.5, 0.5), 2 * settings.level - 1)
    value = (first.value + second.value) / 2
    enough = by_class.min(axis=0) >= 2
    p = np.where(enough, two_sided_p((value - CHANCE) / narrow.error, narrow.freedom), np.nan)
    mde = np.where(enough, detectable_difference(narrow.error, narrow.freedom, alpha=1 - settings.level), np.nan)
    for at, estimate in enumerate(found):
        if at >= value.size or estimate.value is None or not np.isfinite(p[at]):
            yield Tested(estimate)
            continue
        shown = replace(estimate, mde=float(mde[at]) if np.isfinite(mde[at]) else None)
        yield Tested(shown, float(p[at]), (float(narrow.low[at]), float(narrow.high[at])), float(value[at]))


def _ruling(e: Estimate, settings: MeasureSettings) -> Ruling | None:
    """At chance: how close to it is wider below ``chance_small`` cases, where the narrower would be out of reach."""
    if e.measure != "ba_all":
        return None
    bounds = settings.thresholds
    margin = bounds.chance_margin_small if e.n_cases < bounds.chance_small else bounds.chance_margin
    return Ruling(WORDS, 1 - settings.level, margin, CHANCE, near="at chance", about="ba_answered ")


PARTS = (Accuracy(),)
