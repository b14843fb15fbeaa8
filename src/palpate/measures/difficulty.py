"""Within a task, which cases are hard? Right answers against lesion size, contrast, severity, and how well a probe does on them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from palpate.measures._cells import Cell, Draws, cells, clusters_with
from palpate.measures._estimates import METHOD, Made, made
from palpate.measures._pairs import NOT_PAIRED, CellPair, cell_pairs
from palpate.measures._tests import Ruling, Tested, blank, shares, shifts, undefined, with_words
from palpate.nouns import Estimate, Panel
from palpate.parts import MeasureSettings
from palpate.stats.resampling import Array, Replicates

CLASSES = ("negative", "positive")
MOST_LEVELS = 8
"""A fact in words with more values than this is free text or worse; it is not sliced by."""
BINNED_FROM = 6
"""A number with at least this many values is cut in thirds of the cases; one with fewer is taken value by value."""

NO_FACTS = (
    "nothing is known of the cases to slice by: the source tells nothing (a table's `metadata` columns do), and no inner states "
    "were kept ([features] in the study), whose probe would say which cases are hard"
)
NO_NUMBERS = "no fact of these cases is a number that varies"
NO_SPREAD = "the fact does not vary within a class among the cases read"
NO_CASE = "no such case was read"
REFERENCES: Mapping[str, str] = {"reference_margin": "read", "colour_margin": "metadata"}
"""A case's difficulty by a probe that saw neither it nor its group → the stage probed: what the language model is given to read;
and the file's size and colours, which need no looking. Both are stages of the information ladder."""
METHOD_SLOPE = "clustered bootstrap of the within-class least-squares slope, t interval"


class Difficulty:
    """Slope of right answers on each numeric fact, the share right by each fact's levels, and how a pair's slopes differ."""

    name: ClassVar[str] = "difficulty"
    question: ClassVar[int] = 1
    estimates: ClassVar[Mapping[str, str]] = {
        "difficulty_slope": "Change of the share of right answers per within-class standard deviation of a fact, or of the margin "
        "by which a reference probe is right, classes compared each within itself; all read trials, a non-answer counting as "
        "wrong; no effect: 0. By class: of that class alone",
        "right_by_fact": "Right answers / all read trials of one class, for the cases of one level (or third) of a fact",
        "delta_difficulty_slope": "difficulty_slope of the tuned − of the base model, cases read under both; no effect: 0",
    }

    def measure(self, panels: Sequence[Panel], settings: MeasureSettings) -> Iterator[Estimate]:
        """Estimates per cell and fact; verdicts hold over the facts of a cell (Holm)."""
        draws = Draws(settings.seed, settings.draws)
        found: list[Tested] = []
        for panel in panels:
            told = Told.of(panel)
            found += [t for cell in cells(panel) for t in _of_cell(cell, told, draws, settings)]
        found += [t for pair in cell_pairs(panels, settings.lineages) for t in _of_pair(pair, draws, settings)]
        ruling = Ruling(("rises", "falls"), 1 - settings.level, none="no trend shown")

        def family(e: Estimate) -> Hashable:
            return e.measure, e.by.get("class"), *(e.by.get(k) for k in ("model", "base", "tuned", "task", "cell", "perturbation"))

        yield from with_words(found, lambda e: None if e.measure == "right_by_fact" else ruling, family, "the facts of the cell")


# ---------------------------------------------------------------- what is told of the cases


@dataclass(frozen=True, slots=True)
class _Bin:
    """Cases of one level, or one third, of a fact."""

    fact: str
    name: str
    member: NDArray[np.bool_]  # (n,)


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of a panel's cases: the facts that are numbers, name → (n,), and the levels of every fact."""

    numbers: Mapping[str, Array]
    bins: Sequence[_Bin]

    @classmethod
    def of(cls, panel: Panel) -> Told:
        """All of the panel."""
        numeric = numbers(panel)
        return cls(numeric, bins(panel.facts, numeric))


def references(panel: Panel) -> dict[str, Array]:
    """Name → (n,) how far out-of-fold probes put each case on the side of its own label, in standard deviations of their scores;
    low: hard. Empty where no inner states were probed."""
    scores = {rung.stage: rung.score for rung in next(iter(panel.rungs.values()), ())}
    side = np.where(panel.label == 1, 1.0, -1.0)
    return {name: side * scores[stage] for name, stage in REFERENCES.items() if stage in scores and name not in panel.facts}


