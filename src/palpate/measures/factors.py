"""Which part of the wording moves the answer: polarity, format, order, suffix, paraphrase, or a factor of one's own?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from palpate.measures._cells import Cell, Draws, cells, clusters_with
from palpate.measures._estimates import METHOD_PAIRED, made
from palpate.measures._factors import blocks, factors_of, goes_with, varying
from palpate.measures._tests import Ruling, Tested, blank, shifts, undefined, with_words
from palpate.nouns import Estimate, Panel, Prompt
from palpate.parts import MeasureSettings
from palpate.stats.resampling import Array, Replicates

NO_FACTOR = "the wordings of this cell differ in no recorded factor"
ONE_CLASS = "only one class was read under some of these wordings: balanced accuracy needs both"
NOT_READ = "some of these wordings has no reading"
WORDS: Mapping[str, tuple[str, str]] = {
    "factor_effect": ("raises", "lowers"),
    "factor_effect_refusals": ("raises", "lowers"),
}


class Factors:
    """What changing one part of the wording does to the score, all other parts alike."""

    name: ClassVar[str] = "factors"
    question: ClassVar[int] = 2
    estimates: ClassVar[Mapping[str, str]] = {
        "factor_effect": "ba_all under one level of a factor − under its first level (against), mean over wordings alike in all "
        "other factors; no effect: 0",
        "factor_effect_refusals": "Refusal rate under one level of a factor − under its first level (against), matched the same "
        "way; no effect: 0",
    }

    def measure(self, panels: Sequence[Panel], settings: MeasureSettings) -> Iterator[Estimate]:
        """Estimates per cell, factor and level; verdicts hold over the factors of a cell (Holm)."""
        draws = Draws(settings.seed, settings.draws)
        found = [t for panel in panels for cell in cells(panel) for t in _estimates(cell, draws, settings)]

        def ruling(e: Estimate) -> Ruling:
            return Ruling(WORDS[e.measure], 1 - settings.level, settings.thresholds.equivalence)

        def family(e: Estimate) -> tuple[str, ...]:
            return e.measure, e.by["model"], e.by["task"], e.by["cell"], e.by.get("perturbation", "")

        yield from with_words(found, ruling, family, "the cell's factors")


def _estimates(cell: Cell, draws: Draws, settings: MeasureSettings) -> Iterator[Tested]:
    prompts = [cell.panel.prompts[p] for p in cell.at]
    levels = varying(prompts)
    batch = made(cell, settings.level)
    if not levels:
        yield from undefined(batch, Factors.estimates, NO_FACTOR, METHOD_PAIRED)
        return
    table = cell.by_class((cell.seen, cell.right, cell.refused))
    sums = draws.replicate(cell, table)
    accuracy = sums.map(lambda rows: (rows[..., 1] / rows[..., 0]).mean(axis=1))
    refusal = sums.map(lambda rows: rows[..., 2].sum(axis=1) / rows[..., 0].sum(axis=1))
    by_class = clusters_with(table)[..., 0].max(axis=1).astype(np.float64)
    halves, whole = (0.25 / (by_class + 2) ** 2).sum(), 1 / (batch.clusters[0] + 2) ** 2
    wanted = [(factor, names[0], level) for factor, names in levels.items() for level in names[1:]]
    contrasts = [contrast(prompts, *one) for one in wanted]
    effects = []
    for name, values, clusters, floor, why in (
        ("factor_effect", accuracy, by_class.min(), halves, ONE_CLASS),
        ("factor_effect_refusals", refusal, float(batch.clusters[0]), whole, NOT_READ),
    ):
        blanks = [
            blank(batch, name, f"{METHOD_PAIRED}, {how}", factor=factor, level=level, against=first)
            for (factor, first, level), (_, how, _) in zip(wanted, contrasts, strict=True)
        ]
        rows = Replicates(np.column_stack([_weighted(values, weights) for weights, _, _ in contrasts]), values.n_draws)
        each = (np.full(len(wanted), float(x)) for x in (clusters, floor))
        effects.append(shifts(blanks, rows, *each, why=why, least=settings.thresholds.factor))
    for (_, _, aliased), *both in zip(contrasts, *effects, strict=True):
        yield from (Tested(replace(found.estimate, mde=None)) if aliased else found for found in both)


def contrast(prompts: Sequence[Prompt], factor: str, first: str, level: str) -> tuple[Array, str, bool]:
    """(weights (P,) of level − first, how in words, whether other factors change with it).

    Over the sets of prompts that agree in everything else; where there is none, over all prompts of either level, and then the
    words say what else changes.
    """
    matched = [block for block in blocks(prompts, factor) if first in block and level in block]
    weights = np.zeros(len(prompts))
    for block in matched:
        weights[block[level]] += 1 / (len(block[level]) * len(matched))
        weights[block[first]] -= 1 / (len(block[first]) * len(matched))
    if matched:
        return weights, f"{len(matched)} matched {'set' if len(matched) == 1 else 'sets'} of wordings", False
    own = [_level(prompt, factor) for prompt in prompts]
    for name, sign in ((level, 1.0), (first, -1.0)):
        at = [place for place, found in enumerate(own) if found == name]
        weights[at] = sign / len(at)
    chosen = [prompt for prompt, found in zip(prompts, own, strict=True) if found in (first, level)]
    others = ", ".join(goes_with(chosen, factor)) or "other factors"
    return weights, f"not separable: {others} change with it; no verdict", True


def _level(prompt: Prompt, factor: str) -> str | None:

    return factors_of(prompt).get(factor)


def _weighted(values: Replicates, weights: Array) -> Array:
    """(…,) weighted sum over the prompts that have a weight: others may be undefined."""
    used = np.flatnonzero(weights)
    return np.asarray(values.rows[:, used] @ weights[used])


PARTS = (Factors(),)
