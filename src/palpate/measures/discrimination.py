"""Does the model tell the cases apart, whatever its threshold, its yes-bias and its refusals?"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from palpate.measures._cells import Cell, Draws, cells
from palpate.measures._estimates import METHOD, ONE_CLUSTER, finished, judged, made, one_cluster
from palpate.nouns import Estimate, Panel
from palpate.parts import MeasureSettings
from palpate.stats.intervals import proportion_interval
from palpate.stats.resampling import Array, cluster_sums, replicate
from palpate.stats.roc import replicate_auroc

NO_MARGIN = "the model gives no probabilities of its answers"


class Discrimination:
    """AUROC of the margin, and how much probability the margin rests on."""

    name: ClassVar[str] = "discrimination"
    question: ClassVar[int] = 1
    estimates: ClassVar[Mapping[str, str]] = {
        "auroc": "Probability that a case with the condition gets a higher margin, mean over the prompts of the cell, than one "
        "without (ties half); cases with a margin; chance 0.5",
        "answer_mass": "Mean total probability of the answer words at the first answer token; trials that record it",
    }

    def measure(self, panels: Sequence[Panel], settings: MeasureSettings) -> Iterator[Estimate]:
        """One of each per cell; the verdict says whether the answer mass is too small to use the margin."""
        draws = Draws(settings.seed, settings.draws)
        for panel in panels:
            for cell in cells(panel):
                mass = _answer_mass(cell, draws, settings)
                yield mass
                yield judged(_auroc(cell, draws, settings), mass.verdict, _rule(settings))


def _rule(settings: MeasureSettings) -> str:
    return f"the margin is not used where answer_mass is below {settings.thresholds.answer_mass:g}"


def _mean(values: Array, axes: tuple[int, ...]) -> Array:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a case without any margin has no mean
        return np.asarray(np.nanmean(values, axis=axes))


def _case_margin(cell: Cell) -> Array:
    """(n,) mean margin over repeats and prompts; NaN where any prompt has none, so that all cases rest on the same prompts."""
    by_prompt = _mean(cell.panel.margin[:, cell.at], (2,))
    used = np.isfinite(by_prompt).any(axis=0)
    return np.asarray(by_prompt[:, used].mean(axis=1)) if used.any() else np.full(by_prompt.shape[0], np.nan)


def _auroc(cell: Cell, draws: Draws, settings: MeasureSettings) -> Estimate:
    score = _case_margin(cell)
    kept = np.isfinite(score)
    label, cluster = cell.panel.label[kept], cell.panel.cluster[kept]
    clusters = [int(np.unique(cluster[label == y]).size) for y in (0, 1)]
    batch = made(cell, settings.level)
    count = int(np.unique(cluster).size)
    why = "only one class has a margin" if kept.any() else NO_MARGIN
    missing = int((~np.isfinite(cell.panel.margin[:, cell.at])).sum())
    found = batch.estimate("auroc", 0, np.nan, (np.nan, np.nan), METHOD, why)
    found = replace(found, reason=why, n_cases=int(kept.sum()), n_clusters=count, n_left_out=missing)
    if min(clusters) < 2:
        return replace(found, reason=one_cluster(count)) if min(clusters) else found
    weights = draws.of(cell.panel.task, cell.clusters)
    replicates = replicate_auroc(score[kept], label, cluster, weights)
    interval = proportion_interval(replicates, min(clusters), settings.level)
    value, low, high = float(replicates.value[0]), float(interval.low[0]), float(interval.high[0])
    return finished(replace(found, value=value, low=low, high=high, reason=None), "")


def _answer_mass(cell: Cell, draws: Draws, settings: MeasureSettings) -> Estimate:
    mass = _mean(cell.panel.mass[:, cell.at], (1, 2))
    kept = np.isfinite(mass)
    cluster = cell.panel.cluster
    table = cluster_sums(np.stack([np.where(kept, mass, 0.0), kept.astype(float)], axis=1), cluster, cell.clusters)
    rate = replicate(table, draws.of(cell.panel.task, cell.clusters)).map(lambda rows: rows[:, :1] / rows[:, 1:])
    clusters = int((table[:, 1] > 0).sum())
    batch = made(cell, settings.level)
    interval = proportion_interval(rate, clusters, settings.level)
    bounds = (float(interval.low[0]), float(interval.high[0]))
    value = float(rate.value[0]) if clusters >= 2 else np.nan
    found = batch.estimate("answer_mass", 0, value, bounds, METHOD, ONE_CLUSTER if clusters == 1 else NO_MARGIN)
    found = replace(found, n_cases=int(kept.sum()), n_clusters=clusters)
    low_mass = found.value is not None and found.value < settings.thresholds.answer_mass
    return judged(found, "margin not used" if low_mass else None, _rule(settings))


PARTS = (Discrimination(),)
