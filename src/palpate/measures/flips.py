"""Does the answer to one image change with the wording, beyond what asking again changes?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from palpate.measures._cells import Cell, Draws, cells
from palpate.measures._estimates import METHOD, Made, made
from palpate.measures._factors import blocks, goes_with, replicate_groups, varying
from palpate.measures._flips import Shares, between, kinds_of, rerun
from palpate.measures._tests import Ruling, Tested, blank, shares, shifts, sums_of, with_words
from palpate.nouns import Estimate, Panel
from palpate.parts import MeasureSettings
from palpate.stats.resampling import Array, clusters_with_any

ONE_PROMPT = "one wording: a flip needs at least two of the same cell"
NO_PAIR = "no case was read under two wordings"
NO_RERUN = (
    "every wording was asked once: set repeats = 2, or add a wording again with a space at its end, to see what asking again flips"
)
METHOD_EXCESS = "paired clustered bootstrap, t interval"


class Flips:
    """Flip rate, what asking again flips, and the difference; over all pairs of wordings and for each factor of the wording."""

    name: ClassVar[str] = "flips"
    question: ClassVar[int] = 2
    estimates: ClassVar[Mapping[str, str]] = {
        "flip_rate": "Mean over cases of the share of pairs of wordings that end differently (positive, negative or no answer); "
        "cases read under at least two wordings. By factor: only pairs that differ in that factor alone",
        "rerun_flip_rate": "The same for pairs of the same wording asked again: repeats, or wordings alike but for white space",
        "flip_rate_beyond_rerun": "flip_rate − rerun_flip_rate, cases that have both: what is left to the wording; no effect: 0",
    }

    def measure(self, panels: Sequence[Panel], settings: MeasureSettings) -> Iterator[Estimate]:
        """Estimates per cell and factor; the verdict on the difference holds over all cells, and over a cell's factors (Holm)."""
        draws = Draws(settings.seed, settings.draws)
        found = [t for panel in panels for cell in cells(panel) for t in _estimates(cell, draws, settings)]
        ruling = Ruling(("beyond reruns", "fewer than reruns"), 1 - settings.level, none="not shown beyond reruns")

        def family(e: Estimate) -> tuple[str, ...]:
            return (e.by["model"], e.by["task"], e.by["cell"], e.by.get("perturbation", "")) if "factor" in e.by else ()

        beyond = "flip_rate_beyond_rerun"
        yield from with_words(found, lambda e: ruling if e.measure == beyond else None, family, "cells, or a cell's factors")


@dataclass(frozen=True, slots=True)
class _Flips:
    """Pairs of wordings over which flips are counted; ``why``: the reason where there are none."""

    shares: Shares
    why: str
    by: Mapping[str, str]


def _estimates(cell: Cell, draws: Draws, settings: MeasureSettings) -> Iterator[Tested]:
    again = rerun(kinds_of(cell), replicate_groups([cell.panel.prompts[p] for p in cell.at]))
    flips = list(_pairs_of_wordings(cell))
    batch = made(cell, settings.level)
    rates = iter(_rates(cell, draws, batch, flips, again))
    beyond = iter(_beyond(cell, draws, batch, flips, again))
    yield from (next(rates), next(beyond), next(rates))  # of all wordings, then of asking again
    for own in zip(rates, beyond, strict=True):
        yield from own


def _pairs_of_wordings(cell: Cell) -> Iterator[_Flips]:
    """All pairs of the cell; then, for each factor, those that differ in it alone."""
    prompts, kinds = [cell.panel.prompts[p] for p in cell.at], kinds_of(cell)
    everything = [list(range(len(prompts)))]
    all_pairs = between(kinds, everything, replicate_groups(prompts))
    yield _Flips(all_pairs, ONE_PROMPT if len(prompts) < 2 else NO_PAIR, {})
    for factor in varying(prompts):
        matched = blocks(prompts, factor)
        whole = [[p for level in block.values() for p in level] for block in matched]
        parts = [level for block in matched for level in block.values() if len(level) > 1]
        others = ", ".join(goes_with(prompts, factor)) or "other factors"
        why = NO_PAIR if matched else f"no two wordings differ in {factor} alone: it goes together with {others}"
        yield _Flips(between(kinds, whole, parts), why, {"factor": factor})


def _rates(cell: Cell, draws: Draws, batch: Made, flips: Sequence[_Flips], again: Shares) -> list[Tested]:
    """flip_rate of all wordings, rerun_flip_rate, and flip_rate of each factor."""
    every = [flips[0], _Flips(again, NO_RERUN, {}), *flips[1:]]
    counted = np.stack([f.shares.counted for f in every], axis=1)
    differs = np.stack([f.shares.differs for f in every], axis=1)
    names = ["flip_rate", "rerun_flip_rate", *("flip_rate" for _ in flips[1:])]
    blanks, clusters = _blanks(cell, batch, names, METHOD, counted, every)
    rows = sums_of(cell, draws, (counted, counted * differs)).map(lambda rows: rows[..., 1] / rows[..., 0])
    return shares(blanks, rows, clusters, why=[f.why for f in every])


def _beyond(cell: Cell, draws: Draws, batch: Made, flips: Sequence[_Flips], again: Shares) -> list[Tested]:
    """flip_rate_beyond_rerun of all wordings and of each factor."""
    both = np.stack([f.shares.counted * again.counted for f in flips], axis=1)
    change = np.stack([f.shares.differs - again.differs for f in flips], axis=1)
    names = ["flip_rate_beyond_rerun"] * len(flips)
    blanks, clusters = _blanks(cell, batch, names, METHOD_EXCESS, both, flips)
    rows = sums_of(cell, draws, (both, both * change)).map(lambda rows: rows[..., 1] / rows[..., 0])
    never = not again.counted.any()
    why = [NO_RERUN if never and f.shares.counted.any() else f.why for f in flips]
    return shifts(blanks, rows, clusters, 1 / (clusters + 2) ** 2, why=why)


def _blanks(
    cell: Cell, batch: Made, names: Sequence[str], method: str, counted: Array, flips: Sequence[_Flips]
) -> tuple[list[Estimate], Array]:
    """The estimates still without numbers, and the clusters (S,) that the counted cases (n, S) come from."""
    clusters = clusters_with_any(counted > 0, cell.panel.cluster, cell.clusters)
    cases = (counted > 0).sum(axis=0)
    found = []
    for at, (name, one) in enumerate(zip(names, flips, strict=True)):
        empty = blank(batch, name, method, **one.by)
        found.append(replace(empty, n_cases=int(cases[at]), n_clusters=int(clusters[at])) if cases[at] else empty)
    return found, clusters.astype(np.float64)


PARTS = (Flips(),)
