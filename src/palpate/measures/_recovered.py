"""What the gain of descriptions and its controls add up to, in one word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from palpate.measures._described import CHANCE, Gain
from palpate.measures._estimates import judged
from palpate.measures._tests import NAN, Tested, adjusted, alone
from palpate.nouns import Estimate
from palpate.parts import Thresholds
from palpate.stats.intervals import Interval

CARRIED, LEAK, NOTHING, OTHERS, PRIOR, OPEN = (
    "carried by the description",
    "gain is the leak",
    "nothing recovered",
    "another reader's skill",
    "reader's prior alone",
    "undetermined",
)
GREY = "grey images tell the label"
"""The other way to the word ``LEAK``, with a p of its own."""
CLAIMS: Mapping[str, str] = {CARRIED: CARRIED, OTHERS: OTHERS, LEAK: LEAK, GREY: LEAK}
"""What is claimed where a gain is named, each tested by itself over the tasks, and the word for it."""
SURE = 0.99
"""Level at which grey images are said to tell the label, so that a sound description is rarely called a leak."""


@dataclass(frozen=True)
class Evidence:
    """The gain on descriptions as they are, and the controls; None where one was not asked for.

    ``masked``: the gain without what names the diagnosis; ``lost``: p that masking takes something. ``own``: the gain of the
    model's own language model; ``others``: that of all other readers. ``grey``: p that readers score above 0.5 on descriptions of
    grey images. ``oracle``, ``own_oracle``: intervals of their balanced accuracy on the truth.
    """

    real: Gain
    masked: Gain | None = None
    lost: float | None = None
    own: Gain | None = None
    others: Gain | None = None
    grey: float | None = None
    oracle: Interval | None = None
    own_oracle: Interval | None = None


@dataclass(frozen=True)
class Judge:
    """Rules on evidence at a level, by a study's thresholds."""

    bounds: Thresholds
    level: float

    def claims(self, found: Evidence) -> dict[str, float]:
        """p of each of ``CLAIMS``: the largest of the p of all that must hold for it; 1 where a control that it takes is missing.

        Valid for "one of them does not hold" without correction (intersection–union, Berger 1982). That the own reader gains
        little, though it reads the oracle, is no part of the p of ``OTHERS``: ``claim`` holds it to its intervals, task by task.
        """
        real, masked, others = (self._p(gain) for gain in (found.real, found.masked, found.others))
        own = 0.0 if found.own is None else self._p(found.own)
        lost, grey = (1.0 if p is None else p for p in (found.lost, found.grey))
        return {
            CARRIED: max(real, masked, own),
            OTHERS: max(real, masked, others),
            LEAK: max(real, lost),
            GREY: max(real, grey),
        }

    def claim(self, found: Evidence) -> str | None:
        """Which of ``CLAIMS`` this evidence makes, taken by itself; None where it names no gain."""
        if not self.recovers(found.real):
            return None
        if found.grey is not None and found.grey < 1 - max(SURE, self.level):
            return GREY
        if found.masked is None or not found.masked.defined:
            return None
        if not self.recovers(found.masked):
            return LEAK if found.lost is not None and found.lost < 1 - self.level else None
        if found.own is None or self.recovers(found.own):
            return CARRIED
        able = found.own_oracle is not None and float(found.own_oracle.low) > self.bounds.oracle
        alone = found.others is not None and self.recovers(found.others)
        return OTHERS if able and alone and self.empty(found.own) else None

    def word(self, found: Evidence, corrected: Mapping[str, float]) -> str:
        """The verdict; ``corrected``: the p of each claim over all tasks. A claim that holds by itself alone is not made."""
        if not found.real.defined:
            return OPEN
        claim = self.claim(found)
        if claim is None:
            return OPEN if self.recovers(found.real) else self._unrecovered(found)
        return CLAIMS[claim] if corrected[claim] < 1 - self.level else self._unrecovered(found)

    def _unrecovered(self, found: Evidence) -> str:
        """Nothing is shown to be gained: for there is nothing in the description, or the reader cannot even read the truth."""
        if found.oracle is None or not self.empty(found.real):
            return OPEN
        if float(found.oracle.low) > self.bounds.oracle:
            return NOTHING
        return PRIOR if self.guesses(found.real) and float(found.oracle.high) < self.bounds.oracle else OPEN

    def _p(self, gain: Gain | None) -> float:
        return 1.0 if gain is None else gain.p_above(self.bounds.description_gain)

    def recovers(self, gain: Gain) -> bool:
        """More than the rival, and more than guessing: a rival that leaves questions open is beaten by that. By itself."""
        return self._p(gain) < 1 - self.level

    def empty(self, gain: Gain) -> bool:
        """Surely less than the margin of equivalence more than the rival, or no more than guessing."""
        small = float(gain.interval(2 * self.level - 1).high) < self.bounds.equivalence
        return gain.defined and (small or self.guesses(gain))

    def guesses(self, gain: Gain) -> bool:
        """The readers' score is surely close to 0.5, by the margin of "at chance"."""
        few = int(gain.used.sum()) < self.bounds.chance_small
        margin = self.bounds.chance_margin_small if few else self.bounds.chance_margin
        return float(gain.score_interval(2 * self.level - 1).high) < CHANCE + margin


Weighed = tuple[Estimate, Evidence | None]
"""An estimate, and where it is to have a verdict, what that is drawn from."""


def with_words(found: Sequence[Weighed], judge: Judge) -> Iterator[Estimate]:
    """The estimates in their order, with their words: of each claim Holm over the tasks of a model and cell, a gain and a rival."""
    claims = [{} if evidence is None else judge.claims(evidence) for _, evidence in found]
    estimates = [e for e, _ in found]
    corrected = {name: adjusted([Tested(e, p.get(name, NAN)) for e, p in zip(estimates, claims, strict=True)]) for name in CLAIMS}
    for at, (estimate, evidence) in enumerate(found):
        if evidence is None:
            yield estimate
            continue
        over_all = {name: float(p[at]) for name, p in corrected.items()}
        said = judged(estimate, judge.word(evidence, over_all), rule(judge.bounds))
        claim = judge.claim(evidence)
        yield said if claim is None else alone(said, claims[at][claim], over_all[claim], "tasks", CLAIMS[claim])


def rule(bounds: Thresholds) -> str:
    """How the word comes about."""
    margin = bounds.equivalence
    return (
        f"(a gain is named by the largest p of all that it takes, Holm over tasks) {CARRIED} where the interval lies above "
        f"{bounds.description_gain:g} and that of the score above 0.5, on masked text too, with the model's own reader as far as "
        f"asked, and grey images, where asked, tell nothing; {OTHERS} where only the own one is shown to gain less than "
        f"{margin:g}; {LEAK} where it is gone, and shown to be less, without what names the diagnosis, or grey images tell the "
        f"label (99 %); {NOTHING} where the 1 − 2α interval lies below {margin:g}, or the score's is as close to 0.5 as for “at "
        f"chance”, and readers score above {bounds.oracle:g} on the oracle; {PRIOR} where they score below that, and guess"
    )
