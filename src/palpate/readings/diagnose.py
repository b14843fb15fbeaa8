"""Diagnosing from a description: a language model that sees no image is asked whether the described image shows the condition.

The three questions are the reference study's (arXiv 2604.09841): ``one_word`` and ``tight`` name the condition, ``disease`` asks
for any disease and is therefore another question. The reader is told neither the label nor the image. Controls are other inputs to
the same reader: with ``masked`` what names the diagnosis is cut out first; with ``empty`` nothing is left, and what it says is its
prior; with ``oracle`` it is given what a perfect describer would say, and what it then gets wrong is its own fault.
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
from palpate.readings import _stated

VARIANTS: Mapping[str, str] = {
    "one_word": "You are a careful {role}.\n"
    "Given the following {modality} image description, answer ONLY whether {target} is present.\n"
    "Return a single word: Yes or No.\n\nDescription:\n{description}\n",
    "tight": "Task: Decide if {target} is present.\nOutput must be Yes or No.\n\nDescription:\n{description}\n",
    "disease": "Task: Decide if disease is present.\nOutput must be Yes or No.\n\nDescription:\n{description}\n",
}
INPUTS = ("real", "masked", "empty", "oracle")
GAP = _stated.GAP
BY_MARGIN = 0.5
_SLOT = re.compile(r"\{(\w+)\} ?")
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
    by: ClassVar[str] = "diagnose@2"
    options: ClassVar[Mapping[str, str]] = {
        "variant": "the question to the reader: one_word (default), tight or disease",
        "input": "what it is given: real (default), masked (what names the diagnosis cut out), empty or oracle (the label told)",
        "role": "who the reader is told to be (physician)",
        "modality": "what kind of image it is told was described (medical)",
    }
    model_options: ClassVar[Mapping[str, Any]] = {"json_schema": SCHEMA, "max_new_tokens": 8, "max_new_tokens_open": 8}

    def question(self, text: str, prompt: Prompt, rubric: Rubric, options: Mapping[str, Any]) -> Prompt | None:
        """The question with the description in it; None for answers to closed questions. Raises StudyError for a bad option.

        It is a yes-no question, so a reader that gives the probabilities of its words gives a margin. For the input ``oracle``,
        ``text`` is what the oracle says."""
        if prompt.form is not Form.DESCRIBE:
            return None
        variant, given = _one_of(options, "variant", tuple(VARIANTS)), _one_of(options, "input", INPUTS)
        shown = "" if given == "empty" else self.masked(plain(text), rubric) if given == "masked" else plain(text)
        # Not str.format: a description may hold braces.
        asked = VARIANTS[variant]
        for slot, value in (
            ("role", str(options.get("role", "physician"))),
            ("modality", str(options.get("modality", "medical"))),
            ("target", rubric.condition),
            ("description", shown),
        ):
            asked = asked.replace("{" + slot + "}", value)
        return Prompt(f"diagnose.{variant}", asked, Form.YES_NO, Polarity.POSITIVE, "diagnose")

    def outcome(self, reply: Answer, text: str, prompt: Prompt, rubric: Rubric, options: Mapping[str, Any]) -> ReadText | None:
        """Yes asserts the condition; as a word at the beginning, or as the JSON object asked for. None for anything else.

        A reply that begins with neither word, from a model that gave them half of its probability or more, is read by its margin:
        small language models run on in another form ("NoThis is …")."""
        said = reply.text.strip()
        try:
            held = json.loads(said)
        except (ValueError, RecursionError):
            held = None
        if isinstance(held, dict):
            said = str(held.get("answer", "")) if set(held) == {"answer"} else ""
        found = _ALONE.match(said)
        rule = f"diagnose: {options.get('variant', 'one_word')}, {options.get('input', 'real')}"
        if found is not None:
            outcome = Outcome.POSITIVE if found[1].casefold() == "yes" else Outcome.NEGATIVE
            return ReadText(outcome, None, rule)
        if held is None and reply.margin and (reply.mass or 0.0) >= BY_MARGIN:
            outcome = Outcome.POSITIVE if reply.margin > 0 else Outcome.NEGATIVE
            return ReadText(outcome, None, f"{rule}, by its margin")
        return None

    def oracle(self, label: int, facts: Mapping[str, Any], rubric: Rubric) -> str:
        """The task's own sentence for that label, the case's facts filled in; a fact that is not recorded is left out."""
        known = {**facts, "condition": rubric.condition}

        def filled(slot: re.Match[str]) -> str:
            value = known.get(slot[1])
            return "" if value is None else f"{value}{' ' if slot[0].endswith(' ') else ''}"

        return _SLOT.sub(filled, rubric.oracle[0 if label == 1 else 1])

    def stated(self, text: str, rubric: Rubric) -> Outcome | None:
        """What it says of the diagnosis by name; None where it names none."""
        return _stated.stated(plain(text), rubric)

    def masked(self, text: str, rubric: Rubric) -> str:
        """The description without what names the diagnosis, or its absence."""
        return _stated.masked(text, rubric)


def plain(text: str) -> str:
    """The description without characters that control or turn the text."""
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Cn") else "\ufffd" for c in text)


def _one_of(options: Mapping[str, Any], key: str, known: tuple[str, ...]) -> str:
    value = options.get(key, known[0])
    if value not in known:
        raise StudyError(f"{value!r} is no {key}", where=f"readings: {key}", expected=f"one of {', '.join(known)}")
    return str(value)


PARTS = (Diagnose(),)
