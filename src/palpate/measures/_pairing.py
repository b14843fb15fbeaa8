"""Which panels belong together: the images as they are, and the same cases and prompts under a perturbation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from palpate.measures._cells import ANSWERED, Cell
from palpate.measures._linear import rate
from palpate.nouns import OUTCOME_CODE, Outcome, Panel
from palpate.stats.influence import Linear
from palpate.stats.resampling import Array

NULL_IMAGES = ("no_image", "blank", "noise", "other_modality")
"""Perturbations that leave nothing of the case: what is answered to them is the model's prior."""

OCCLUSIONS = ("occlude_lesion", "occlude_matched")
KINDS = 3  # positive, negative, no definite answer


def with_others(panels: Sequence[Panel]) -> Iterator[tuple[Panel, list[Panel]]]:
    """Each panel of images as they are, with its perturbed ones in the order of their names and severities."""
    for panel in panels:
        if panel.perturbation.name == "none":
            mine = [p for p in panels if (p.model, p.task) == (panel.model, panel.task) and p.perturbation.name != "none"]
            yield panel, sorted(mine, key=lambda p: (p.perturbation.name, p.perturbation.severity))


def same_cell(cell: Cell, panel: Panel) -> Cell | None:
    """The same prompts of another panel of the same cases; None where it does not have them all."""
    names = {p.name: at for at, p in enumerate(panel.prompts)}
    if panel.cases != cell.panel.cases or any(name not in names for name in cell.prompts):
        return None
    at = np.array([names[name] for name in cell.prompts], np.int64)
    # Labels and clusters are facts of the case: those of the images as they are.
    whole = replace(panel, label=cell.panel.label, cluster=cell.panel.cluster)
    return Cell(whole, cell.name, at, panel.outcome[:, at])


def kind_counts(cell: Cell) -> Array:
    """(n, P, 3) how many repeats ended positive, negative, or without a definite answer."""
    positive = cell.outcome == OUTCOME_CODE[Outcome.POSITIVE]
    negative = cell.outcome == OUTCOME_CODE[Outcome.NEGATIVE]
    none = cell.read & ~ANSWERED[cell.outcome]
    return np.stack([kind.sum(axis=2) for kind in (positive, negative, none)], axis=-1).astype(np.float64)


def rerun_difference(counts: Array) -> tuple[Array, Array]:
    """(…) share of pairs of repeats that end differently, and 1 where there is a pair (else 0), of ``counts`` (…, kinds)."""
    total = counts.sum(axis=-1)
    usable = total >= 2
    pairs = np.where(usable, total * (total - 1), 1.0)
    return np.where(usable, 1 - (counts * (counts - 1)).sum(axis=-1) / pairs, 0.0), usable.astype(float)


def change(first: Array, second: Array) -> tuple[Array, Array]:
    """(…) probability that an answer of each ends differently, and 1 where both have one, of ``counts`` (…, kinds)."""
    both = (first.sum(axis=-1) > 0) & (second.sum(axis=-1) > 0)
    product = np.where(both, first.sum(axis=-1) * second.sum(axis=-1), 1.0)
    return np.where(both, 1 - (first * second).sum(axis=-1) / product, 0.0), both.astype(float)


def moved(cell: Cell, others: Sequence[Cell]) -> tuple[Linear, Linear | None]:
    """Mean over ``others`` and prompts of the share of answers that differ from theirs; and the share that differ between reruns.

    The second is None where nothing was asked twice.
    """
    counts = [kind_counts(c) for c in (cell, *others)]
    differs = [change(counts[0], other) for other in counts[1:]]
    top, bottom = (np.sum([pair[k] for pair in differs], axis=0) for k in (0, 1))
    return rate(cell, top, bottom).mean(), rerun_floor(cell, counts)


def rerun_floor(cell: Cell, counts: Sequence[Array]) -> Linear | None:
    """Share of pairs of reruns that end differently, the mean over several ``counts`` (n, P, kinds); None without any pair."""
    again = [rerun_difference(c) for c in counts]
    floors = [rate(cell, d, usable).mean() for d, usable in again if usable.any()]
    if not floors:
        return None
    value, influence = (np.mean([getattr(f, part) for f in floors], axis=0) for part in ("value", "influence"))
    return Linear(np.asarray(value, np.float64), np.asarray(influence, np.float64))
