"""From replicates to a tested Estimate: value, interval, p, what the sample could have seen, and the word they amount to."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from palpate.measures._cells import Cell, Draws
from palpate.measures._estimates import Made, finished, judged, one_cluster
from palpate.nouns import Estimate
from palpate.stats.intervals import (
    Interval,
    bootstrap_variance,
    effective_size,
    informative_clusters,
    proportion_of,
    shift_of,
    two_sided_p,
)
from palpate.stats.resampling import Array, Replicates
from palpate.stats.verdicts import detectable_difference, four_way, holm

NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Tested:
    """An estimate with what its verdict needs: the p of "no effect" and the 1 − 2α interval; NaN where there is none.

    ``other``: the value that was tested where it is not the estimate's own (of ba_all, ba_answered). ``ruling``: how it gets its
    word, where the measure has no one rule for all.
    """

    estimate: Estimate
    p: float = NAN
    narrow: tuple[float, float] = (NAN, NAN)
    other: float | None = None
    ruling: Verdict | None = None

    @property
    def value(self) -> float:
        """What was tested."""
        value = self.estimate.value if self.other is None else self.other
        assert value is not None
        return value


class Verdict(Protocol):
    """How a tested estimate gets its word."""

    def word(self, tested: Tested, p: float) -> str | None:
        """Its word, given its adjusted p."""
        ...

    def rule(self, family: str) -> str:
        """The rule in words, for ``Estimate.method``; ``family``: what Holm's correction is over."""
        ...


@dataclass(frozen=True, slots=True)
class Ruling:
    """How tested estimates get their words. ``null``: the value of no effect; ``margin`` None: there is no "equivalent"."""

    words: tuple[str, str]
    alpha: float
    margin: float | None = None
    null: float = 0.0
    none: str = "undetermined"  # the word where nothing is shown
    near: str = "equivalent"  # the word where the 1 − 2α interval lies within the margin
    about: str = ""  # what was tested, where it is not the estimate itself

    def rule(self, family: str) -> str:
        """The rule in words, for ``Estimate.method``."""
        holm_over = f" (Holm over {family})" if family else ""
        near = ""
        if self.margin is not None:
            near = f", {self.near} if its {100 - 200 * self.alpha:.3g} % interval is within {self.margin:g} of it"
        return f"{self.about}other than {self.null:g}{holm_over}{near}"

    def word(self, tested: Tested, p: float) -> str:
        """The word of one estimate, given its adjusted p."""
        value = tested.value
        if self.margin is None:
            return (self.words[0] if value > self.null else self.words[1]) if p < self.alpha else self.none
        low, high = tested.narrow
        narrow = low - self.null, high - self.null
        word = four_way(value - self.null, p, narrow, margin=self.margin, alpha=self.alpha, words=self.words)
        return {"equivalent": self.near, "undetermined": self.none}.get(word, word)


@dataclass(frozen=True, slots=True)
class Shown:
    """The verdict of an estimate that is a p itself: there is an effect, or none is shown."""

    words: tuple[str, str]
    alpha: float

    def rule(self, family: str) -> str:
        """The rule in words, for ``Estimate.method``."""
        return f"p below {self.alpha:.3g} after Holm over {family}"

    def word(self, tested: Tested, p: float) -> str:
        """The first word where the adjusted p is below α."""
        return self.words[0] if p < self.alpha else self.words[1]


def over_tasks(e: Estimate) -> Hashable:
    """The family of one question over all tasks: what the estimate belongs to but its task; single prompts are one family."""
    return e.measure, *sorted((name, "" if name == "prompt" else value) for name, value in e.by.items() if name != "task")


def tasks_or_prompts(e: Estimate) -> str:
    """What ``over_tasks`` corrects over, in words."""
    return "the prompts of all tasks" if "prompt" in e.by else "tasks"


def adjusted(tests: Sequence[Tested], family: Callable[[Estimate], Hashable] = over_tasks) -> Array:
    """(tests,) Holm's p within each ``family``; NaN where there is none."""
    families: dict[Hashable, list[int]] = {}
    for at, one in enumerate(tests):
        families.setdefault(family(one.estimate), []).append(at)
    found = np.full(len(tests), np.nan)
    for members in families.values():
        found[members] = holm([tests[at].p for at in members])
    return found


