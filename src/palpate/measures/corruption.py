"""How fast does the model fall as the image gets worse?"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from palpate.measures._cells import Cell, cells
from palpate.measures._estimates import Made, made
from palpate.measures._linear import (
    CLUSTERED,
    CLUSTERED_T,
    NO_MARGIN,
    ONE_CLASS,
    Flags,
    balanced,
    class_clusters,
    clusters_in_use,
    margins,
    whole,
)
from palpate.measures._pairing import NULL_IMAGES, OCCLUSIONS, moved, same_cell, with_others
from palpate.measures._tests import Ruling, Tested, by_error, with_words
from palpate.nouns import Estimate, Panel
from palpate.parts import MeasureSettings
from palpate.stats.influence import Linear, change_interval, share_interval
from palpate.stats.roc import linear_auroc

METHOD = f"paired with the images as they are, {CLUSTERED_T}"


class Corruption:
    """Drop at each severity, slope over the severities, and answers that change at the mildest, per perturbation family."""

    name: ClassVar[str] = "corruption"
    question: ClassVar[int] = 5
    estimates: ClassVar[Mapping[str, str]] = {
        "corruption_slope": "Change of ba_all per level of severity (least squares; the image as it is counts as level 0), on "
        "trials read at every level; negative: it falls",
        "corruption_slope_auroc": "The same of the AUROC of the mean margin, on cases with a margin at every level",
        "corruption_drop": "ba_all of the images as they are − under the perturbation, on trials read under both",
        "corruption_drop_auroc": "AUROC of the mean margin as they are − under the perturbation, on cases with a margin under both",
        "corruption_flips": "Share of answers that differ at the mildest severity from those to the images as they are, less the "
        "share that differ between two runs of the same question; trials read under both",
    }

    def measure(self, panels: Sequence[Panel], settings: MeasureSettings) -> Iterator[Estimate]:
        """Per cell and perturbation; the verdict on the slopes holds over the families and tasks of a model and cell (Holm)."""
        ruling = Ruling(("rises", "falls"), 1 - settings.level, settings.thresholds.corruption_slope, near="robust")
        found: list[Tested] = []
        for panel, others in with_others(panels):
            for cell in cells(panel):
                batch = made(cell, settings.level)
                for family, levels in _families(cell, others).items():
                    found += map(Tested, _drops(cell, levels, batch))
                    found.append(Tested(_flips(cell, family, levels[0], batch)))
                    found += _slopes(cell, family, levels, batch, ruling)
        yield from with_words(found, family=_of_model, name="families and tasks")


def _of_model(e: Estimate) -> Hashable:
    return e.measure, e.by["model"], e.by["cell"]


def _families(cell: Cell, others: Sequence[Panel]) -> dict[str, list[Cell]]:
    """Family → the same cell at each of its severities, mildest first."""
    found: dict[str, list[Cell]] = {}
    for panel in others:
        name = panel.perturbation.name
        corrupted = same_cell(cell, panel) if panel.perturbation.severity > 0 and name not in (*NULL_IMAGES, *OCCLUSIONS) else None
        if corrupted is not None:
            found.setdefault(name, []).append(corrupted)
    return found


def _accuracies(levels: Sequence[Cell]) -> tuple[list[Linear], Flags]:
    """ba_all at each level, mean over prompts, on the trials read at all of them (n, P)."""
    both = np.prod([c.seen for c in levels], axis=0)
    return [balanced(c, c.right * both, both).mean() for c in levels], both > 0


def _areas(levels: Sequence[Cell]) -> tuple[list[Linear], Flags]:
    """AUROC of the mean margin at each level, on the cases with one at all of them (n, 1)."""
    by_prompt = [margins(c) for c in levels]
    prompts = np.all([np.isfinite(m).any(axis=0) for m in by_prompt], axis=0)
    if not prompts.any():
        scores = [np.full((m.shape[0], 1), np.nan) for m in by_prompt]
    else:
        scores = [m[:, prompts].mean(axis=1, keepdims=True) for m in by_prompt]
    used = np.all([np.isfinite(s) for s in scores], axis=0)
    positive = np.broadcast_to(levels[0].positive[:, None], used.shape)
    at = levels[0].panel.cluster, levels[0].clusters
    return [linear_auroc(np.where(used, s, 0.0), positive, used, *at).mean() for s in scores], used


def _drops(cell: Cell, levels: Sequence[Cell], batch: Made) -> Iterator[Estimate]:
    for corrupted in levels:
        for name, of, why in (("corruption_drop", _accuracies, ONE_CLASS), ("corruption_drop_auroc", _areas, NO_MARGIN)):
            (clean, worse), used = of((cell, corrupted))
            clusters = class_clusters(cell, used)[:, 0]
            interval = change_interval(clean - worse, _floor(clusters), int(clusters.min()), batch.level)
            found = whole(batch, name, (clean - worse).value, interval, METHOD, why, int(clusters.min()))
            yield _of(found, cell, used, {"perturbation": str(corrupted.panel.perturbation)})


def _floor(clusters: np.ndarray) -> float:
    return float((0.25 / (clusters + 2.0) ** 2).sum())


def _slopes(cell: Cell, family: str, levels: Sequence[Cell], batch: Made, ruling: Ruling) -> Iterator[Tested]:
    severities = np.array([0.0, *(c.panel.perturbation.severity for c in levels)])
    centred = severities - severities.mean()
    weights = centred / (centred**2).sum()
    for name, of, why in (("corruption_slope", _accuracies, ONE_CLASS), ("corruption_slope_auroc", _areas, NO_MARGIN)):
        at_level, used = of((cell, *levels))
        slope = at_level[0].times(weights[0])
        for one, weight in zip(at_level[1:], weights[1:], strict=True):
            slope = slope + one.times(weight)
        clusters = class_clusters(cell, used)[:, 0]
        floor = _floor(clusters) * float((weights**2).sum())
        wide, narrow = (change_interval(slope, floor, int(clusters.min()), at) for at in (batch.level, 2 * batch.level - 1))
        how = f"{METHOD}; {len(severities)} levels from 0 to {severities.max():g}"
        found = _of(whole(batch, name, slope.value, wide, how, why, int(clusters.min())), cell, used, {"family": family})
        yield by_error(found, wide, narrow=narrow, ruling=ruling)


def _flips(cell: Cell, family: str, mildest: Cell, batch: Made) -> Estimate:
    share, floor = moved(cell, [mildest])
    used = (cell.seen * mildest.seen) > 0
    clusters = int(clusters_in_use(cell, used)[0])
    if floor is None:
        interval, how = share_interval(share, clusters, batch.level), f"{CLUSTERED}; one repeat: the rerun floor is taken as 0"
    else:
        share = share - floor
        interval = change_interval(share, 1 / (clusters + 2) ** 2, max(clusters, 1), batch.level)
        how = f"{CLUSTERED_T}; rerun floor {float(floor.value):.3f} taken off"
    how += f"; {mildest.panel.perturbation}"
    found = whole(batch, "corruption_flips", share.value, interval, how, "no trial was read under both", clusters)
    return _of(found, cell, used, {"family": family})


def _of(found: Estimate, cell: Cell, used: Flags, more: Mapping[str, str]) -> Estimate:
    cases = int(used.any(axis=1).sum())
    return replace(found, by={**found.by, **more}, n_cases=cases, n_clusters=int(clusters_in_use(cell, used)[0]))


PARTS = (Corruption(),)
