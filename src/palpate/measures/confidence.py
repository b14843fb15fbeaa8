"""Does the model know when it is wrong, so that it could abstain?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from palpate.measures._cells import REFUSED, Cell, cells
from palpate.measures._estimates import Made, made, one_cluster
from palpate.measures._linear import CLUSTERED, CLUSTERED_T, DELONG, NO_MARGIN, NOTHING, Flags, definite, says, whole
from palpate.measures._tests import Ruling, Tested, by_error, clusters_of, nearest, with_words
from palpate.nouns import Estimate, Outcome, Panel
from palpate.parts import Headline, MeasureSettings, Thresholds
from palpate.stats.influence import Linear, change_interval, ratio, score_error, share_interval
from palpate.stats.resampling import Array, clusters_with_any
from palpate.stats.selective import accepted, augrc, failure_auroc, risk_at

COVERAGE = 0.8
CURVE = tuple(k / 10 for k in range(1, 11))
CHANCE = 0.5
NO_ERROR = "no wrong answer, or no right one: nothing to tell apart"
NO_REFUSAL = "no trial with a margin was refused, or none was answered"
ONE_PROMPT = "agreement over wordings needs at least two of the same cell"


class Confidence:
    """Confidence against correctness, the risk of the confident answers, and whether refusals fall where it would be wrong."""

    name: ClassVar[str] = "confidence"
    question: ClassVar[int] = 7
    estimates: ClassVar[Mapping[str, str]] = {
        "auroc_failure": "Probability that a right answer is more confident than a wrong one, by size of the margin (per trial) or "
        "agreement of the wordings (per case); definite answers; 0.5: confidence says nothing",
        "augrc": "Mean over coverages of the share of answers that are wrong and accepted, most confident first; definite answers",
        "risk_at_80": "Wrong answers / the 80 % most confident definite answers",
        "risk_at_coverage": "Wrong answers / the most confident definite answers, at each share of them (coverage: 0.1 … 1); "
        "at 1: the error rate, which it would be at any coverage were confidence of no use",
        "informed_refusal": "Error the sign of the margin would make on refused trials − on answered ones, within each prompt; "
        "trials with a margin; above 0: it refuses where it would be wrong",
    }

    headlines: ClassVar[tuple[Headline, ...]] = (Headline("auroc_failure", 0.5, ("risk_at_80", "augrc", "informed_refusal")),)

    def measure(self, panels: Sequence[Panel], settings: MeasureSettings) -> Iterator[Estimate]:
        """Per cell and, by margin, per prompt; ``confidence`` says which confidence. Verdicts hold over the tasks (Holm)."""
        found: list[Tested] = []
        for panel in panels:
            for cell in cells(panel):
                batch = made(cell, settings.level)
                found += _by_margin(cell, batch, settings.thresholds)
                found += _by_agreement(cell, batch, settings.thresholds)
                found.append(_informed(cell, batch))
        yield from with_words(found)


@dataclass(frozen=True)
class _Answers:
    """Definite answers: how confident, and whether right; (rows, P), and the cluster of each row."""

    confidence: Array
    right: Flags
    used: Flags
    cluster: NDArray[np.int64]
    clusters: int

    def counts(self, kept: Flags) -> NDArray[np.int64]:
        """(P + 1) clusters with a row in ``kept``: under any prompt, then under each."""
        return clusters_with_any(np.column_stack([kept.any(axis=1), kept]), self.cluster, self.clusters)


def _flat(values: np.ndarray) -> np.ndarray:
    """(n · R, P) of (n, P, R): every repeat a row of its own."""
    return values.transpose(0, 2, 1).reshape(-1, values.shape[1])


def _by_margin(cell: Cell, batch: Made, bounds: Thresholds) -> Iterator[Tested]:
    margin = _flat(cell.panel.margin[:, cell.at])
    used = _flat(definite(cell)) & np.isfinite(margin)
    right = _flat(says(cell, Outcome.POSITIVE) == cell.positive[:, None, None])
    cluster = np.repeat(cell.panel.cluster, cell.outcome.shape[2])
    answers = _Answers(np.where(used, np.abs(margin), 0.0), right, used, cluster, cell.clusters)
    why = NO_ERROR if np.isfinite(margin).any() else NO_MARGIN
    for one in _of(answers, batch, bounds, why):
        yield replace(one, estimate=_named(one.estimate, "margin"))


def _by_agreement(cell: Cell, batch: Made, bounds: Thresholds) -> Iterator[Tested]:
    """The majority answer over wordings and repeats, |2p̂ − 1| its confidence; a tie is no answer."""
    positive, answered = (flag.sum(axis=(1, 2)) for flag in (says(cell, Outcome.POSITIVE), definite(cell)))
    share = np.divide(positive, answered, out=np.full(answered.shape, 0.5), where=answered > 0)[:, None]
    used = (share != 0.5) & (len(cell.prompts) > 1)
    right = (share > 0.5) == cell.positive[:, None]
    # Of whole numbers, so that as many for as against are as confident to the last digit, and tie.
    lead = np.abs(2 * positive - answered) / np.maximum(answered, 1)
    answers = _Answers(lead[:, None], right, used, cell.panel.cluster, cell.clusters)
    whole_cell = replace(batch, prompts=("",))  # the single column is the cell itself, and is not given twice
    for one in _of(answers, whole_cell, bounds, NO_ERROR if len(cell.prompts) > 1 else ONE_PROMPT):
        if "prompt" not in one.estimate.by:
            method = one.estimate.method.replace("mean over prompts", "per case")
            yield replace(one, estimate=replace(_named(one.estimate, "agreement"), method=method))


def _named(estimate: Estimate, confidence: str) -> Estimate:
    return replace(estimate, by={**estimate.by, "confidence": confidence})


def _of(answers: _Answers, batch: Made, bounds: Thresholds, why: str) -> Iterator[Tested]:
    at = answers.cluster, answers.clusters
    area = failure_auroc(answers.confidence, answers.right, answers.used, *at)
    accuracy = ratio((answers.right & answers.used).astype(float), answers.used.astype(float), *at)
    counts = np.minimum(*(answers.counts(answers.used & side) for side in (answers.right, ~answers.right)))
    least = bounds.confidence_auroc
    found = area.with_mean()
    interval = share_interval(found, counts, batch.level)
    no_use = (CHANCE, least)
    by_score = replace(interval, error=score_error(found, counts, nearest(found.value, no_use)))
    ruling = _Usable(least, 1 - batch.level)
    for place, e in enumerate(batch.all("auroc_failure", found.value, interval, DELONG, why, counts)):
        yield by_error(e, by_score, null=no_use, at=place, ruling=ruling)
    risk = augrc(accuracy, area).with_mean()
    interval = change_interval(risk, 0.0, np.maximum(counts, 1), batch.level)
    interval = replace(interval, low=np.maximum(interval.low, 0.0), high=np.minimum(interval.high, 0.5))
    yield from map(Tested, batch.all("augrc", risk.value, interval, CLUSTERED_T, why, counts))
    every = answers.counts(answers.used)
    at_80 = risk_at(answers.confidence, answers.right, answers.used, COVERAGE, *at).with_mean()
    why_not = why if why != NO_ERROR else "no definite answer"
    shares = share_interval(at_80, every, batch.level)
    yield from map(Tested, batch.all("risk_at_80", at_80.value, shares, CLUSTERED, why_not, every))
    yield from map(Tested, _curve(answers, batch, why_not))


def _curve(answers: _Answers, batch: Made, why: str) -> Iterator[Estimate]:
    """The risk–coverage curve of the cell, point by point. Each rests on the groups of the answers accepted under a prompt."""
    how = f"{CLUSTERED}, mean over prompts"
    if not answers.used.any():
        yield whole(batch, "risk_at_coverage", np.nan, None, how, why, 0)
        return
    risks, clusters = [], []
    for coverage in CURVE:
        kept = accepted(answers.confidence, answers.used, coverage)
        risks.append(ratio(kept * ~answers.right, kept, answers.cluster, answers.clusters).mean())
        clusters.append(round(float(answers.counts(kept > 0)[1:][answers.used.any(axis=0)].mean())))
    risk = Linear(np.stack([r.value for r in risks]), np.stack([r.influence for r in risks], axis=-1))
    interval = share_interval(risk, clusters, batch.level)
    for at, coverage in enumerate(CURVE):
        found = whole(batch, "risk_at_coverage", risk.value[at], interval[at], how, why, clusters[at])
        yield replace(found, by={**found.by, "coverage": f"{coverage:g}"}, n_clusters=clusters[at])


@dataclass(frozen=True, slots=True)
class _Usable:
    """usable / misleading / not shown to be usable: above the study's own bound, below chance, or neither."""

    least: float
    alpha: float

    def rule(self, family: str) -> str:
        beyond = f"other than {CHANCE:g}" if self.least == CHANCE else f"above {self.least:g} or below {CHANCE:g}"
        return f"{beyond} (Holm over {family}): usable to abstain by where above, misleading where below"

    def word(self, tested: Tested, p: float) -> str:
        if p >= self.alpha:
            return "not shown to be usable"
        return "usable" if tested.value > CHANCE else "misleading"


