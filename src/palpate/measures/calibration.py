"""Are the model's probabilities usable, as they are and after a simple correction?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from palpate.measures._cells import Cell, cells
from palpate.measures._estimates import Made, made, one_cluster
from palpate.measures._linear import (
    CLUSTERED,
    CLUSTERED_T,
    NO_MARGIN,
    NOTHING,
    Flags,
    class_clusters,
    class_rates,
    margins,
    whole,
)
from palpate.measures._tests import Ruling, Tested, by_error, with_words
from palpate.nouns import Estimate, Panel
from palpate.parts import MeasureSettings
from palpate.stats.calibration import CalibrationError, calibration_error, calibration_line, equal_bins, logistic, platt_out_of_fold
from palpate.stats.folds import grouped_folds
from palpate.stats.influence import Linear, change_interval, ratio, share_interval
from palpate.stats.resampling import Array, cluster_sums, clusters_with_any, generator

FOLDS, BINS, NULL_DRAWS = 5, 10, 400
WORDS = ("underconfident", "overconfident")
ONE_CLASS = "only one class has a margin"
SEPARATED = "the margins part the classes entirely, or are all alike: no line can be fitted"
METHOD_NULL = f"y drawn from the probabilities {NULL_DRAWS} times"


class Calibration:
    """Brier skill before and after Platt's map, the calibration line, and the calibration error beside its null."""

    name: ClassVar[str] = "calibration"
    question: ClassVar[int] = 7
    estimates: ClassVar[Mapping[str, str]] = {
        "brier_skill": "1 − Brier score of the margin's probability / that of the base rate; read trials with a margin; "
        "0: no better than the base rate",
        "brier_skill_platt": "The same after Platt's map, fitted on other cases",
        "calibration_slope": "Slope of the log odds of the condition on the margin: 1 calibrated, below 1 overconfident; "
        "read trials with a margin",
        "calibration_intercept": "Log odds of the condition where the margin is 0: above 0, the margin leans to “absent”",
        "ece": "Expected calibration error in 10 bins of equally many; read trials with a margin. Never 0: read ece_corrected",
        "ece_null": "What ece would be were the probabilities right: mean and, for a prompt, central 95 %",
        "present_in_bin": "Cases with the condition / read trials with a margin, in each of ten bins of about equally many (bin 1: "
        "lowest probability of the condition); all prompts together, at this study's balance of the classes",
        "said_in_bin": "Mean probability of the condition by the margin in the same bin: what present_in_bin would be were the "
        "probabilities right at this balance",
        "ece_corrected": "ece − ece_null; near 0: no more miscalibrated than a perfect model would look with these cases",
    }

    def measure(self, panels: Sequence[Panel], settings: MeasureSettings) -> Iterator[Estimate]:
        """All per cell and per prompt; the verdict is on the slope, and holds over the tasks of a model (Holm)."""
        all_cells = [cell for panel in panels for cell in cells(panel)]
        yield from with_words([t for cell in all_cells for t in _estimates(cell, made(cell, settings.level), settings)])


def _estimates(cell: Cell, batch: Made, settings: MeasureSettings) -> Iterator[Tested]:
    score = margins(cell)
    used = np.isfinite(score) & (cell.seen > 0)
    score = np.where(used, score, 0.0)
    clusters = class_clusters(cell, used).min(axis=0)
    why = NO_MARGIN if not used.any() else one_cluster(batch.clusters[0]) if clusters[0] == 1 else ONE_CLASS
    fold = grouped_folds(cell.panel.label, cell.panel.cluster, FOLDS, generator(settings.seed, cell.panel.task, "platt"))
    mapped = platt_out_of_fold(score, cell.panel.label, used, fold)
    for name, p in (("brier_skill", logistic(score)), ("brier_skill_platt", mapped)):
        skill = _skill(cell, p, used & np.isfinite(p)).with_mean()
        interval = change_interval(skill, 0.0, np.maximum(clusters, 1), batch.level)
        yield from map(Tested, batch.all(name, skill.value, interval, CLUSTERED_T, why, clusters))
    yield from _line(cell, score, used, clusters, batch, why)
    yield from map(Tested, _error(cell, logistic(score), used, clusters, batch, settings, why))
    yield from map(Tested, _bins(cell, logistic(score), used, batch, why))


def _skill(cell: Cell, probability: Array, used: Flags) -> Linear:
    """1 − B/B₀, B₀ that of the base rate; the two classes weighted as in the study, whose balance was chosen, not sampled."""
    positive = cell.positive[:, None]
    loss = np.where(used, (np.where(used, probability, 0.0) - positive) ** 2, 0.0)
    present, absent = class_rates(cell, loss, used.astype(float))
    with np.errstate(divide="ignore", invalid="ignore"):
        base = (used & positive).sum(axis=0) / used.sum(axis=0)
        brier = present.times(base) + absent.times(1 - base)
        reference = base * (1 - base)
        return Linear(1 - brier.value / reference, -brier.influence / reference)


