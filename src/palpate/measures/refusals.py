"""When does the model not answer, and does that depend on the truth?"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from palpate.measures._cells import Cell, Draws, cells, clusters_with
from palpate.measures._estimates import METHOD, Made, finished, made, place, with_mean
from palpate.measures._tests import NAN, Ruling, Tested, with_words
from palpate.nouns import Estimate, Outcome, Panel
from palpate.parts import Headline, MeasureSettings
from palpate.stats.intervals import combined_interval, proportion_interval, two_sided_p
from palpate.stats.resampling import Array, Replicates
from palpate.stats.verdicts import detectable_difference

CLASSES = ("negative", "positive")
METHOD_DIFFERENCE = "clustered bootstrap, Wilson intervals of both classes by square-and-add"


class Refusals:
    """How often there is no definite answer, by kind, by prompt and by class."""

    name: ClassVar[str] = "refusals"
    question: ClassVar[int] = 3
    estimates: ClassVar[Mapping[str, str]] = {
        "refusal_rate": "Refusals (by policy, or claiming not to see) / all read trials; by class: / those of that class",
        "hedge_rate": "Answers that say both or neither / all read trials",
        "unparsed_rate": "Answers no rule could read / all read trials",
        "off_topic_rate": "Degenerate or unrelated answers / all read trials",
        "no_answer_rate": "All of these together / all read trials: 1 − coverage",
        "refusal_difference": "Refusal rate of cases with the condition − of cases without it; selective refusing biases "
        "every score of answered trials",
        "error_rate": "Trials whose last attempt failed / trials of the panel; not refusals, and left out everywhere else",
    }

    headlines: ClassVar[tuple[Headline, ...]] = (
        Headline("refusal_difference", 0.0, ("refusal_rate", "no_answer_rate", "ba_bounds")),
    )

    def measure(self, panels: Sequence[Panel], settings: MeasureSettings) -> Iterator[Estimate]:
        """Estimates per cell, prompt and class; the verdict on the difference holds over all cells of the measure (Holm)."""
        draws = Draws(settings.seed, settings.draws)
        differences: list[Tested] = []
        for panel in panels:
            yield error_rate(panel, settings.level)
            for cell in cells(panel):
                batch = made(cell, settings.level)
                table, sums = _sums(cell, draws)
                yield from _rates(sums, table, batch)
                differences.extend(_differences(sums, table, batch))
        ruling = Ruling(("selective", "selective"), 1 - settings.level, none="not shown to be selective")
        yield from with_words(differences, lambda e: ruling, _family, _family_in_words)


RATES = ("refusal_rate", "hedge_rate", "unparsed_rate", "off_topic_rate", "no_answer_rate")


def _sums(cell: Cell, draws: Draws) -> tuple[Array, Replicates]:
    """(clusters, 2, P, 6) and its replicates: read trials, then one column for each of RATES."""
    values = (
        cell.seen,
        cell.refused,
        cell.is_outcome(Outcome.HEDGE),
        cell.is_outcome(Outcome.UNPARSED),
        cell.is_outcome(Outcome.OFF_TOPIC),
        cell.seen - cell.answered,
    )
    table = cell.by_class(values)
    return table, draws.replicate(cell, table)


def _rates(sums: Replicates, table: Array, batch: Made) -> Iterator[Estimate]:
    """Every rate of the cell and its prompts; after those with a class, the same of each class."""
    by_class = clusters_with(table)[..., 0]
    whole = sums.map(lambda rows: rows.sum(axis=1))  # (…, P, 6)
    wanted: list[tuple[str, str, Array, Replicates]] = []
    for column, name in enumerate(RATES, start=1):
        rate = whole.map(lambda rows, k=column: with_mean(rows[..., k] / rows[..., 0]))  # type: ignore[misc]
        wanted.append((name, "", np.asarray(batch.clusters), rate))
        if name in ("refusal_rate", "no_answer_rate"):
            for label, word in enumerate(CLASSES):
                clusters = np.append(by_class[label].max(), by_class[label])
                wanted.append((name, word, clusters, _class_rate(sums, label, column)))
    rates = Replicates(np.stack([rate.rows for *_, rate in wanted], axis=1), sums.n_draws)
    intervals = proportion_interval(rates, np.stack([clusters for _, _, clusters, _ in wanted]), batch.level)
    for at, (name, word, clusters, rate) in enumerate(wanted):
        why = f"no {word} case was read" if word else ""
        for estimate in batch.all(name, rate.value, intervals[at], METHOD, why, clusters):
            yield replace(estimate, by={**estimate.by, "class": word}) if word else estimate


def _class_rate(sums: Replicates, label: int, column: int) -> Replicates:
    return sums.map(lambda rows: with_mean(rows[:, label, :, column] / rows[:, label, :, 0]))


def _differences(sums: Replicates, table: Array, batch: Made) -> Iterator[Tested]:
    """refusal_difference for the cell and its prompts, each with its p."""
    by_class = clusters_with(table)[..., 0]
    by_class = np.concatenate([by_class.max(axis=1, keepdims=True), by_class], axis=1)
    positive, negative = _class_rate(sums, 1, 1), _class_rate(sums, 0, 1)
    value = positive.value - negative.value
    interval = combined_interval(positive, negative, (by_class[1], by_class[0]), (1.0, -1.0), batch.level)
    p = two_sided_p(value / interval.error, interval.freedom)
    why = "only one class was read"
    estimates = batch.all("refusal_difference", value, interval, METHOD_DIFFERENCE, why, by_class.min(axis=0))
    least = detectable_difference(interval.error, interval.freedom, alpha=1 - batch.level)
    for estimate, one, mde in zip(estimates, p, least, strict=True):
        known = estimate.value is not None
        shown = replace(estimate, mde=float(mde)) if known and np.isfinite(mde) else estimate
        yield Tested(shown, float(one) if known else NAN)


def _family(e: Estimate) -> Hashable:
    """All cells of the measure; single prompts with those of their cell."""
    return tuple(sorted((k, v) for k, v in e.by.items() if k != "prompt")) if "prompt" in e.by else ()


def _family_in_words(e: Estimate) -> str:
    return f"the {'prompts of the cell' if 'prompt' in e.by else 'cells of the run'}"


def error_rate(panel: Panel, level: float) -> Estimate:
    """Failed trials / trials of the panel: a fact of the run, not a sample of anything, so it has no interval."""
    trials = panel.outcome.size
    return finished(
        Estimate(
            measure="error_rate",
            by=place(panel),
            value=panel.n_errors / trials if trials else float("nan"),
            low=None,
            high=None,
            level=level,
            method="count; no interval",
            n_cases=len(panel.cases),
            n_clusters=int(np.unique(panel.cluster).size),
            n_left_out=int((panel.outcome < 0).sum()),
        ),
        "nothing was planned",
    )


PARTS = (Refusals(),)
