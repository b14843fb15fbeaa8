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


def in_words(gain: Estimate, beyond: Estimate | None, leak: Estimate | None) -> str:
    """Sentences on a gain over the direct answer, that over its margin (``beyond``), and how often the diagnosis is named."""
    if gain.value is None:
        return ""
    between = words.points_interval(gain, signed=True)
    found = f"Readers of its descriptions score {words.in_points(gain.value, signed=True)} beyond its direct answer"
    found += f" ({between})" if between else ""
    if leak is not None and leak.value is not None:
        found += f"; {words.percent(leak.value)} of the descriptions name the diagnosis"
    found += f". {SAID.get(gain.verdict or '', '')}".rstrip()
    if gain.verdict == "carried by the description" and beyond is not None and beyond.verdict == "nothing recovered":
        found += " A better threshold of its own answer would give as much."
    return found