def _line(cell: Cell, score: Array, used: Flags, clusters: np.ndarray, batch: Made, why: str) -> Iterator[Tested]:
    ruling = Ruling(WORDS, 1 - batch.level, null=1.0, none="no miscalibration shown")
    slope, intercept = calibration_line(score, cell.panel.label, used, cell.panel.cluster, cell.clusters)
    why = SEPARATED if int(clusters[0]) > 1 else why
    for name, line in (("calibration_slope", slope), ("calibration_intercept", intercept)):
        found = line.with_mean()
        interval = change_interval(found, 0.0, np.maximum(clusters, 1), batch.level)
        for at, e in enumerate(batch.all(name, found.value, interval, f"logistic regression, {CLUSTERED_T}", why, clusters)):
            yield by_error(e, interval, null=1.0, at=at, ruling=ruling) if name == "calibration_slope" else Tested(e)


def _error(
    cell: Cell, probability: Array, used: Flags, clusters: np.ndarray, batch: Made, settings: MeasureSettings, why: str
) -> Iterator[Estimate]:
    """ECE of each prompt with its null, and the means over prompts."""
    rng = generator(settings.seed, cell.panel.task, cell.name, "ece")
    columns = [_of_prompt(probability[:, p], cell, used[:, p], rng) for p in range(used.shape[1])]
    value, null, low, high = (_first_mean([getattr(c, k) for c in columns]) for k in ("value", "null", "null_low", "null_high"))
    low[0] = high[0] = np.nan  # the prompts' errors are not independent: no band for their mean
    none = np.full(value.shape, np.nan)
    corrected = Linear(value[1:] - null[1:], _influence(columns, cell, used)).with_mean()
    interval = change_interval(corrected, 0.0, np.maximum(clusters, 1), batch.level)
    yield from _listed("ece", value, none, none, "10 bins of equally many; no interval", clusters, batch, why)
    yield from _listed("ece_null", null, low, high, METHOD_NULL, clusters, batch, why)
    yield from _listed("ece_corrected", corrected.value, interval.low, interval.high, CLUSTERED_T, clusters, batch, why)


def _bins(cell: Cell, probability: Array, used: Flags, batch: Made, why: str) -> Iterator[Estimate]:
    """The reliability curve. Equal probabilities share a bin, so there are fewer than ten where few values occur."""
    place = equal_bins(probability, used, BINS)
    how = f"{CLUSTERED}, bins of about equally many trials of all prompts"
    present = np.broadcast_to(cell.positive[:, None], used.shape)
    if not (used & present).any() or not (used & ~present).any():
        for name in ("present_in_bin", "said_in_bin"):
            yield batch.estimate(name, 0, np.nan, NOTHING, how, why)
        return
    bins = range(int(place.max(initial=-1)) + 1)
    top, bottom = (np.stack([((place == at) & f).sum(axis=1) for at in bins], axis=1).astype(float) for f in (present, used))
    share = ratio(top, bottom, cell.panel.cluster, cell.clusters)
    cases = (bottom > 0).sum(axis=0).tolist()
    clusters = clusters_with_any(bottom > 0, cell.panel.cluster, cell.clusters).tolist()
    interval = share_interval(share, clusters, batch.level)
    for at in bins:
        rests = clusters[at]
        observed = whole(batch, "present_in_bin", share.value[at], interval[at], how, why, rests)
        said = whole(batch, "said_in_bin", float(probability[place == at].mean()), None, "mean; no interval", why, rests)
        for found in (observed, said):
            yield replace(found, by={**found.by, "bin": str(at + 1)}, n_cases=cases[at], n_clusters=rests)


def _influence(errors: Sequence[CalibrationError], cell: Cell, used: Flags) -> Array:
    """(clusters, P) how far each moves the errors, the bins' signs as they are: too wide, never too narrow, where none is off."""
    each = np.zeros(used.shape)
    for p, error in enumerate(errors):
        if np.isfinite(error.value):
            each[used[:, p], p] = (error.signed - error.value) / error.signed.size
    return cluster_sums(each, cell.panel.cluster, cell.clusters)


def _listed(
    name: str, value: Array, low: Array, high: Array, method: str, clusters: np.ndarray, batch: Made, why: str
) -> Iterator[Estimate]:
    for at in range(value.size):
        enough = clusters[at] >= 2
        bounds = (float(low[at]), float(high[at])) if enough else (np.nan, np.nan)
        how = method if at or len(batch.prompts) == 1 else f"{method}, mean over prompts"
        how += "" if at or name != "ece_null" else "; no interval"
        yield batch.estimate(name, at, float(value[at]) if enough else np.nan, bounds, how, why)


def _first_mean(values: Sequence[float]) -> Array:
    defined = [v for v in values if np.isfinite(v)]
    return np.array([np.mean(defined) if defined else np.nan, *values])


def _of_prompt(probability: Array, cell: Cell, used: Flags, rng: np.random.Generator) -> CalibrationError:
    label = cell.panel.label[used].astype(np.float64)
    if label.size == 0 or np.ptp(label) == 0:
        return CalibrationError(np.nan, np.nan, np.nan, np.nan, np.zeros(0))
    return calibration_error(probability[used], label, NULL_DRAWS, rng, BINS)


PARTS = (Calibration(),)
