"""From numbers to Estimates: one place where "undefined" becomes a reason instead of a number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from palpate.measures._cells import Cell
from palpate.nouns import Estimate, Panel
from palpate.stats.intervals import Interval
from palpate.stats.resampling import Array, clusters_with_any, over_prompts

ONE_CLUSTER = "all cases belong to one group (patient or slide): nothing says how another would differ"
ONE_CLUSTER_OF_CLASS = (
    "the cases of one class, or its answers, come from one group (patient or slide): nothing says how another would differ"
)
TOO_FEW = "too few groups with this class or answer to resample"
ONE_PROMPT = "one prompt: a spread needs at least two of the same cell"
MEAN = ", mean over prompts"
METHOD = "clustered bootstrap, Wilson interval on the effective sample size"
METHOD_PAIRED = "paired clustered bootstrap, t interval, prompts fixed"
METHOD_BA = "clustered bootstrap, Wilson intervals of both classes by square-and-add"


def place(panel: Panel, cell: str | None = None) -> dict[str, str]:
    """Where an estimate belongs: model, task, cell, and the perturbation only where there is one."""
    by = {"model": panel.model, "task": panel.task}
    if cell is not None:
        by["cell"] = cell
    if panel.perturbation.name != "none":
        by["perturbation"] = str(panel.perturbation)
    return by


def with_mean(rows: Array) -> Array:
    """(rows, …, P + 1): the mean over the prompts of (rows, …, P), put before them.

    The mean is over the prompts that are defined on the data; a draw in which one of those is undefined takes the mean of the rest.
    """
    defined = np.isfinite(rows[0])
    kept = rows if defined.all() else np.where(defined, rows, np.nan)
    return np.concatenate([over_prompts(kept)[..., None], rows], axis=-1)


@dataclass(frozen=True, slots=True)
class Made:
    """What a batch of Estimates has in common: their level, and what they rest on, the cell first and then its prompts."""

    by: Mapping[str, str]
    level: float
    prompts: Sequence[str]
    cases: Sequence[int]
    clusters: Sequence[int]
    left_out: Sequence[int]

    def estimate(self, name: str, place: int, value: float, bounds: tuple[float, float], method: str, why: str = "") -> Estimate:
        """The estimate at that place (0 the cell, then the prompts). ``why`` is the reason where it is undefined."""
        by = dict(self.by) if place == 0 else {**self.by, "prompt": self.prompts[place - 1]}
        return finished(
            Estimate(
                measure=name,
                by=by,
                value=value,
                low=bounds[0],
                high=bounds[1],
                level=self.level,
                method=method,
                n_cases=int(self.cases[place]),
                n_clusters=int(self.clusters[place]),
                n_left_out=int(self.left_out[place]),
            ),
            why,
        )

    def all(
        self, name: str, value: ArrayLike, interval: Interval, method: str, why: str, clusters: ArrayLike | None = None
    ) -> Iterator[Estimate]:
        """One estimate for the cell and one for each prompt. ``clusters``: those the value rests on; fewer than two: undefined."""
        values = np.asarray(value, np.float64)
        own = np.asarray(self.clusters if clusters is None else clusters)
        missing = int((~np.isfinite(values[1:])).sum())
        for at in range(values.size):
            reason = one_cluster(self.clusters[at]) if np.isfinite(values[at]) and own[at] < 2 else why
            how = method
            if at == 0 and len(self.prompts) > 1:
                how += f", mean over {len(self.prompts) - missing} of {len(self.prompts)} prompts" if missing else MEAN
            shown = float(values[at]) if own[at] >= 2 else math.nan
            yield self.estimate(name, at, shown, (float(interval.low[at]), float(interval.high[at])), how, reason)


def one_cluster(clusters: int) -> str:
    """Why a value that rests on a single cluster is not given, ``clusters`` being how many there are in all."""
    return ONE_CLUSTER if clusters < 2 else ONE_CLUSTER_OF_CLASS


def made(cell: Cell, level: float) -> Made:
    """What the estimates of a cell and of its prompts rest on."""
    seen = cell.seen > 0
    any_prompt = seen.any(axis=1)
    cases = [int(any_prompt.sum()), *map(int, seen.sum(axis=0))]
    clusters = clusters_with_any(np.column_stack([any_prompt, seen]), cell.panel.cluster, cell.clusters).tolist()
    left_out = cell.left_out
    return Made(place(cell.panel, cell.name), level, cell.prompts, cases, clusters, [int(left_out.sum()), *map(int, left_out)])


def finished(estimate: Estimate, why: str) -> Estimate:
    """The estimate with its numbers as plain floats, or with None and the reason; a value without an interval keeps its value."""
    numbers = (estimate.value, estimate.low, estimate.high)
    if all(type(x) is float and math.isfinite(x) for x in numbers):
        return estimate
    value, low, high = (None if x is None or not math.isfinite(x) else float(x) for x in numbers)
    if value is None:
        return replace(estimate, value=None, low=None, high=None, reason=_reason(estimate, why), verdict=None, mde=None)
    if low is None or high is None:
        method = estimate.method if "no interval" in estimate.method else f"{estimate.method}; no interval: {TOO_FEW}"
        return replace(estimate, value=value, low=None, high=None, method=method)
    return replace(estimate, value=value, low=low, high=high)


def judged(estimate: Estimate, word: str | None, rule: str) -> Estimate:
    """The estimate with its verdict, and in ``method`` the rule that gave it; without a word, as it was."""
    if word is None or estimate.value is None:
        return estimate
    return replace(estimate, verdict=word, method=f"{estimate.method}; verdict: {rule}")


def _reason(estimate: Estimate, why: str) -> str:
    if estimate.n_cases == 0:
        left = f" ({estimate.n_left_out} left out: errors, or never asked)" if estimate.n_left_out else ""
        return "no case was read" + left
    return why or "undefined for these readings"