def with_words(
    tests: Sequence[Tested],
    ruling: Callable[[Estimate], Verdict | None] = lambda e: None,
    family: Callable[[Estimate], Hashable] = over_tasks,
    name: str | Callable[[Estimate], str] = tasks_or_prompts,
) -> Iterator[Estimate]:
    """The estimates in their order, each with its word: Holm within ``family``, which ``name`` calls in the method."""
    for one, p in zip(tests, adjusted(tests, family), strict=True):
        rule = one.ruling or ruling(one.estimate)
        if rule is None or one.estimate.value is None or not math.isfinite(p):
            yield one.estimate
        else:
            called = name if isinstance(name, str) else name(one.estimate)
            found = judged(one.estimate, rule.word(one, float(p)), rule.rule(called))
            yield alone(found, one.p, float(p), called, rule.about.strip() if isinstance(rule, Ruling) else "")


def alone(found: Estimate, p: float, corrected: float, family: str, about: str = "") -> Estimate:
    """The estimate with, as its reason, that only the correction over its family keeps it from being shown; else as it was.

    So an interval that leaves out no effect never stands beside a word that claims none without saying why. ``about``: what was
    tested, where it is not the estimate itself.
    """
    if found.verdict is None or not p < 1 - found.level <= corrected:
        return found
    effect = f"an effect ({about})" if about else "an effect"
    return replace(found, reason=f"by itself {effect} would be shown; after Holm's correction over {family} it is not")


def by_error(
    found: Estimate,
    interval: Interval,
    *,
    null: float | tuple[float, float] = 0.0,
    narrow: Interval | None = None,
    at: int = 0,
    ruling: Verdict | None = None,
) -> Tested:
    """A finished estimate with the p of ``null`` and its smallest detectable difference, by the error of its interval (…,) ``at``.

    ``null``: the value of no effect, or the range of them up to a study's own bound: the p is then that of the nearest one, and so
    valid for every one of them. ``narrow``: the 1 − 2α interval, where there is a word for being close to ``null``.
    """
    error, freedom = (float(np.ravel(part)[min(at, np.size(part) - 1)]) for part in (interval.error, interval.freedom))
    if found.value is None or found.low is None or not error > 0:
        return Tested(found)
    p = float(two_sided_p((found.value - nearest(found.value, null)) / error, freedom))
    mde = float(detectable_difference(error, freedom, alpha=1 - found.level))
    ends = (NAN, NAN) if narrow is None else (float(np.ravel(narrow.low)[at]), float(np.ravel(narrow.high)[at]))
    return Tested(replace(found, mde=mde if math.isfinite(mde) else None), p, ends, ruling=ruling)


def nearest(value: ArrayLike, null: float | tuple[float, float]) -> Array:
    """The value (…,) of no effect that is nearest to what was found: ``null`` itself, or of a range [low, high] of them."""
    low, high = (null, null) if isinstance(null, float) else null
    return np.clip(np.asarray(value, np.float64), low, high)


def shift(
    blank: Estimate,
    rows: Replicates,
    clusters: float,
    floor: float,
    *,
    why: str = "",
    limits: tuple[float, float] = (-1.0, 1.0),
    least: float = 0.0,
) -> Tested:
    """The one of ``shifts``, from (…, 1) replicates."""
    return shifts([blank], rows, np.array([float(clusters)]), np.array([floor]), why=why, limits=limits, least=least)[0]


def shifts(
    blanks: Sequence[Estimate],
    rows: Replicates,
    clusters: Array,
    floors: Array,
    *,
    why: str | Sequence[str] = "",
    limits: tuple[float, float] = (-1.0, 1.0),
    least: float = 0.0,
) -> list[Tested]:
    """K differences or effects from (…, K) replicates, tested against 0 (or, with ``least``, against anything up to that size).

    ``floors`` (K,): the variance of one discordant cluster; ``clusters`` (K,) those each rests on, fewer than two: undefined,
    and ``why`` says why: of all, or of each.
    """
    level, value = blanks[0].level, rows.value
    variance, informative = bootstrap_variance(rows, clusters), informative_clusters(rows)
    wide, narrow = (shift_of(value, variance, informative, floors, clusters, at) for at in (level, 2 * level - 1))
    return _tested(blanks, value, clusters, (wide, narrow), value - nearest(value, (-least, least)), limits, why)


