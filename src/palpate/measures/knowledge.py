"""Does the model know more than it says: is what it lacks knowledge, or only where it draws the line?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from palpate.measures._cells import Cell, cells
from palpate.measures._estimates import ONE_PROMPT, Made, judged, made
from palpate.measures._linear import (
    CLUSTERED,
    CLUSTERED_T,
    NO_MARGIN,
    NOTHING,
    ONE_CLASS,
    balanced,
    class_clusters,
    margins,
    shares,
    whole,
)
from palpate.measures._tests import Tested, by_error, with_words
from palpate.nouns import Estimate, Panel
from palpate.parts import Headline, MeasureSettings, Thresholds
from palpate.stats.folds import grouped_folds
from palpate.stats.influence import Linear, change_interval, spread_noise
from palpate.stats.resampling import Array, generator
from palpate.stats.roc import linear_auroc
from palpate.stats.threshold import right_sides
from palpate.stats.variance import PromptSpread, spread_difference, spread_with_noise

FOLDS = 10
METHOD_SPREAD = "variance over prompts − its clustered noise, Tukey–Williams interval"
METHOD_DIFFERENCE = "from the intervals of both spreads (MOVER), correlation of the two over prompts taken into account"
FITTED = f"threshold of the margin fitted on the other of {FOLDS} folds, patients whole"
METHOD_FOLDS = f"{FITTED}; {CLUSTERED}"
METHOD_LOSS = f"paired, {FITTED}, the high end with one fitted on all; {CLUSTERED_T}"


class Knowledge:
    """What the margin is worth at its own threshold, and whether wording moves that threshold or what is told apart."""

    name: ClassVar[str] = "knowledge"
    question: ClassVar[int] = 6
    estimates: ClassVar[Mapping[str, str]] = {
        "criterion_loss": "ba_own_threshold − ba_all, on read trials with a margin: what threshold, format and refusals cost",
        "ba_own_threshold": "Balanced accuracy of the margin at a threshold fitted on other cases, each prompt its own; "
        "read trials with a margin; chance 0.5",
        "auroc_spread": "Standard deviation of the prompts' AUROC of the margin, sampling noise removed; read trials with a margin",
        "spread_difference": "Spread over the prompts of ba_all − spread of the AUROC, noise removed from both: above 0, wording "
        "moves the threshold rather than the knowledge",
    }

    headlines: ClassVar[tuple[Headline, ...]] = (Headline("criterion_loss", 0.0, ("ba_own_threshold", "spread_difference")),)

    def measure(self, panels: Sequence[Panel], settings: MeasureSettings) -> Iterator[Estimate]:
        """All per cell; ba_own_threshold per prompt too. The verdict on criterion_loss holds over the tasks of a model (Holm)."""
        found: list[Tested] = []
        every = [cell for panel in panels for cell in cells(panel)]
        tasks = Counter(_of_model(cell) for cell in every)
        for cell in every:
            found += _estimates(cell, made(cell, settings.level), tasks[_of_model(cell)], settings)
        yield from with_words(found)


def _of_model(cell: Cell) -> tuple[str, ...]:
    return cell.panel.model, cell.name, str(cell.panel.perturbation)


def _estimates(cell: Cell, batch: Made, tasks: int, settings: MeasureSettings) -> Iterator[Tested]:
    score = margins(cell)
    used = np.isfinite(score) & (cell.seen > 0)
    label, cluster = cell.panel.label, cell.panel.cluster
    fold = grouped_folds(label, cluster, FOLDS, generator(settings.seed, cell.panel.task, "folds"))
    sides = right_sides(score, label, used, fold)
    fitted = np.isfinite(sides[0])
    own, best = (balanced(cell, np.where(fitted, np.nan_to_num(right), 0.0), fitted.astype(float)) for right in sides)
    said = balanced(cell, cell.right * fitted, fitted.astype(float))
    clusters = class_clusters(cell, fitted)
    why = ONE_CLASS if used.any() else NO_MARGIN
    yield _loss((own, best, said), clusters, batch, settings, why, cell.panel.best_accuracy)
    yield from map(Tested, shares(batch, "ba_own_threshold", own, clusters.min(axis=0), why, METHOD_FOLDS))
    positive = np.broadcast_to(cell.positive[:, None], used.shape)
    area = linear_auroc(score, positive, used, cluster, cell.clusters)
    ba = balanced(cell, cell.right * used, used.astype(float))
    least = int(class_clusters(cell, used).min(axis=0)[0])
    yield from map(Tested, _spreads(ba, area, least, batch, tasks, settings.thresholds, why))


def _loss(
    rates: tuple[Linear, Linear, Linear],
    clusters: NDArray[np.int64],
    batch: Made,
    settings: MeasureSettings,
    why: str,
    possible: float | None,
) -> Tested:
    """L_crit = BA* − BA_all, prompts averaged, paired by case (METHODS L4). ``rates``: BA* out of fold, BA* in sample, BA_all.

    A threshold fitted on other cases falls short of the best one, and one fitted on the same cases overshoots it: the low end is
    the first's, the high end the larger of the two. By the first alone the interval covers .88–.92 where nothing is to be gained.
    """
    own, best, said = rates
    loss, most, top = (own - said).mean(), (best - said).mean(), best.mean()
    count = int(clusters[:, 0].min())
    floor = float((0.25 / (clusters[:, 0] + 2) ** 2).sum())

    def high(statistic: Linear, at: float) -> Array:
        return change_interval(statistic, floor, count, at).high

    interval = change_interval(loss, floor, count, batch.level)
    interval = replace(interval, high=np.maximum(interval.high, high(most, batch.level)))
    narrow = max(float(high(s, 2 * batch.level - 1)) for s in (loss, most))
    found = whole(batch, "criterion_loss", loss.value, interval, METHOD_LOSS, why, count)
    bounds = settings.thresholds
    ruling = _Loss(narrow, float(high(top, batch.level)), bounds, 1 - batch.level, possible)
    return by_error(found, interval, null=(0.0, bounds.latent), ruling=ruling)


@dataclass(frozen=True, slots=True)
class _Loss:
    """threshold problem / knowledge problem / nothing lost / undetermined. The high ends: of the loss at 1 − 2α, and of BA*.

    ``possible``: the best that any reader can reach, where that is known.
    """

    narrow_high: float
    best_high: float
    bounds: Thresholds
    alpha: float
    possible: float | None = None

    def rule(self, family: str) -> str:
        near = f"{100 * (1 - 2 * self.alpha):.3g} % interval below {self.bounds.equivalence:g}"
        rule = (
            f"threshold problem where above {self.bounds.latent:g} (Holm over {family}); else, with its {near}, knowledge problem"
        )
        return f"{rule} where ba_own_threshold lies below {self._enough()}, nothing lost otherwise"

    def _enough(self) -> str:
        enough = f"{self.bounds.enough:g}"
        if self.possible is None:
            return enough
        return f"{self.bounds.enough_of(self.possible):.3g} (of a possible {self.possible:.3g} what {enough} is of 1, above 0.5)"

    def word(self, tested: Tested, p: float) -> str | None:
        low = tested.estimate.low
        if low is None:
            return None
        if low > self.bounds.latent and p < self.alpha:
            return "threshold problem"
        if self.narrow_high >= self.bounds.equivalence:
            return "undetermined"
        return "knowledge problem" if self.best_high < self.bounds.enough_of(self.possible) else "nothing lost"


def _spreads(ba: Linear, area: Linear, clusters: int, batch: Made, tasks: int, bounds: Thresholds, why: str) -> Iterator[Estimate]:
    defined = np.isfinite(area.value)
    prompts = int(defined.sum())
    if prompts < 2 or clusters < 2:
        reason = ONE_PROMPT if prompts == 1 else why
        yield batch.estimate("auroc_spread", 0, np.nan, NOTHING, METHOD_SPREAD, reason)
        yield batch.estimate("spread_difference", 0, np.nan, NOTHING, METHOD_DIFFERENCE, reason)
        return
    of_ba, of_area = (_of(statistic, defined, clusters, batch.level) for statistic in (ba, area))
    signed = f"{METHOD_SPREAD}; signed variance {of_area.variance:.3g}; {prompts} prompts with a margin"
    found = batch.estimate("auroc_spread", 0, of_area.sigma, (of_area.low, of_area.high), signed, why)
    rule = f"fragile where the interval lies above {bounds.fragile:g}, robust where it lies below {bounds.robust:g}"
    yield judged(found, _fragile(of_area, bounds), rule)
    a, b = ba.value[defined], area.value[defined]
    correlation = float(np.corrcoef(a, b)[0, 1]) if np.ptp(a) > 0 and np.ptp(b) > 0 else 0.0
    low, high = spread_difference(of_ba, of_area, correlation)
    difference = batch.estimate("spread_difference", 0, of_ba.sigma - of_area.sigma, (low, high), METHOD_DIFFERENCE, why)
    strict = 1 - (1 - batch.level) / tasks
    first, second = (_of(statistic, defined, clusters, strict) for statistic in (ba, area))
    sure = spread_difference(first, second, correlation)[0]
    word = "undetermined"
    if sure > bounds.threshold_problem:
        word = "threshold problem"
    elif of_area.low > bounds.fragile:
        word = "wording changes what is seen"
    over = "" if tasks == 1 else f" at {100 * strict:.4g} % (Bonferroni over {tasks} tasks)"
    rule = f"threshold problem where above {bounds.threshold_problem:g}{over}; else, wording changes what is seen where "
    rule += f"auroc_spread lies above {bounds.fragile:g}"
    if low > bounds.threshold_problem >= sure:
        why = f"by itself a threshold problem would be shown; held to {tasks} tasks at once it is not"
        difference = replace(difference, reason=why)
    yield judged(difference, word, rule)


def _of(statistic: Linear, kept: Array, clusters: int, level: float) -> PromptSpread:
    chosen = Linear(statistic.value[kept], statistic.influence[:, kept])
    return spread_with_noise(chosen.value, spread_noise(chosen, clusters), clusters, level)


def _fragile(spread: PromptSpread, bounds: Thresholds) -> str:
    return "fragile" if spread.low > bounds.fragile else "robust" if spread.high < bounds.robust else "undetermined"


PARTS = (Knowledge(),)
