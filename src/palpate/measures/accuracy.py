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
from palpate.stats.intervals import Interval, combined_of, correlation, effective_size, proportion_interval, two_sided_p
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
                of_classes, batch = _Balanced.of(sums), made(cell, settings.level)
                found.extend(_against_chance(list(_estimates(cell, sums, of_classes, batch)), of_classes, settings))
        yield from with_words(found, lambda e: _ruling(e, settings))


def _sums(cell: Cell, draws: Draws) -> _Sums:
    table = cell.by_class((cell.seen, cell.right, cell.answered))
    stacked = draws.replicate(cell, table)
    clusters = clusters_with(table).astype(np.float64)
    seen, right, answered = (stacked.map(lambda rows, k=k: rows[..., k]) for k in range(3))  # type: ignore[misc]
    return _Sums(seen, right, answered, clusters[..., 0], clusters[..., 2])


def _estimates(cell: Cell, sums: _Sums, of_classes: _Balanced, batch: Made) -> Iterator[Estimate]:
    by_class = of_classes.clusters
    interval = of_classes.interval(batch.level)
    for at, (name, why) in enumerate((("ba_all", NO_CLASS), ("ba_answered", NO_ANSWER))):
        yield from batch.all(name, of_classes.value[at], interval[at], METHOD_BA, why, by_class[:, at].min(axis=0))
    (absent, present), answered_by = by_class[:, 0], by_class[:, 1]
    whole = np.asarray(batch.clusters, np.float64)
    # F1 is a proportion of the right among the positive, said or true, so it rests on no more than the larger class.
    larger = np.minimum(np.maximum(np.maximum(absent, present), 1), whole)
    # Name, clusters its interval rests on, clusters without which it is not given, why not.
    wanted: tuple[tuple[str, Array, Array, str], ...] = (
        ("coverage", whole, whole, ""),
        ("accuracy_all", whole, whole, ""),
        ("accuracy_answered", _answered_clusters(cell), _answered_clusters(cell), "no definite answer"),
        ("sensitivity", present, present, "no case with the condition was read"),
        ("specificity", absent, absent, "no case without the condition was read"),
        ("f1_all", larger, np.minimum(absent, present), NO_CLASS),
        ("f1_nr", larger, answered_by.min(axis=0), NO_ANSWER),
    )
    rates = _rates(sums)
    intervals = proportion_interval(rates, np.stack([clusters for _, clusters, _, _ in wanted]), batch.level)
    for at, (name, _, clusters, why) in enumerate(wanted):
        estimates = list(batch.all(name, rates.value[at], intervals[at], METHOD, why, clusters))
        yield from estimates
        if name == "accuracy_all" and cell.panel.best_accuracy:
            yield from _share_of_best(estimates, cell.panel.best_accuracy)


def _rates(sums: _Sums) -> Replicates:
    """(…, 7, P + 1) coverage, accuracy of all and of the answered, sensitivity, specificity, and F1 of all and of the answered."""
    seen, right, answered = (s.rows for s in (sums.seen, sums.right, sums.answered))
    all_seen, all_right, all_answered = (rows.sum(axis=1) for rows in (seen, right, answered))
    tops = all_answered, all_right, all_right, right[:, 1], right[:, 0]
    bottoms = all_seen, all_seen, all_answered, seen[:, 1], seen[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = [top / bottom for top, bottom in zip(tops, bottoms, strict=True)]
        rates = np.stack([*ratios, _f1(right, seen), _f1(right, answered)], axis=1)
    return Replicates(with_mean(rates), sums.seen.n_draws)


def _f1(right: Array, rows: Array) -> Array:
    """2 TP / (2 TP + FN + FP), a trial of ``rows`` that is not right being a false negative or a false positive by its label."""
    true = right[:, 1]
    value = 2 * true / (true + rows[:, 1] + rows[:, 0] - right[:, 0])
    return np.where((rows > 0).all(axis=1), value, np.nan)


@dataclass(frozen=True, slots=True)
class _Balanced:
    """(2, P + 1) balanced accuracy of all and of the answered, of the cell and its prompts, and what its intervals rest on."""

    value: Array
    parts: tuple[Array, Array]  # sensitivity and specificity
    sizes: tuple[Array, Array]
    correlation: Array
    clusters: Array  # (2 classes, 2, P + 1)

    @classmethod
    def of(cls, sums: _Sums) -> _Balanced:
        """From the sums by class."""
        clusters = np.stack([_cell_first(c) for c in (sums.clusters_seen, sums.clusters_answered)], axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            rates = np.stack([sums.right.rows / bottom.rows for bottom in (sums.seen, sums.answered)], axis=2)  # (…, 2, 2, P)
        # The mean is taken over the prompts where both classes are defined.
        rates = with_mean(np.where(np.isfinite(rates).all(axis=1, keepdims=True), rates, np.nan))
        second, first = (Replicates(rates[:, label], sums.seen.n_draws) for label in (0, 1))
        sizes = effective_size(first, clusters[1]), effective_size(second, clusters[0])
        parts = first.value, second.value
        return cls((parts[0] + parts[1]) / 2, parts, sizes, correlation(first, second), clusters)

    def interval(self, level: float) -> Interval:
        """At that level."""
        return combined_of(self.parts, self.sizes, self.correlation, (self.clusters[1], self.clusters[0]), (0.5, 0.5), level)


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


def _against_chance(found: Sequence[Estimate], of_classes: _Balanced, settings: MeasureSettings) -> Iterator[Tested]:
    """The estimates of one cell, the first ones (ba_all of the cell and its prompts) with the test of ba_answered against 0.5."""
    value, narrow = of_classes.value[1], of_classes.interval(2 * settings.level - 1)[1]
    enough = of_classes.clusters[:, 1].min(axis=0) >= 2
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
