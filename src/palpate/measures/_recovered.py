"""What the gain of descriptions and its controls add up to, in one word."""

from __future__ import annotations

from dataclasses import dataclass

from palpate.measures._described import Gain
from palpate.parts import Thresholds
from palpate.stats.intervals import Interval

CHANCE = 0.5
CARRIED, LEAK, NOTHING, OTHERS, PRIOR, OPEN = (
    "carried by the description",
    "gain is the leak",
    "nothing recovered",
    "another reader's skill",
    "reader's prior alone",
    "undetermined",
)


@dataclass(frozen=True)
class Evidence:
    """The gain on descriptions as they are, and the controls; None where one was not asked for.

    ``masked``: the gain without what names the diagnosis; ``lost``: interval of what masking takes. ``own``: the gain of the
    model's own language model; ``others``: that of all other readers. ``grey``, ``oracle``, ``own_oracle``: intervals of the
    readers' balanced accuracy on descriptions of grey images, and on the truth.
    """

    real: Gain
    masked: Gain | None = None
    lost: Interval | None = None
    own: Gain | None = None
    others: Gain | None = None
    grey: Interval | None = None
    oracle: Interval | None = None
    own_oracle: Interval | None = None


@dataclass(frozen=True, slots=True)
class Judge:
    """Rules on evidence at a level, by a study's thresholds."""

    bounds: Thresholds
    level: float

    def word(self, found: Evidence) -> str:
        """The verdict; every condition of "carried" must hold by itself at the level, so together they need no correction."""
        if not found.real.defined:
            return OPEN
        if not self.recovers(found.real):
            return self._unrecovered(found)
        if found.grey is not None and float(found.grey.low) > CHANCE:
            return LEAK
        if found.masked is None or not found.masked.defined:
            return OPEN
        if not self.recovers(found.masked):
            return LEAK if found.lost is not None and float(found.lost.low) > 0 else OPEN
        if found.own is None or self.recovers(found.own):
            return CARRIED
        able = found.own_oracle is not None and float(found.own_oracle.low) > self.bounds.oracle
        alone = found.others is not None and self.recovers(found.others)
        return OTHERS if able and alone and self.empty(found.own) else OPEN

    def _unrecovered(self, found: Evidence) -> str:
        """Nothing was gained: for there is nothing in the description, or for the reader cannot even read the truth."""
        if found.oracle is None or not self.empty(found.real):
            return OPEN
        if float(found.oracle.low) > self.bounds.oracle:
            return NOTHING
        return PRIOR if self.guesses(found.real) and float(found.oracle.high) < self.bounds.oracle else OPEN

    def recovers(self, gain: Gain) -> bool:
        """More than the rival, and more than guessing: a rival that leaves questions open is beaten by that."""
        if not gain.defined:
            return False
        low, score = gain.interval(self.level).low, gain.score_interval(self.level).low
        return float(low) > self.bounds.description_gain and float(score) > CHANCE

    def empty(self, gain: Gain) -> bool:
        """Surely less than the margin of equivalence more than the rival, or no more than guessing."""
        small = float(gain.interval(2 * self.level - 1).high) < self.bounds.equivalence
        return gain.defined and (small or self.guesses(gain))

    def guesses(self, gain: Gain) -> bool:
        """The readers' score is surely close to 0.5, by the margin of "at chance"."""
        few = int(gain.used.sum()) < self.bounds.chance_small
        margin = self.bounds.chance_margin_small if few else self.bounds.chance_margin
        return float(gain.score_interval(2 * self.level - 1).high) < CHANCE + margin


def rule(bounds: Thresholds) -> str:
    """How the word comes about."""
    margin = bounds.equivalence
    return (
        f"{CARRIED} where the interval lies above {bounds.description_gain:g} and that of the score above 0.5, on masked text too, "
        f"with the model's own reader as far as asked, and grey images, where asked, tell nothing; {OTHERS} where only the own one "
        f"is shown to gain less than {margin:g}; {LEAK} where it is gone, and shown to be less, without what names the diagnosis, "
        f"or grey images tell the label (99 %); {NOTHING} where the 1 − 2α interval lies below {margin:g}, or the score's is as "
        f"close to 0.5 as for “at chance”, and readers score above {bounds.oracle:g} on the oracle; {PRIOR} where they score below "
        f"that, and guess"
    )
