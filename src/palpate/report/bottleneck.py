"""Where a model loses what it knows, in words: what the estimates of its ladder add up to. Knows no markup and no colour.

A loss before the margin is one of representation: the knowledge is no longer there to be said. A loss from the margin to the
answer is one of criterion: the knowledge is there, and the line is drawn in the wrong place, or nothing is answered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from palpate.nouns import Estimate
from palpate.report import words

Kind = Literal[
    "unseen", "colours", "open", "vision", "projector", "language", "readout", "threshold", "refusals", "description", "none"
]
REACHED: dict[str, Kind] = {
    "read": "vision",
    "projector": "projector",
    "image": "language",
    "last": "language",
    "margin": "readout",
    "description": "description",
}
"""The stage behind the largest loss → what is at fault; behind the margin comes the text, which takes a second look."""
SAID: dict[Kind, str] = {
    "unseen": "the layer handed on is not shown to see the condition: there is nothing known to be lost",
    "colours": "it sees no more than the image's colours tell, and no step is shown to lose that",
    "open": "no step is shown to lose it; whether it sees more than colours, these images cannot tell",
    "vision": "lost in the vision tower: a layer knows more than the one that is handed on",
    "projector": "lost in the projector: the vision tower sees it, the language model is not given it",
    "language": "lost in the language model: it is given it, and does not carry it to the end of the question",
    "readout": "known inside, not said: the last layer holds it, the odds of yes and no do not",
    "threshold": "it knows but says the wrong word: the odds tell the cases apart, yes and no are split at the wrong place",
    "refusals": "it knows but does not say: the odds tell the cases apart, the questions are left unanswered",
    "description": "its answers know what its descriptions leave out",
    "none": "no step is shown to lose it",
}
LADDER = frozenset(("ladder_loss", "ladder_gain", "ladder_ba", "ladder_width", "ba_all", "ba_answered"))
"""The estimates that it rests on."""
CHANCE, SURER = 0.5, 1.31
"""Guessing; and how much wider a 99 % interval is than one of 95 %."""
CRITERION: frozenset[Kind] = frozenset(("threshold", "refusals"))


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """What is at fault; ``loss`` is the estimate of its step, None where no step is."""

    kind: Kind
    loss: Estimate | None = None
    wide: bool = False  # the stage behind is: the loss may be the probe's

    @property
    def step(self) -> tuple[str, str] | None:
        """The stages before and behind the loss."""
        if self.loss is None:
            return None
        first, _, second = self.loss.by["step"].partition(">")
        return first, second

    @property
    def loss_of(self) -> str:
        """``representation`` or ``criterion``; empty where there is no loss."""
        if self.loss is None:
            return ""
        return "criterion" if self.kind in CRITERION else "representation"

    @property
    def told(self) -> str:
        """In a sentence without its full stop."""
        if self.loss is None:
            return SAID[self.kind]
        caution = "; that stage has many directions for so few images, so the loss may be the probe's" if self.wide else ""
        return f"{SAID[self.kind]} ({words.MINUS}{words.in_points(self.loss.value)}, a loss of {self.loss_of}){caution}"


def bottleneck(estimates: Sequence[Estimate], model: str, task: str, cell: str, prompt: str) -> Bottleneck | None:
    """Of one model, task and cell, walked along ``prompt``; None where no stage was probed."""
    by = {"model": model, "task": task, "cell": cell}
    losses = words.select(estimates, "ladder_loss", **by)
    if not losses:
        return None
    worst = next((e for e in losses if e.verdict == "bottleneck"), None)
    if worst is None:
        return Bottleneck(_unlost(estimates, by))
    reached = worst.by["step"].partition(">")[2]
    if reached in REACHED:
        width = words.one(estimates, "ladder_width", **by, stage=reached)
        return Bottleneck(REACHED[reached], worst, width is not None and width.verdict == "wide")
    answered, whole = (words.one(estimates, name, **by, prompt=prompt) for name in ("ba_answered", "ba_all"))
    silent = 0.0
    if answered is not None and whole is not None and answered.value is not None and whole.value is not None:
        silent = answered.value - whole.value
    return Bottleneck("refusals" if silent >= (worst.value or 0.0) / 2 else "threshold", worst)


def _unlost(estimates: Sequence[Estimate], by: Mapping[str, str]) -> Kind:
    """Where nothing is lost: because there is something to keep, or because there is nothing."""
    gain, own = (words.one(estimates, name, **by, stage="read") for name in ("ladder_gain", "ladder_ba"))
    if gain is not None and gain.verdict == "sees":
        return "none"
    if own is None or own.value is None or own.low is None or own.value - SURER * (own.value - own.low) <= CHANCE:
        return "unseen"
    return "colours" if gain is not None and gain.verdict == "nothing beyond colours" else "open"
