"""Prompts with recorded factors, for measures that compare wordings that differ in one thing alone."""

from __future__ import annotations

from itertools import product

from palpate.nouns import Form, Polarity, Prompt
from palpate.prompts import Wording, core_prompts, reference_prompts

WORDS = Wording("image", "pneumonia", "consolidation", "Pneumonia", "No pneumonia", "pneumonia")


def core(cell: str = "target") -> tuple[Prompt, ...]:
    """The 24 closed prompts of one cell: polarity 2 × format 3 × suffix 2 × paraphrase 2."""
    return tuple(p for p in core_prompts(WORDS) if p.cell == cell and p.form.closed)


def reference(cell: str = "target") -> tuple[Prompt, ...]:
    """The reference study's closed prompts of one cell."""
    return tuple(p for p in reference_prompts(WORDS) if p.cell == cell and p.form.closed)


def both_orders(count: int = 1) -> tuple[Prompt, ...]:
    """``count`` questions, each with its options in both orders."""
    options = {Form.AB: ("Pneumonia", "Normal"), Form.BA: ("Normal", "Pneumonia")}
    polarity = {Form.AB: Polarity.POSITIVE, Form.BA: Polarity.NEGATIVE}
    return tuple(
        Prompt(f"{form}.{k}", f"Which {k}? {form}", form, polarity[form], "target", options[form], {"paraphrase": str(k)})
        for k, form in product(range(count), (Form.AB, Form.BA))
    )


def both_polarities(count: int = 1) -> tuple[Prompt, ...]:
    """``count`` yes-no questions, each affirmed and negated."""
    return tuple(
        Prompt(f"{polarity}.{k}", f"Is it {polarity} {k}?", Form.YES_NO, polarity, "target", None, {"paraphrase": str(k)})
        for k, polarity in product(range(count), (Polarity.POSITIVE, Polarity.NEGATIVE))
    )
