"""Where is it lost? What each stage of a model knows of the condition, from the pixels to the answer, on the same cases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from palpate.measures._cells import Cell, cells
from palpate.measures._described import table
from palpate.measures._estimates import ONE_CLUSTER_OF_CLASS, finished, judged, place
from palpate.measures._tests import Tested, alone, by_error, with_words
from palpate.nouns import Estimate, Panel
from palpate.parts import Headline, MeasureSettings
from palpate.rung import Rung
from palpate.stats.influence import Linear, change_interval, ratio, share_interval
from palpate.stats.intervals import Interval, two_sided_p
from palpate.stats.probes import ladder_folds, probe_score
from palpate.stats.resampling import Array
from palpate.stats.roc import linear_auroc
from palpate.stats.verdicts import equivalent, holm

WALKED = ("vision", "read", "projector", "image", "last", "margin", "text", "description")
"""The stages between which something can be lost, in order; of several layers the best, chosen on other cases."""
BESIDE = ">description"
"""A step that nothing flows along: what readers miss in a description is not lost on the way to the answer."""
CHOSEN = ("vision", "image", "last", "hidden")

AREA = "out-of-fold score of linear probes, mean over repeated grouped folds; DeLong's variance for clustered data"
SHARE = "threshold fitted on the other folds; cluster-robust variance, Wilson interval on the effective sample size"
PAIRED = "paired on the same cases and folds; cluster-robust variance, t interval"
TRAINED = "paired on the same cases and folds; cluster-robust variance + that between repeats of the folds, t interval"
ONE_CLASS = "only one class has this stage"
BOTTLENECK = (
    "bottleneck is the largest loss, as far as it lies above 0.5, whose p, after Holm over the steps, is below 1 − level, whose "
    "1 − 2α interval reaches {margin:g}, and which begins at a stage surely (99 %) above 0.5"
)
CHANCE = 0.5
SURE = 0.99
"""Level of the interval by which a stage is said to see: training two probes adds variance that the cases' alone does not show."""
WIDE = 0.1
"""Directions per case above which a stage may be too wide for the probe."""
SEES = (
    "sees: the 99 % intervals of the gain and of the stage's AUROC lie above 0 and 0.5; "
    "nothing beyond colours: the 1 − 2α interval lies below {margin:g}"
)


class Ladder:
    """The information ladder: AUROC and balanced accuracy of every stage, the loss from each to the next, and the bottleneck.

    Walked along one wording per cell: that at whose last token the language model's states were kept.
    """

    name: ClassVar[str] = "ladder"
    question: ClassVar[int] = 6
    estimates: ClassVar[Mapping[str, str]] = {
        "ladder_loss": "ladder_ba of a stage − of the next, on the cases of both; above 0: lost on the way",
        "ladder_ba": "Balanced accuracy at a threshold fitted on other cases; of the text: non-answers wrong; cases with the stage",
        "ladder_auroc": "AUROC of linear probes of the stage, out of fold (of the margin itself); cases with the stage; chance 0.5",
        "ladder_selectivity": "ladder_auroc − that of the same probe on labels permuted over groups: what is not learnt by heart",
        "ladder_gain": "ladder_auroc − that of the file's size and colours alone; cases of both",
        "ladder_gain_over_random": "ladder_auroc − that of the same stage of a randomly initialised twin; cases of both",
        "ladder_width": "Directions that share the stage's variance, (Σλ)²/Σλ² of features of unit variance; cases with the stage",
        "representation_loss": "ladder_ba of the best inner stage, chosen on other cases, − that of the margin: known, not said",
    }

    headlines: ClassVar[tuple[Headline, ...]] = (Headline("representation_loss", 0.0),)

    def measure(self, panels: Sequence[Panel], settings: MeasureSettings) -> Iterator[Estimate]:
        """All per cell of which inner states were probed; nothing for other panels.

        Holm is over the steps of one ladder; of representation_loss, over the tasks of a model.
        """
        found: list[Tested] = []
        for panel in panels:
            for cell in cells(panel):
                if cell.name in panel.rungs:
                    walk = _Walk(cell, settings)
                    found += map(Tested, walk.estimates())
                    found += walk.representation()
        yield from with_words(found)


