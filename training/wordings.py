"""The questions the models are trained on: the project's own prompt sets, less a list of wordings that is never trained.

A wording left out of training is what a user's own wording is to a published model. Whatever a model does with it, it does
by itself: nothing about its behaviour there is planted.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from palpate.nouns import Form, Prompt
from palpate.prompts import PROMPT_SETS, Wording

TASK_FILES = {
    "brain_mri": "brain_tumor_mri",
    "chest_xray": "pneumonia_cxr",
    "skin_lesion": "skin_cancer_dermoscopy",
    "breast_histology": "idc_histology",
}
"""Phantom modality → the task file whose wording is asked of it."""

HELD_OUT = frozenset(
    {
        "hints.one-word",
        "target.negated.yes-no.none.p2",
        "target.negated.yes-no.one-word.p2",
        "target.affirmative.B-A.none.p2",
        "target.affirmative.B-A.one-word.p2",
        "abnormal.negated.A-B.none.p2",
        "abnormal.negated.A-B.one-word.p2",
        "abnormal.affirmative.yes-no.one-word.p2",
    }
)
"""Names of prompts never trained on, in any task, by any bundled model: 1 of the 12 reference prompts, 7 of the 48 core ones."""

GENERAL_ONLY = frozenset({"ba.one-word"})
"""Names of prompts asked of drawings of shapes only, never of a phantom: does the form carry over to a new subject?"""


@cache
def task_wording(modality: str) -> Wording:
    """The words of the task that a phantom modality stands for, as its task file gives them."""
    text = (files("palpate") / "tasks" / f"{TASK_FILES[modality]}.toml").read_text(encoding="utf-8")
    return Wording(**tomllib.loads(text)["wording"])


def all_prompts(words: Wording) -> tuple[Prompt, ...]:
    """Every prompt of both sets, one per distinct text (the sets share some wordings), reference names first."""
    by_text: dict[str, Prompt] = {}
    for name in ("reference", "core"):
        for prompt in PROMPT_SETS[name](words):
            by_text.setdefault(prompt.text, prompt)
    return tuple(by_text.values())


def trained_prompts(words: Wording, cells: Iterable[str], *, medical: bool) -> tuple[Prompt, ...]:
    """The prompts of these cells that training may use: those whose text is no held-out wording under any name."""
    left_out = HELD_OUT | GENERAL_ONLY if medical else HELD_OUT
    held = {p.text for prompts in PROMPT_SETS.values() for p in prompts(words) if p.name in left_out}
    wanted = set(cells)
    return tuple(p for p in all_prompts(words) if p.text not in held and p.cell in wanted)


def asserts_condition(prompt: Prompt, label: int) -> bool:
    """True where the right answer to a closed prompt is "yes", or option A, for a case of this label."""
    return (label == 1) == (prompt.polarity == "positive")


def bare_answer(prompt: Prompt, label: int) -> str:
    """The right answer as one word: Yes, No, A or B."""
    yes, no = ("Yes", "No") if prompt.form is Form.YES_NO else ("A", "B")
    return yes if asserts_condition(prompt, label) else no


def full_answer(prompt: Prompt, label: int, statements: tuple[str, str]) -> str:
    """The right answer in the style that the wording invites: a bare word, "A) Tumor", or "Yes, there is a tumor.".

    ``statements`` say the finding's absence and its presence. Only wordings without the one-word suffix draw more than a word.
    """
    word = bare_answer(prompt, label)
    if prompt.factors.get("suffix") == "one-word":
        return word
    if prompt.name.startswith(("ab.", "ba.")) and prompt.options:
        return f"{word}) {prompt.options['AB'.index(word)]}"
    if prompt.form is Form.YES_NO and (prompt.name.startswith("hints.") or prompt.factors.get("paraphrase") == "2"):
        return f"{word}, {statements[label]}."
    return word
