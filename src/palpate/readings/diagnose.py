"""Diagnosing from a description: a language model that sees no image is asked whether the described image shows the condition.

The three questions are the reference study's (arXiv 2604.09841): ``one_word`` and ``tight`` name the condition, ``disease`` asks
for any disease and is therefore another question. The reader is told neither the label nor the image. With ``input = "masked"``
the words that state the diagnosis are cut out first, and with ``input = "empty"`` nothing is left: what it says then is its
prior.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any, ClassVar

from palpate.errors import StudyError
from palpate.nouns import Answer, Form, Outcome, Polarity, Prompt
from palpate.parts import ReadText, Rubric

VARIANTS: Mapping[str, str] = {
    "one_word": "You are a careful {role}.\n"
    "Given the following {modality} image description, answer ONLY whether {target} is present.\n"
    "Return a single word: Yes or No.\n\nDescription:\n{description}\n",
    "tight": "Task: Decide if {target} is present.\nOutput must be Yes or No.\n\nDescription:\n{description}\n",
    "disease": "Task: Decide if disease is present.\nOutput must be Yes or No.\n\nDescription:\n{description}\n",
}
INPUTS = ("real", "masked", "empty")
GAP = "[...]"
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"answer": {"type": "string", "enum": ["Yes", "No"]}},
    "required": ["answer"],
    "additionalProperties": False,
}
_ALONE = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)


class Diagnose:
    """Reads descriptions, and nothing else, by asking a language model for Yes or No."""

    name: ClassVar[str] = "diagnose"
    by: ClassVar[str] = "diagnose@1"
    options: ClassVar[Mapping[str, str]] = {
        "variant": "the question to the reader: one_word (default), tight or disease",
        "input": "what it is given: real (default), masked (words that state the diagnosis cut out) or empty",
        "role": "who the reader is told to be (physician)",
        "modality": "what kind of image it is told was described (medical)",
    }
    model_options: ClassVar[Mapping[str, Any]] = {"json_schema": SCHEMA, "max_new_tokens_open": 8}

    def question(self, text: str, prompt: Prompt, rubric: Rubric, options: Mapping[str, Any]) -> Prompt | None:
        """The question with the description in it; None for answers to closed questions. Raises StudyError for a bad option."""
        if prompt.form is not Form.DESCRIBE:
            return None
        variant, given = _one_of(options, "variant", tuple(VARIANTS)), _one_of(options, "input", INPUTS)
        shown = {"real": plain(text), "masked": masked(plain(text), rubric), "empty": ""}[given]
        # Not str.format: a description may hold braces.
        asked = VARIANTS[variant]
        for slot, value in (
            ("role", str(options.get("role", "physician"))),
            ("modality", str(options.get("modality", "medical"))),
            ("target", rubric.condition),
            ("description", shown),
        ):
            asked = asked.replace("{" + slot + "}", value)
        return Prompt(f"diagnose.{variant}", asked, Form.OPEN, Polarity.POSITIVE, "diagnose")

    def outcome(self, reply: Answer, text: str, prompt: Prompt, rubric: Rubric, options: Mapping[str, Any]) -> ReadText | None:
        """Yes asserts the condition; as a word at the beginning, or as the JSON object asked for. None for anything else."""
        said = reply.text.strip()
        try:
            held = json.loads(said)
        except (ValueError, RecursionError):
            held = None
        if isinstance(held, dict):
            said = str(held.get("answer", "")) if set(held) == {"answer"} else ""
        found = _ALONE.match(said)
        if found is None:
            return None
        outcome = Outcome.POSITIVE if found[1].casefold() == "yes" else Outcome.NEGATIVE
        return ReadText(outcome, None, f"diagnose: {options.get('variant', 'one_word')}")


def plain(text: str) -> str:
    """The description without characters that control or turn the text."""
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Cn") else "\ufffd" for c in text)


def masked(text: str, rubric: Rubric) -> str:
    """The description with the condition's name, and every finding the task counts as asserting or denying it, cut out."""
    words = sorted({rubric.condition, *rubric.positive, *rubric.negative} - {""}, key=lambda w: (-len(w), w))
    if not words:
        return text
    return re.sub(rf"\b(?:{'|'.join(re.escape(w) for w in words)})(?:e?s)?\b", GAP, text, flags=re.IGNORECASE)


def _one_of(options: Mapping[str, Any], key: str, known: tuple[str, ...]) -> str:
    value = options.get(key, known[0])
    if value not in known:
        raise StudyError(f"{value!r} is no {key}", where=f"readings: {key}", expected=f"one of {', '.join(known)}")
    return str(value)


PARTS = (Diagnose(),)