@dataclass(frozen=True, slots=True)
class _Latent:
    """latent / nothing more inside / undetermined, of representation_loss."""

    bound: float
    small: bool  # its 1 − 2α interval lies below the margin of equivalence
    alpha: float

    def rule(self, family: str) -> str:
        return f"latent where above {self.bound:g} (Holm over {family})"

    def word(self, tested: Tested, p: float) -> str | None:
        low = tested.estimate.low
        if p < self.alpha and low is not None and low > self.bound:
            return "latent"
        return "nothing more inside" if self.small else "undetermined"


@dataclass(frozen=True, slots=True)
class _Loss:
    step: str
    statistic: Linear
    interval: Interval
    narrow: Interval
    clusters: int

    @property
    def value(self) -> float:
        """Balanced accuracy lost."""
        return float(self.statistic.value)

    @property
    def p(self) -> float:
        """Two-sided."""
        return float(np.ravel(two_sided_p(self.statistic.value / self.interval.error, self.interval.freedom))[0])


class _Walk:
    """One cell of one panel."""

    def __init__(self, cell: Cell, settings: MeasureSettings) -> None:
        self.cell, self.settings, self.panel = cell, settings, cell.panel
        self.label, self.cluster = cell.panel.label, cell.panel.cluster
        self.rungs = {r.stage: r for r in cell.panel.rungs[cell.name]}
        self.rungs |= self._said()

    def estimates(self) -> Iterator[Estimate]:
        """Stage by stage, then step by step."""
        base = self.rungs.get("metadata")
        for rung in self.rungs.values():
            yield self._share("ladder_ba", rung)
            if np.isfinite(rung.score).any():
                yield self._area(rung)
                if rung.control is not None:
                    yield self._selectivity(rung)
                if base is not None and rung is not base:
                    yield self._gain("ladder_gain", rung, base.score)
                if rung.twin is not None:
                    yield self._gain("ladder_gain_over_random", rung, rung.twin)
            if rung.width is not None:
                yield self._width(rung, rung.width)
        yield from self._losses()

    def _said(self) -> dict[str, Rung]:
        """The last stages: margin and text of the first wording of the cell."""
        margin = _mean_margin(self.cell)
        found: dict[str, Rung] = {}
        known = np.isfinite(margin)
        if known.any() and len(set(self.label[known].tolist())) == 2:
            cluster = np.unique(self.cluster[known], return_inverse=True)[1]
            fold = ladder_folds(self.label[known], cluster, self.settings.seed, self.panel.task)
            right = np.full(margin.size, np.nan)
            scored = probe_score(margin[known], self.label[known], fold)
            right[known] = scored.mean_right
            repeats = np.full((fold.shape[0], margin.size), np.nan)
            repeats[:, known] = scored.right
            found["margin"] = Rung("margin", margin, right, repeats=repeats)
        seen = self.cell.seen[:, 0] > 0
        right = np.where(seen, self.cell.right[:, 0], np.nan)
        found["text"] = Rung("text", np.full(margin.size, np.nan), right)
        told = self.panel.descriptions
        real = [d for d in told.diagnoses if d.input == "real" and d.cell == self.cell.name] if told is not None else []
        if told is not None and real:
            found["description"] = Rung(
                "description", np.full(margin.size, np.nan), table(self.panel, real, told.prompts).mean_right
            )
        return found

    # ------------------------------------------------------------ one stage

    def _right(self, rung: Rung, used: NDArray[np.bool_]) -> Linear:
        """() balanced accuracy over the cases in use."""
        value = np.where(used, np.nan_to_num(rung.right), 0.0)
        sides = [
            ratio(value * (self.label == y), (used & (self.label == y)).astype(np.float64), self.cluster, self.cell.clusters)
            for y in (0, 1)
        ]
        return (sides[0] + sides[1]).times(0.5)

    def _groups(self, used: NDArray[np.bool_]) -> int:
        return min(int(np.unique(self.cluster[used & (self.label == y)]).size) for y in (0, 1))

    def _share(self, name: str, rung: Rung) -> Estimate:
        used = np.isfinite(rung.right)
        statistic, groups = self._right(rung, used), self._groups(used)
        interval = share_interval(statistic, max(groups, 2), self.settings.level)
        return self._made(name, {"stage": rung.stage}, statistic, interval, SHARE, used, groups)

    def _auroc(self, score: Array, used: NDArray[np.bool_]) -> Linear:
        positive = (self.label == 1)[:, None]
        found = linear_auroc(np.where(used, score, 0.0)[:, None], positive, used[:, None], self.cluster, self.cell.clusters)
        return Linear(np.asarray(found.value[0]), found.influence[:, 0])

    def _area(self, rung: Rung) -> Estimate:
        used = np.isfinite(rung.score)
        statistic, groups = self._auroc(rung.score, used), self._groups(used)
        interval = share_interval(statistic, max(groups, 2), self.settings.level)
        return self._made("ladder_auroc", {"stage": rung.stage}, statistic, interval, AREA, used, groups)

    def _width(self, rung: Rung, width: float) -> Estimate:
        """No interval: it is a property of these cases' states. "wide" says that a loss into this stage may be the probe's."""
        used = np.isfinite(rung.right)
        cases, clusters = int(used.sum()), int(np.unique(self.cluster[used]).size)
        by = {**place(self.panel, self.cell.name), "stage": rung.stage}
        word = "wide" if width > WIDE * cases else "narrow"
        how = "participation ratio of the principal components of these cases' states"
        made = Estimate("ladder_width", by, width, None, None, self.settings.level, how, cases, clusters, int((~used).sum()))
        return judged(made, word, f"wide above {WIDE:g} directions a case: a loss into this stage may be the probe's")

    def _selectivity(self, rung: Rung) -> Estimate:
        assert rung.control is not None
        used = np.isfinite(rung.score)
        statistic, groups = self._auroc(rung.score, used), self._groups(used)
        shifted = Linear(np.asarray(statistic.value - rung.control), statistic.influence)
        interval = change_interval(shifted, 0.0, max(groups, 2), self.settings.level)
        method = f"{AREA}; less the control's {rung.control:.3f}, taken as known"
        return self._made("ladder_selectivity", {"stage": rung.stage}, shifted, interval, method, used, groups)

    def _gain(self, name: str, rung: Rung, other: Array) -> Estimate:
        used = np.isfinite(rung.score) & np.isfinite(other)
        statistic, groups = self._auroc(rung.score, used) - self._auroc(other, used), self._groups(used)
        interval, narrow = self._shift(statistic, groups)
        found = self._made(name, {"stage": rung.stage}, statistic, interval, PAIRED, used, groups)
        if found.value is None or found.low is None:
            return found
        margin = self.settings.thresholds.equivalence
        sure = change_interval(statistic, 0.5 / (max(groups, 1) + 2) ** 2, max(groups, 2), max(SURE, self.settings.level))
        # Out of fold, colours that tell nothing can fall below 0.5: to be better than that is not to see.
        own = change_interval(self._auroc(rung.score, used), 0.0, max(groups, 2), max(SURE, self.settings.level))
        word = (
            "sees"
            if float(sure.low) > 0 and float(own.low) > 0.5
            else "nothing beyond colours"
            if float(narrow.high) < margin
            else "undetermined"
        )
        if name == "ladder_gain_over_random":
            return found
        return judged(found, word, SEES.format(margin=margin))

    def _shift(self, statistic: Linear, groups: int, trained: float = 0.0) -> tuple[Interval, Interval]:
        floor = 0.5 / (max(groups, 1) + 2) ** 2
        level = self.settings.level
        wide, narrow = (change_interval(statistic, floor, max(groups, 2), at, besides=trained) for at in (level, 2 * level - 1))
        return wide, narrow

    # ------------------------------------------------------------ from one stage to the next

    def _losses(self) -> Iterator[Estimate]:
        stages = [stage for stage in WALKED if stage in self.rungs]
        losses = [self._loss(a, b) for a, b in pairwise(stages)]
        defined = [loss.clusters >= 2 and bool(np.isfinite(loss.statistic.value)) for loss in losses]
        adjusted = holm([loss.p if known else np.nan for loss, known in zip(losses, defined, strict=True)])
        margin, alpha = self.settings.thresholds.equivalence, 1 - self.settings.level
        shown = [known and p < alpha and loss.value > 0 for loss, known, p in zip(losses, defined, adjusted, strict=True)]
        # What is surely smaller than the margin is shown to be lost, but nobody's bottleneck.
        large = [
            self._knowledge(loss) if sure and loss.narrow.high >= margin and not loss.step.endswith(BESIDE) else 0.0
            for loss, sure in zip(losses, shown, strict=True)
        ]
        worst = int(np.argmax(large)) if any(large) else -1
        for i, loss in enumerate(losses):
            used = self._both(*loss.step.split(">"))
            found = self._made("ladder_loss", {"step": loss.step}, loss.statistic, loss.interval, TRAINED, used, loss.clusters)
            if found.value is None or not defined[i]:
                yield found
                continue
            word = "bottleneck" if i == worst else "loss" if shown[i] else "no loss shown"
            if adjusted[i] < alpha and found.value < 0:
                word = "gain"
            near = equivalent(float(loss.narrow.low), float(loss.narrow.high), margin)
            word = "kept" if word == "no loss shown" and near else word
            yield alone(judged(found, word, BOTTLENECK.format(margin=margin)), losses[i].p, float(adjusted[i]), "the steps")

    def _knowledge(self, loss: _Loss) -> float:
        """What is lost of what was there: answers left open fall below guessing, and a stage that guesses has nothing to lose."""
        rung = self.rungs[loss.step.partition(">")[0]]
        used = np.isfinite(rung.right)
        before = self._right(rung, used)
        sure = float(share_interval(before, max(self._groups(used), 2), max(SURE, self.settings.level)).low) > CHANCE
        return min(loss.value, float(before.value) - CHANCE) if sure else 0.0

    def _both(self, first: str, second: str) -> NDArray[np.bool_]:
        return np.isfinite(self.rungs[first].right) & np.isfinite(self.rungs[second].right)

    def _loss(self, first: str, second: str) -> _Loss:
        used = self._both(first, second)
        statistic = self._right(self.rungs[first], used) - self._right(self.rungs[second], used)
        groups = self._groups(used)
        interval, narrow = self._shift(statistic, groups, self._between(self.rungs[first], self.rungs[second], used))
        return _Loss(f"{first}>{second}", statistic, interval, narrow, groups)

    def _between(self, first: Rung, second: Rung, used: NDArray[np.bool_]) -> float:
        """Variance of the loss between repeats of the folds: what other training cases would change; 0 where nothing is trained."""
        sides = [np.atleast_2d(r.right if r.repeats is None else r.repeats) for r in (first, second)]
        change = (sides[0] - sides[1])[:, used]  # (R, cases)
        if min(change.shape) < 2 or self._groups(used) < 1:
            return 0.0
        by_class = [change[:, self.label[used] == y].mean(axis=1) for y in (0, 1)]
        return float(np.var((by_class[0] + by_class[1]) / 2, ddof=1))

    def representation(self) -> Iterator[Tested]:
        """What is known inside and not said, where both stages are there."""
        if "hidden" not in self.rungs or "margin" not in self.rungs:
            return
        loss = self._loss("hidden", "margin")
        used = self._both("hidden", "margin")
        found = self._made("representation_loss", {}, loss.statistic, loss.interval, TRAINED, used, loss.clusters)
        bounds = self.settings.thresholds
        ruling = _Latent(bounds.latent, float(loss.narrow.high) < bounds.equivalence, 1 - self.settings.level)
        yield by_error(found, loss.interval, null=(0.0, bounds.latent), ruling=ruling)

    def _made(
        self,
        name: str,
        more: Mapping[str, str],
        statistic: Linear,
        interval: Interval,
        method: str,
        used: NDArray[np.bool_],
        groups: int,
    ) -> Estimate:
        value = float(statistic.value) if groups >= 2 else np.nan
        bounds = [float(np.ravel(b)[0]) for b in (interval.low, interval.high)]
        whole = int(np.unique(self.cluster[used]).size)
        left = int((~used).sum())
        by = {**place(self.panel, self.cell.name), **more}
        made = Estimate(name, by, value, bounds[0], bounds[1], self.settings.level, method, int(used.sum()), whole, left)
        return finished(made, ONE_CLUSTER_OF_CLASS if groups == 1 else ONE_CLASS)


def _mean_margin(cell: Cell) -> Array:
    """(n,) margin of the cell's first wording, mean over its repeats that have one."""
    margin = cell.panel.margin[:, cell.at[0]]
    known = np.isfinite(margin)
    count = known.sum(axis=1)
    total = np.where(known, margin, 0.0).sum(axis=1)
    return np.asarray(np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0), np.float64)


PARTS = (Ladder(),)
