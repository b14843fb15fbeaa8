"""What descriptions carry, in words: the verdict of ``description_gain``, and what its controls say beside it. Knows no markup."""

from __future__ import annotations

from collections.abc import Mapping

from palpate.nouns import Estimate
from palpate.report import words

SAID: Mapping[str, str] = {
    "carried by the description": "The description carries what the direct answer loses.",
    "gain is the leak": "The gain is the leak: it goes with the words that name the diagnosis, or grey images give it too.",
    "nothing recovered": "A reader recovers nothing from the description.",
    "another reader's skill": "Another reader makes it of the description; the model's own language model does not.",
    "reader's prior alone": "The reader answers by habit, whatever it is given: this says nothing of the description.",
    "undetermined": "These images, or the controls asked for, cannot tell whether the description carries more.",
}
HELD_BACK = "It is not shown that a reader recovers anything from the description: at most it is little."
"""In place of "nothing recovered" where only Holm's correction keeps a gain from being named: its interval lies above the bound."""


def in_words(gain: Estimate, beyond: Estimate | None, leak: Estimate | None) -> str:
    """Sentences on a gain over the direct answer, that over its margin (``beyond``), and how often the diagnosis is named."""
    if gain.value is None:
        return ""
    between = words.points_interval(gain, signed=True)
    found = f"Readers of its descriptions score {words.in_points(gain.value, signed=True)} beyond its direct answer"
    found += f" ({between})" if between else ""
    if leak is not None and leak.value is not None:
        found += f"; {words.percent(leak.value)} of the descriptions name the diagnosis"
    found += f". {_said(gain)}".rstrip() + words.aside(gain)
    return found + (_beyond(beyond) if gain.verdict == "carried by the description" and beyond is not None else "")


def _said(gain: Estimate) -> str:
    """The sentence of its verdict; one that denies no more than is shown, where the reason beside it says a gain would be."""
    return HELD_BACK if gain.verdict == "nothing recovered" and gain.reason else SAID.get(gain.verdict or "", "")


def _beyond(beyond: Estimate) -> str:
    """Whether a better threshold of its own answer would give what the description does; empty where that is not known.

    Where only Holm's correction keeps the gain over it from being named, that gain and why, not that there is none.
    """
    if words.aside(beyond):
        between = words.points_interval(beyond, signed=True)
        more = words.in_points(beyond.value, signed=True) + (f" ({between})" if between else "")
        return f" Beyond a better threshold of its own answer they score {more}.{words.aside(beyond)}"
    return " A better threshold of its own answer would give as much." if beyond.verdict == "nothing recovered" else ""
