"""Is an answer steady because the model sees, or because it does not look? Consistency and reliance, case by case."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from palpate.measures._cells import Cell, cells
from palpate.measures._estimates import Made, made
from palpate.measures._linear import CLUSTERED, clusters_in_use, rate, whole
from palpate.measures._pairing import NULL_IMAGES, change, kind_counts, same_cell, with_others
from palpate.nouns import Estimate, Panel
from palpate.parts import MeasureSettings
from palpate.stats.influence import share_interval
from palpate.stats.resampling import Array

QUADRANTS = ("ideal", "fragile", "dangerous", "worst")
RELIES = 0.5
ONE_WORDING = "one wording: consistency needs at least two of the same cell"
NOT_BOTH = "no case was read under two wordings, and without an image"
NO_NULL = "no null image was asked: add blank, noise, no_image or other_modality to the study's perturbations"


class Quadrants:
    """Shares of cases that are consistent over the wordings or not, and move with the image or not."""

    name: ClassVar[str] = "quadrants"
    question: ClassVar[int] = 5
    estimates: ClassVar[Mapping[str, str]] = {
        "quadrant_share": "Share of cases: ideal (consistent over wordings, and the answer is another on null images), fragile "
        "(not consistent, another), dangerous (consistent, the same), worst (neither); cases read under two wordings, and "
        "on a null image",
    }

    def measure(self, panels: Sequence[Panel], settings: MeasureSettings) -> Iterator[Estimate]:
        """Four shares per cell; they add up to 1."""
        for panel, others in with_others(panels):
            for cell in cells(panel):
                found = [same_cell(cell, p) for p in others if p.perturbation.name in NULL_IMAGES]
                yield from _quadrants(cell, [c for c in found if c is not None], made(cell, settings.level), settings)


def _quadrants(cell: Cell, nulls: Sequence[Cell], batch: Made, settings: MeasureSettings) -> Iterator[Estimate]:
    """arXiv 2603.20985. Consistent: at least ``consistent`` of a case's readings end alike. Reliant: over half of its readings
    end otherwise than on the null images (the mean over prompts and null images)."""
    counts = kind_counts(cell)
    by_kind = counts.sum(axis=1)
    total = by_kind.sum(axis=1)
    consistent = by_kind.max(axis=1, initial=0.0) >= settings.thresholds.consistent * total - 1e-9
    moved, pairs = np.zeros(total.shape), np.zeros(total.shape)
    for null in nulls:
        differs, both = change(counts, kind_counts(null))
        moved, pairs = moved + differs.sum(axis=1), pairs + both.sum(axis=1)
    reliant = moved > RELIES * pairs
    # One reading agrees with itself: it says nothing of consistency.
    worded = (counts.sum(axis=-1) > 0).sum(axis=1) > 1
    used = (worded & (pairs > 0))[:, None].astype(float)
    clusters = int(clusters_in_use(cell, used > 0)[0])
    members: tuple[Array, ...] = (consistent & reliant, ~consistent & reliant, consistent & ~reliant, ~consistent & ~reliant)
    least = settings.thresholds.consistent
    how = (
        f"{CLUSTERED}; consistent: at least {100 * least:.3g} % of the wordings end alike; another: in over half of the comparisons"
    )
    why = NO_NULL if not nulls else ONE_WORDING if len(cell.prompts) < 2 else NOT_BOTH
    for name, member in zip(QUADRANTS, members, strict=True):
        share = rate(cell, member[:, None] * used, used)
        found = whole(batch, "quadrant_share", share.value, share_interval(share, clusters, batch.level), how, why, clusters)
        cases = int(used.sum())
        yield replace(found, by={**found.by, "quadrant": name}, n_cases=cases, n_clusters=clusters)


PARTS = (Quadrants(),)