def numbers(panel: Panel) -> dict[str, Array]:
    """Facts that are numbers with at least two values, and the margins of reference probes: name → (n,), NaN where unknown."""
    found = {}
    for name, values in panel.facts.items():
        kinds = {type(v) for v in values} - {type(None)}
        if kinds and all(issubclass(kind, int | float) and kind is not bool for kind in kinds):
            found[name] = np.array(values, np.float64)  # None becomes NaN
    found |= references(panel)
    return {name: column for name, column in found.items() if np.unique(column[np.isfinite(column)]).size > 1}


def bins(facts: Mapping[str, tuple[Any, ...]], numeric: Mapping[str, Array]) -> list[_Bin]:
    """The levels of every fact: thirds of a number with many values, single values of one with few, words as they are."""
    found: list[_Bin] = []
    for name, column in numeric.items():
        values = np.unique(column[np.isfinite(column)])
        if values.size < BINNED_FROM:
            found += [_Bin(name, f"{v:g}", column == v) for v in values]
            continue
        cuts = np.unique(np.quantile(column[np.isfinite(column)], [0, 1 / 3, 2 / 3, 1]))
        for k, (low, high) in enumerate(pairwise(cuts)):
            member = (column >= low) & ((column <= high) if k == cuts.size - 2 else (column < high))
            found.append(_Bin(name, f"{low:.3g} to {high:.3g}", member))
    for name, raw in facts.items():
        if name not in numeric:
            found += [_Bin(name, level, np.array([_word(v) == level for v in raw])) for level in _levels(raw)]
    return found


def _word(value: Any) -> str | None:
    return None if value is None else str(value)


def _levels(values: Sequence[Any]) -> list[str]:
    """The levels of a fact in words; none where it has a single one, or too many to be a class of anything."""
    levels = sorted({str(v) for v in values if v is not None and not (isinstance(v, float) and np.isnan(v))})
    return levels if 1 < len(levels) <= MOST_LEVELS else []


# ---------------------------------------------------------------- estimates


def _case_share(cell: Cell) -> tuple[Array, Array]:
    """(n,) 1 where the case was read, and the share of right answers over the prompts read for it."""
    seen = cell.seen
    count = seen.sum(axis=1)
    return (count > 0).astype(np.float64), (cell.right * seen).sum(axis=1) / np.maximum(count, 1)


def _of_cell(cell: Cell, told: Told, draws: Draws, settings: MeasureSettings) -> Iterator[Tested]:
    batch = made(cell, settings.level)
    if not told.bins:
        yield from undefined(batch, ("difficulty_slope", "right_by_fact"), NO_FACTS, METHOD_SLOPE)
        return
    outcome = _case_share(cell)
    if told.numbers:
        yield from _slopes("difficulty_slope", cell, draws, batch, told.numbers, outcome)
    else:
        yield from undefined(batch, ("difficulty_slope",), NO_NUMBERS, METHOD_SLOPE)
    yield from _levels_right(cell, draws, batch, told.bins, outcome)


def _levels_right(cell: Cell, draws: Draws, batch: Made, levels: Sequence[_Bin], outcome: tuple[Array, Array]) -> Iterator[Tested]:
    """The share right of each level, of each class."""
    seen, right = outcome
    member = np.stack([b.member for b in levels], axis=1) * seen[:, None]
    table = cell.by_class((member, member * right[:, None]))
    rates = draws.replicate(cell, table).map(lambda rows: rows[..., 1] / rows[..., 0])  # (…, 2, levels)
    cases, clusters = table.sum(axis=0)[..., 0], clusters_with(table)[..., 0]
    wanted = [(at, level, label, word) for at, level in enumerate(levels) for label, word in enumerate(CLASSES)]
    blanks = [
        replace(
            blank(batch, "right_by_fact", METHOD, fact=level.fact, level=level.name, **{"class": word}),
            n_cases=int(cases[label, at]),
            n_clusters=int(clusters[label, at]),
        )
        for at, level, label, word in wanted
    ]
    own = rates.map(lambda rows: rows.transpose(0, 2, 1).reshape(len(rows), -1))
    yield from shares(blanks, own, clusters.T.ravel().astype(np.float64), why=NO_CASE)


