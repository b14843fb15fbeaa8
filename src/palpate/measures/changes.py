"""What else did tuning change: how much the wording matters, how often answers flip, whom the model refuses?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from palpate.measures._cells import Cell, Draws, clusters_with
from palpate.measures._estimates import METHOD_PAIRED, ONE_PROMPT, made
from palpate.measures._factors import replicate_groups
from palpate.measures._flips import between, kinds_of
from palpate.measures._pairs import NOT_PAIRED, ONE_CLASS, CellPair, cell_pairs
from palpate.measures._tests import Ruling, Tested, blank, case_sums, clusters_of, ratio, shift, undefined, with_words
from palpate.nouns import Estimate, Panel
from palpate.parts import MeasureSettings
from palpate.stats.resampling import Array, Replicates
from palpate.stats.variance import replicate_spread

METHOD_SPREAD = "paired clustered bootstrap of both corrected spreads, t interval, prompts fixed"
NO_PAIR = "no case was read under two wordings by both models"
SPREADS = ("delta_prompt_spread", "delta_refusal_spread")


class Changes:
    """Tuned − base of fragility and of refusing, on the same draws of the same cases."""

    name: ClassVar[str] = "changes"
    question: ClassVar[int] = 4
    estimates: ClassVar[Mapping[str, str]] = {
        "delta_prompt_spread": "prompt_spread of the tuned − of the base model, trials read under both, for these wordings",
        "delta_refusal_spread": "refusal_spread of the tuned − of the base model, trials read under both, for these wordings",
        "delta_flip_rate": "flip_rate of the tuned − of the base model, cases read under two wordings by both",
        "delta_refusal_difference": "refusal_difference (condition present − absent) of the tuned − of the base model, trials "
        "read under both",
    }

    def measure(self, panels: Sequence[Panel], settings: MeasureSettings) -> Iterator[Estimate]:
        """Estimates per pair, task and cell; verdicts hold over the tasks of a pair (Holm)."""
        draws = Draws(settings.seed, settings.draws)
        found = [t for pair in cell_pairs(panels, settings.lineages) for t in _estimates(pair, draws, settings)]
        bounds = settings.thresholds

        def ruling(e: Estimate) -> Ruling:
            margin = bounds.fragile if e.measure in SPREADS else bounds.equivalence
            return Ruling(("higher", "lower"), 1 - settings.level, margin)

        yield from with_words(found, ruling)


def _estimates(pair: CellPair, draws: Draws, settings: MeasureSettings) -> Iterator[Tested]:
    batch = replace(made(pair.base, settings.level), by=pair.by)
    if pair.tuned is None:
        yield from undefined(batch, Changes.estimates, NOT_PAIRED, METHOD_PAIRED)
        return
    base, tuned = pair.base, pair.tuned
    both = base.seen * tuned.seen
    values = [both, *(v * both for cell in (base, tuned) for v in (cell.right, cell.refused))]
    table = base.by_class(values)
    sums = draws.replicate(base, table)
    by_class = clusters_with(table)[..., 0].max(axis=1).astype(np.float64)  # (2,)
    clusters = clusters_of(base, both.sum(axis=1))
    batch = replace(batch, cases=[int(both.any(axis=1).sum())], clusters=[clusters])
    for name, columns, least, why in (
        ("delta_prompt_spread", (1, 3), float(by_class.min()), ONE_CLASS),
        ("delta_refusal_spread", (2, 4), float(clusters), NO_PAIR),
    ):
        empty = blank(batch, name, METHOD_SPREAD)
        if both.shape[1] < 2:
            yield Tested(replace(empty, reason=ONE_PROMPT))
            continue
        spreads = [_spread(sums, column, clusters, by_class=name == SPREADS[0]) for column in columns]
        rows = Replicates(spreads[1].rows - spreads[0].rows, spreads[0].n_draws)
        yield shift(empty, rows, least, 0.5 / (clusters + 2) ** 2, why=why)
    yield _flips(base, tuned, draws, replace(empty, measure="delta_flip_rate", method=METHOD_PAIRED))
    refusing = sums.map(_refusing)
    empty = blank(batch, "delta_refusal_difference", METHOD_PAIRED)
    yield shift(empty, refusing, float(by_class.min()), float((1 / (by_class + 2) ** 2).sum()), why=ONE_CLASS, limits=(-2.0, 2.0))


def _spread(sums: Replicates, column: int, clusters: int, *, by_class: bool) -> Replicates:
    """(…, 1) replicates of the corrected spread over prompts of ba_all (``by_class``) or of a rate."""

    def rates(rows: Array) -> Array:
        if by_class:
            return np.asarray((rows[..., column] / rows[..., 0]).mean(axis=1))
        return np.asarray(rows[..., column].sum(axis=1) / rows[..., 0].sum(axis=1))

    return replicate_spread(sums.map(rates), clusters)


def _refusing(rows: Array) -> Array:
    """(rows, 1) mean over prompts of tuned − base of the refusal rate, condition present − absent."""
    change = (rows[..., 4] - rows[..., 2]) / rows[..., 0]  # (rows, 2, P)
    return np.asarray((change[:, 1] - change[:, 0]).mean(axis=1))[:, None]


def _flips(base: Cell, tuned: Cell, draws: Draws, empty: Estimate) -> Tested:
    prompts = [base.panel.prompts[p] for p in base.at]
    groups, again = [list(range(len(prompts)))], replicate_groups(prompts)
    first, second = (between(kinds_of(cell), groups, again) for cell in (base, tuned))
    both = first.counted * second.counted
    sums = case_sums(base, draws, (both, both * (second.differs - first.differs)))
    clusters = clusters_of(base, both)
    return shift(empty, ratio(sums, 1, 0), clusters, 1 / (clusters + 2) ** 2, why=ONE_PROMPT if len(prompts) < 2 else NO_PAIR)


PARTS = (Changes(),)