# ---------------------------------------------------------------- refusals


def _informed(cell: Cell, batch: Made) -> Tested:
    """IR = forced error (refused) − forced error (answered), within prompts: weights n₁n₂/(n₁ + n₂), as Mantel & Haenszel's."""
    margin = cell.panel.margin[:, cell.at]
    forced = np.isfinite(margin) & (margin != 0) & cell.read
    wrong = forced & ((margin > 0) != cell.positive[:, None, None])
    groups = [forced & flag for flag in (REFUSED[cell.outcome], definite(cell))]
    at = cell.panel.cluster, cell.clusters
    numbers = [g.sum(axis=(0, 2)).astype(float) for g in groups]
    usable = (numbers[0] > 0) & (numbers[1] > 0)
    refused, answered = (clusters_of(cell, g[:, usable].any(axis=(1, 2))) for g in groups)
    method = f"{CLUSTERED_T}, within prompts"
    if not usable.any():
        why = NO_REFUSAL if np.isfinite(margin).any() else NO_MARGIN
        return Tested(batch.estimate("informed_refusal", 0, np.nan, NOTHING, method, why))
    errors = [ratio((wrong & g).sum(axis=2).astype(float), g.sum(axis=2).astype(float), *at) for g in groups]
    weight = np.where(usable, numbers[0] * numbers[1] / np.maximum(numbers[0] + numbers[1], 1), 0.0)
    weight = weight[usable] / weight.sum()
    gap = errors[0] - errors[1]
    total = Linear(np.asarray(gap.value[usable] @ weight), gap.influence[:, usable] @ weight)
    clusters = min(refused, answered)
    floor = 0.25 * (1 / (refused + 2) ** 2 + 1 / (answered + 2) ** 2)
    interval = change_interval(total, floor, max(clusters, 1), batch.level)
    found = whole(batch, "informed_refusal", total.value, interval, method, one_cluster(batch.clusters[0]), clusters)
    found = replace(found, n_cases=int(groups[0].any(axis=(1, 2)).sum()), n_clusters=refused)
    return by_error(found, interval, ruling=Ruling(("informed", "misplaced"), 1 - batch.level, none="not shown to be informed"))


PARTS = (Confidence(),)