def _slopes(
    name: str, cell: Cell, draws: Draws, batch: Made, facts: Mapping[str, Array], outcome: tuple[Array, Array]
) -> Iterator[Tested]:
    """The slope of ``outcome`` (counted, value) on every fact: of both classes, each within itself, and of each alone."""
    seen, value = outcome
    raw = np.stack(list(facts.values()), axis=1)
    counted = np.isfinite(raw) * seen[:, None]
    z = _standardised(raw, counted, cell.positive)
    y = value[:, None] * counted
    table = cell.by_class((counted, z, z * z, y, z * y))
    slopes = draws.replicate(cell, table).map(_slope)  # (…, facts × 3)
    cases = _both_and_each(table.sum(axis=0)[..., 0])
    clusters = _both_and_each(clusters_with(table)[..., 0].astype(np.float64))
    clusters[::3] = clusters_with(table[..., 0].sum(axis=1))  # a group may have cases of both classes
    wanted = [{"fact": fact, **own} for fact in facts for own in ({}, *({"class": word} for word in CLASSES))]
    blanks = [
        replace(blank(batch, name, METHOD_SLOPE, **by), n_cases=int(n), n_clusters=int(count))
        for by, n, count in zip(wanted, cases, clusters, strict=True)
    ]
    wider = _for_fitted(slopes, clusters, np.tile([3, 2, 2], len(facts)))
    yield from shifts(blanks, wider, clusters, 1 / (clusters + 2) ** 2, why=NO_SPREAD, limits=(-np.inf, np.inf))


def _both_and_each(by_class: Array) -> Array:
    """(…, facts × 3) of (…, 2, facts): for every fact the sum of both classes, then each class."""
    both = np.concatenate([by_class.sum(axis=-2, keepdims=True), by_class], axis=-2)
    return np.swapaxes(both, -1, -2).reshape(*by_class.shape[:-2], -1)


def _for_fitted(rows: Replicates, clusters: Array, fitted: NDArray[np.int64]) -> Replicates:
    """The replicates, their deviations widened by √(C/(C − fitted)): the slope's own fit takes up that much (HC1's correction).

    MacKinnon & White 1985, doi 10.1016/0304-4076(85)90158-7. NaN where C is no more than ``fitted``.
    """
    left = clusters - fitted
    stretch = np.sqrt(np.divide(clusters, left, out=np.full(left.shape, np.nan), where=left > 0))
    return Replicates(rows.value + (rows.rows - rows.value) * stretch, rows.n_draws)


def _standardised(raw: Array, counted: Array, positive: NDArray[np.bool_]) -> Array:
    """(n, F) facts less their class's mean, over the within-class standard deviation of all counted cases; 0 where not counted."""
    values = np.where(counted > 0, raw, 0.0)
    centred = np.zeros_like(values)
    for label in (positive, ~positive):
        mean = values[label].sum(axis=0) / np.maximum(counted[label].sum(axis=0), 1)
        centred[label] = (values[label] - mean) * (counted[label] > 0)
    deviation = np.sqrt((centred**2).sum(axis=0) / np.maximum(counted.sum(axis=0), 1))
    scale = np.abs(values).max(axis=0, initial=0.0)
    varies = deviation > 1e-9 * np.maximum(scale, 1e-300)
    z: Array = np.divide(centred, deviation, out=np.zeros_like(centred), where=varies[None, :])
    return z


def _slope(rows: Array) -> Array:
    """(rows, facts × 3) Σ within-class cross products over Σ within-class squares, from sums (rows, classes, facts, 5): n, z, z²,
    y, zy; of both classes together and of each."""
    n, z, zz, y, zy = (rows[..., k] for k in range(5))
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(n > 0, 1 / n, 0.0)
    across, within = _both_and_each(zy - z * y * inverse), _both_and_each(zz - z * z * inverse)
    return np.asarray(np.divide(across, within, out=np.full_like(across, np.nan), where=within > 1e-9))


# ---------------------------------------------------------------- pairs


def _of_pair(pair: CellPair, draws: Draws, settings: MeasureSettings) -> Iterator[Tested]:
    batch = replace(made(pair.base, settings.level), by=pair.by)
    told = Told.of(pair.base.panel)
    if pair.tuned is None or not told.numbers:
        why = NOT_PAIRED if pair.tuned is None else NO_NUMBERS if told.bins else NO_FACTS
        yield from undefined(batch, ("delta_difficulty_slope",), why, METHOD_SLOPE)
        return
    yield from _slopes("delta_difficulty_slope", pair.base, draws, batch, told.numbers, _difference(pair.base, pair.tuned))


def _difference(base: Cell, tuned: Cell) -> tuple[Array, Array]:
    """(n,) 1 where read under both for some prompt, and tuned − base of the share right over those prompts."""
    both = base.seen * tuned.seen
    count = both.sum(axis=1)
    return (count > 0).astype(np.float64), ((tuned.right - base.right) * both).sum(axis=1) / np.maximum(count, 1)


PARTS = (Difficulty(),)