def share(blank: Estimate, rows: Replicates, clusters: float, *, null: float | None = None, why: str = "") -> Tested:
    """The one of ``shares``, from (…, 1) replicates."""
    return shares([blank], rows, np.array([float(clusters)]), null=null, why=why)[0]


def shares(
    blanks: Sequence[Estimate], rows: Replicates, clusters: Array, *, null: float | None = None, why: str | Sequence[str] = ""
) -> list[Tested]:
    """K proportions from (…, K) replicates, tested against ``null`` where there is one; ``clusters`` as in ``shifts``."""
    level, value = blanks[0].level, rows.value
    size = effective_size(rows, clusters)
    wide, narrow = (proportion_of(value, size, clusters, at) for at in (level, 2 * level - 1))
    if null is None:
        return _tested(blanks, value, clusters, (wide, narrow), None, (0.0, 1.0), why)
    # The score test, whose error is that of the null: it agrees with Wilson's interval, and is defined where all are alike.
    error = np.sqrt(null * (1 - null) / size)
    at_null = replace(wide, error=error), replace(narrow, error=error)
    return _tested(blanks, value, clusters, at_null, value - null, (0.0, 1.0), why)


def _tested(
    blanks: Sequence[Estimate],
    value: Array,
    clusters: Array,
    intervals: tuple[Interval, Interval],
    away: Array | None,
    limits: tuple[float, float],
    why: str | Sequence[str],
) -> list[Tested]:
    """``away`` (K,): how far each lies from what it is tested against; None where it is tested against nothing."""
    low, high, *narrow = (np.clip(end, *limits) for i in intervals for end in (i.low, i.high))
    p = mde = np.full(value.shape, np.nan)
    if away is not None:
        error, freedom = intervals[0].error, intervals[0].freedom
        error = np.where(np.isfinite(error) & (error > 0), error, np.nan)
        p, mde = two_sided_p(away / error, freedom), detectable_difference(error, freedom, alpha=1 - blanks[0].level)
        low, high = (np.where(np.isnan(error), np.nan, end) for end in (low, high))
    found = []
    for at, blank in enumerate(blanks):
        if clusters[at] < 2 or not math.isfinite(value[at]):
            reason = one_cluster(blank.n_clusters) if clusters[at] == 1 else why if isinstance(why, str) else why[at]
            found.append(Tested(finished(replace(blank, value=NAN, low=NAN, high=NAN), reason)))
            continue
        least = float(mde[at]) if math.isfinite(mde[at]) else None
        shown = replace(blank, value=float(value[at]), low=float(low[at]), high=float(high[at]), reason=None, mde=least)
        shown = finished(shown, "")
        found.append(Tested(shown, float(p[at]), (float(narrow[0][at]), float(narrow[1][at]))))
    return found


def blank(batch: Made, name: str, method: str, **by: str) -> Estimate:
    """An estimate of the whole cell, still without its numbers."""
    where = {**batch.by, **by}
    return Estimate(name, where, None, None, None, batch.level, method, batch.cases[0], batch.clusters[0], batch.left_out[0])


def undefined(batch: Made, names: Iterable[str], why: str, method: str, **by: str) -> Iterator[Tested]:
    """Those estimates, each without a number and with the reason."""
    for name in names:
        yield Tested(finished(replace(blank(batch, name, method, **by), value=NAN, low=NAN, high=NAN), why))


def case_sums(cell: Cell, draws: Draws, columns: Sequence[Array]) -> Replicates:
    """(…, K) replicated sums over cases of (n,) columns, the first of which says which cases count; class balance kept."""
    return sums_of(cell, draws, [column[:, None] for column in columns]).map(lambda rows: rows[:, 0])


def sums_of(cell: Cell, draws: Draws, columns: Sequence[Array]) -> Replicates:
    """(…, S, K) the same for S statistics side by side, from (n, S) columns."""
    return draws.replicate(cell, cell.by_class(columns)).map(lambda rows: rows.sum(axis=1))


def ratio(sums: Replicates, top: int, bottom: int) -> Replicates:
    """(…, 1) one column of sums over another."""
    return sums.map(lambda rows: rows[:, [top]] / rows[:, [bottom]])


def clusters_of(cell: Cell, counted: Array) -> int:
    """How many clusters the counted cases (n,) come from."""
    return int(np.unique(cell.panel.cluster[counted > 0]).size)
