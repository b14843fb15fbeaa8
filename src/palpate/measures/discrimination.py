"""Does the model tell the cases apart, whatever its threshold, its yes-bias and its refusals?"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from palpate.measures._cells import Cell, cells
from palpate.measures._estimates import Made, finished, judged, made, one_cluster
from palpate.measures._linear import (
    CLUSTERED,
    DELONG,
    NO_MARGIN,
    Flags,
    class_clusters,
    clusters_in_use,
    definite,
    margins,
    rate,
    says,
    shares,
)
from palpate.nouns import Estimate, Outcome, Panel
from palpate.parts import MeasureSettings
from palpate.stats.influence import share_interval
from palpate.stats.resampling import Array
from palpate.stats.roc import linear_auroc

NOT_BOTH = "only one class has a margin"


class Discrimination:
    """AUROC of the margin, how much probability the margin rests on, and whether the text says what the margin says."""

    name: ClassVar[str] = "discrimination"
    question: ClassVar[int] = 1
    estimates: ClassVar[Mapping[str, str]] = {
        "auroc": "Probability that a case with the condition gets a higher margin (of the cell: mean over its prompts) than one "
        "without (ties half); cases with a margin; chance 0.5",
        "answer_mass": "Mean total probability of the answer words at the first answer token; trials that record it",
        "margin_agreement": "Share of trials whose text says what the sign of the margin says; definite answers with a margin",
    }

    def measure(self, panels: Sequence[Panel], settings: MeasureSettings) -> Iterator[Estimate]:
        """Per cell and per prompt; the verdict says where the answer mass is too small to use the margin."""
        least = settings.thresholds.answer_mass
        rule = f"the margin is not used where answer_mass is below {least:g}"
        for panel in panels:
            for cell in cells(panel):
                batch = made(cell, settings.level)
                masses = list(_answer_mass(cell, batch))
                unused = [e.value is not None and e.value < least for e in masses]
                word = "margin not used"
                yield from (judged(e, word if low else None, rule) for e, low in zip(masses, unused, strict=True))
                areas = [_auroc(cell, batch), *_by_prompt(cell, batch)]
                yield from (judged(e, word if low else None, rule) for e, low in zip(areas, unused, strict=True))
                yield from _agreement(cell, batch)


def case_margin(cell: Cell) -> Array:
    """(n,) mean margin over repeats and prompts; NaN where any prompt has none, so that all cases rest on the same prompts."""
    by_prompt = margins(cell)
    used = np.isfinite(by_prompt).any(axis=0)
    return np.asarray(by_prompt[:, used].mean(axis=1)) if used.any() else np.full(by_prompt.shape[0], np.nan)


def _auroc(cell: Cell, batch: Made) -> Estimate:
    score = case_margin(cell)[:, None]
    kept = np.isfinite(score)
    clusters = class_clusters(cell, kept)[:, 0]
    count = int(clusters_in_use(cell, kept)[0])
    why = NOT_BOTH if kept.any() else NO_MARGIN
    missing = int((~np.isfinite(cell.panel.margin[:, cell.at])).sum())
    found = batch.estimate("auroc", 0, np.nan, (np.nan, np.nan), DELONG, why)
    found = replace(found, reason=why, n_cases=int(kept.sum()), n_clusters=count, n_left_out=missing)
    if clusters.min() < 2:
        return replace(found, reason=one_cluster(count)) if clusters.min() else found
    area = linear_auroc(score, *_classes(cell, kept), cell.panel.cluster, cell.clusters)
    interval = share_interval(area, clusters.min(), batch.level)
    value, low, high = float(area.value[0]), float(interval.low[0]), float(interval.high[0])
    return finished(replace(found, value=value, low=low, high=high, reason=None), "")


def _classes(cell: Cell, kept: Flags) -> tuple[Flags, Flags]:
    return np.broadcast_to(cell.positive[:, None], kept.shape), kept


def _by_prompt(cell: Cell, batch: Made) -> Iterator[Estimate]:
    score = margins(cell)
    kept = np.isfinite(score)
    area = linear_auroc(score, *_classes(cell, kept), cell.panel.cluster, cell.clusters)
    clusters = class_clusters(cell, kept).min(axis=0)
    found = list(shares(batch, "auroc", area, clusters, NOT_BOTH if kept.any() else NO_MARGIN, DELONG))
    return iter(found[1:])  # the first is the mean of the prompts' areas; the cell's is the area of their mean margin


def _answer_mass(cell: Cell, batch: Made) -> Iterator[Estimate]:
    """Over the cell: the mean over cases of their mean over prompts and repeats; then each prompt."""
    mass = cell.panel.mass[:, cell.at]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a case without any mass has no mean
        together = np.concatenate([np.nanmean(mass, axis=(1, 2))[:, None], np.nanmean(mass, axis=2)], axis=1)
    kept = np.isfinite(together)
    share = rate(cell, np.where(kept, together, 0.0), kept.astype(float))
    clusters = clusters_in_use(cell, kept)[1:]
    interval = share_interval(share, clusters, batch.level)
    found = batch.all("answer_mass", share.value, interval, CLUSTERED, NO_MARGIN, clusters)
    for estimate, count, cases in zip(found, clusters, kept.sum(axis=0), strict=True):
        yield replace(estimate, n_cases=int(cases), n_clusters=int(count))


def _agreement(cell: Cell, batch: Made) -> Iterator[Estimate]:
    margin = cell.panel.margin[:, cell.at]
    used = definite(cell) & np.isfinite(margin) & (margin != 0)
    agrees = used & (says(cell, Outcome.POSITIVE) == (margin > 0))
    found = rate(cell, agrees.sum(axis=2).astype(float), used.sum(axis=2).astype(float))
    why = "no definite answer" if np.isfinite(margin).any() else NO_MARGIN
    yield from shares(batch, "margin_agreement", found, clusters_in_use(cell, used.any(axis=2)), why)


PARTS = (Discrimination(),)
