"""Is a low score insensitivity, or a bias to yes or no? d′ and criterion, and which of the two the wording moves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from palpate.measures._cells import Cell, cells
from palpate.measures._estimates import ONE_PROMPT, Made, judged, made
from palpate.measures._linear import CLUSTERED_T, class_clusters, class_rates, says
from palpate.nouns import Estimate, Outcome, Panel
from palpate.parts import MeasureSettings, Thresholds
from palpate.stats.detection import z_rate
from palpate.stats.influence import Linear, change_interval, spread_noise
from palpate.stats.resampling import Array
from palpate.stats.variance import PromptSpread, spread_difference, spread_with_noise

NO_ANSWER = "no definite answer in at least one class"
METHOD_SPREAD = "variance over prompts − its clustered noise, Tukey–Williams interval"


class Detection:
    """Sensitivity and criterion of each prompt, from its definite answers, and their spread over the prompts of a cell."""

    name: ClassVar[str] = "detection"
    question: ClassVar[int] = 2
    estimates: ClassVar[Mapping[str, str]] = {
        "d_prime": "z(hit rate) − z(false-alarm rate), log-linear (½ case added); definite answers; 0 without skill",
        "criterion": "−½ [z(hit rate) + z(false-alarm rate)]: above 0: “present” said too seldom; definite answers",
        "d_prime_spread": "Standard deviation of d_prime over the prompts, sampling noise removed",
        "criterion_spread": "Standard deviation of criterion over the prompts, sampling noise removed; bias-driven where it is the "
        "criterion that varies and not the sensitivity",
    }

    def measure(self, panels: Sequence[Panel], settings: MeasureSettings) -> Iterator[Estimate]:
        """Estimates per cell and prompt, spreads per cell."""
        for panel in panels:
            for cell in cells(panel):
                yield from _estimates(cell, made(cell, settings.level), settings)


def _estimates(cell: Cell, batch: Made, settings: MeasureSettings) -> Iterator[Estimate]:
    answered, present = cell.answered, cell.share(says(cell, Outcome.POSITIVE))
    clusters = class_clusters(cell, answered > 0)
    d_prime, criterion, floor = _signal(cell, present, answered, clusters[:, 1:])
    least = clusters.min(axis=0)
    for name, statistic, share in (("d_prime", d_prime, 1.0), ("criterion", criterion, 0.25)):
        found = statistic.with_mean()
        defined = np.isfinite(floor)
        mean_floor = floor[defined].mean() if defined.any() else np.nan
        interval = change_interval(found, share * np.append(mean_floor, floor), least, batch.level)
        yield from batch.all(name, found.value, interval, CLUSTERED_T, NO_ANSWER, least)
    yield from _spreads(d_prime, criterion, batch, int(least[0]), settings.thresholds)


def _signal(cell: Cell, present: Array, answered: Array, clusters: NDArray[np.int64]) -> tuple[Linear, Linear, Array]:
    """(P,) d′ and criterion with influences, and the variance one unseen cluster of each class would add to d′."""
    hit, false_alarm = class_rates(cell, present, answered)
    positive = cell.positive[:, None]
    hits, slope_hit = z_rate(hit, (answered * positive).sum(axis=0))
    alarms, slope_alarm = z_rate(false_alarm, (answered * ~positive).sum(axis=0))
    floor = (slope_hit / (clusters[1] + 2)) ** 2 + (slope_alarm / (clusters[0] + 2)) ** 2
    return hits - alarms, (hits + alarms).times(-0.5), np.where(np.isfinite(hits.value + alarms.value), floor, np.nan)


def _spreads(d_prime: Linear, criterion: Linear, batch: Made, clusters: int, bounds: Thresholds) -> Iterator[Estimate]:
    prompts = d_prime.value.size
    if prompts < 2 or clusters < 2 or not np.isfinite(d_prime.value).all():
        why = ONE_PROMPT if prompts < 2 else NO_ANSWER
        for name in ("d_prime_spread", "criterion_spread"):
            yield batch.estimate(name, 0, np.nan, (np.nan, np.nan), METHOD_SPREAD, why)
        return
    spreads = [spread_with_noise(s.value, spread_noise(s, clusters), clusters, batch.level) for s in (d_prime, criterion)]
    found = [
        batch.estimate(name, 0, s.sigma, (s.low, s.high), f"{METHOD_SPREAD}; signed variance {s.variance:.3g}", NO_ANSWER)
        for name, s in zip(("d_prime_spread", "criterion_spread"), spreads, strict=True)
    ]
    yield found[0]
    half = d_prime.times(0.5)
    sensitivity = spread_with_noise(half.value, spread_noise(half, clusters), clusters, batch.level)
    correlation = _correlation(criterion.value, half.value)
    least = bounds.criterion_spread
    rule = (
        f"bias-driven where it varies (interval above {least:g}) and exceeds the spread of d′/2; sensitivity varies where that does"
    )
    yield judged(found[1], _word(spreads[1], sensitivity, correlation, least), rule)


def _correlation(a: Array, b: Array) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if np.ptp(a) > 0 and np.ptp(b) > 0 else 0.0


def _word(criterion: PromptSpread, sensitivity: PromptSpread, correlation: float, least: float) -> str:
    """Both spreads are in the same unit: a shift of the line by δ moves c by δ, a better separation by δ moves d′/2 by δ/2."""
    if criterion.low > least and spread_difference(criterion, sensitivity, correlation)[0] > 0:
        return "bias-driven"
    if sensitivity.low > least:
        return "sensitivity varies"
    return "steady" if max(criterion.high, sensitivity.high) < 2 * least else "undetermined"


PARTS = (Detection(),)
