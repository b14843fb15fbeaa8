"""Base and tuned models side by side: the cells that were asked alike, and where an estimate of a pair belongs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from palpate.measures._cells import Cell, cells
from palpate.measures._estimates import place
from palpate.nouns import Lineage, Panel

NOT_PAIRED = "the two models were not asked the same cases and prompts"
ONE_CLASS = "only one class was read under both models"


@dataclass(frozen=True, slots=True)
class CellPair:
    """One cell of base and tuned model; ``tuned`` None where the two were not asked the same."""

    lineage: Lineage
    base: Cell
    tuned: Cell | None

    @property
    def by(self) -> dict[str, str]:
        """Where an estimate of the pair belongs: base, tuned, their relation, task, cell, and the perturbation if any."""
        found = {"base": self.lineage.base, "tuned": self.lineage.tuned, "relation": self.lineage.relation}
        found |= place(self.base.panel, self.base.name)
        del found["model"]
        return found


def comparable(first: Cell, second: Cell) -> bool:
    """True where the two cells hold the same prompts, asked about the same cases in the same order."""
    one, other = first.panel, second.panel
    same = one.cases == other.cases and np.array_equal(one.label, other.label) and np.array_equal(one.cluster, other.cluster)
    return first.name == second.name and first.prompts == second.prompts and same


def cell_pairs(panels: Sequence[Panel], lineages: Sequence[Lineage]) -> Iterator[CellPair]:
    """Every cell of every pair's base, with its like in the tuned model."""
    for lineage in lineages:
        tuned = {(p.task, p.perturbation): p for p in panels if p.model == lineage.tuned}
        for base in panels:
            if base.model != lineage.base or (base.task, base.perturbation) not in tuned:
                continue
            others = {cell.name: cell for cell in cells(tuned[base.task, base.perturbation])}
            for cell in cells(base):
                other = others.get(cell.name)
                yield CellPair(lineage, cell, other if other is not None and comparable(cell, other) else None)
