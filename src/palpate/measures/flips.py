"""Does the answer to one image change with the wording, beyond what asking again changes?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from palpate.measures._cells import Cell, Draws, cells
from palpate.measures._estimates import METHOD, made
from palpate.measures._factors import blocks, goes_with, replicate_groups, varying
from palpate.measures._flips import Shares, between, kinds_of, rerun
from palpate.measures._tests import Ruling, Tested, blank, case_sums, clusters_of, ratio, share, shift, with_words
from palpate.nouns import Estimate, Panel
from palpate.parts import MeasureSettings
from palpate.stats.resampling import Array

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


def _estimates(cell: Cell, draws: Draws, settings: MeasureSettings) -> Iterator[Tested]:
    prompts = [cell.panel.prompts[p] for p in cell.at]
    kinds = kinds_of(cell)
    again = replicate_groups(prompts)
    asked_again = rerun(kinds, again)
    everything = [list(range(len(prompts)))]
    yield from _flips(
        cell, draws, settings, between(kinds, everything, again), asked_again, ONE_PROMPT if len(prompts) < 2 else NO_PAIR
    )
    yield _share("rerun_flip_rate", cell, draws, settings, asked_again, NO_RERUN)
    for factor in varying(prompts):
        matched = blocks(prompts, factor)
        whole = [[p for level in block.values() for p in level] for block in matched]
        parts = [level for block in matched for level in block.values() if len(level) > 1]
        others = ", ".join(goes_with(prompts, factor)) or "other factors"
        why = NO_PAIR if matched else f"no two wordings differ in {factor} alone: it goes together with {others}"
        yield from _flips(cell, draws, settings, between(kinds, whole, parts), asked_again, why, factor=factor)


def _flips(
    cell: Cell, draws: Draws, settings: MeasureSettings, flips: Shares, again: Shares, why: str, **by: str
) -> Iterator[Tested]:
    yield _share("flip_rate", cell, draws, settings, flips, why, **by)
    both = flips.counted * again.counted
    sums = case_sums(cell, draws, (both, both * (flips.differs - again.differs)))
    clusters = clusters_of(cell, both)
    empty = _counted(blank(made(cell, settings.level), "flip_rate_beyond_rerun", METHOD_EXCESS, **by), both, clusters)
    reason = NO_RERUN if flips.counted.any() and not again.counted.any() else why
    yield shift(empty, ratio(sums, 1, 0), clusters, 1 / (clusters + 2) ** 2, why=reason)


def _share(name: str, cell: Cell, draws: Draws, settings: MeasureSettings, shares: Shares, why: str, **by: str) -> Tested:
    sums = case_sums(cell, draws, (shares.counted, shares.counted * shares.differs))
    clusters = clusters_of(cell, shares.counted)
    empty = _counted(blank(made(cell, settings.level), name, METHOD, **by), shares.counted, clusters)
    return share(empty, ratio(sums, 1, 0), clusters, why=why)


def _counted(empty: Estimate, counted: Array, clusters: int) -> Estimate:
    return replace(empty, n_cases=int((counted > 0).sum()), n_clusters=clusters) if counted.any() else empty


PARTS = (Flips(),)
