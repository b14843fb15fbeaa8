"""The grammar of questions: a task's words in, sets of Prompts out.

Two closed sets. ``reference`` is the published protocol (arXiv 2604.09841): per task six questions (abnormal? normal?
target? target with hints, A-B, B-A), each with and without "Answer in one word.": 12 closed prompts, and 2 descriptions.
``core`` is factorial: polarity × format × suffix × paraphrase = 24 prompts in each of two intent cells, so that every
factor's effect can be read off paired prompts. A prompt of the cell ``abnormal`` asks another question than one of the
cell ``target`` (a benign lesion is abnormal too), so the two are never pooled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from palpate.nouns import Form, Polarity, Prompt

ONE_WORD = "\nAnswer in one word."
SUFFIXES = {"none": "", "one-word": ONE_WORD}


@dataclass(frozen=True, slots=True)
class Wording:
    """A task's own words, filled into the templates.

    ``subject`` "image"; ``evidence`` "pneumonia"; ``hints`` "consolidation, …"; ``present`` and ``absent`` the two
    option texts; ``describer`` who will read a description; ``diagnose`` what they want to diagnose; ``detail`` what
    to attend to.
    """

    subject: str
    evidence: str
    hints: str
    present: str
    absent: str
    diagnose: str
    describer: str = "a physician"
    detail: str = "pixels"


def reference_prompts(words: Wording) -> Iterator[Prompt]:
    """The 12 closed and 2 description prompts of the reference study, in its order."""
    choose = "Which does this image show? Choose one answer."
    shows = f"Does this image contain evidence of {words.evidence}?"
    yes_no = Form.YES_NO, None
    questions: tuple[tuple[str, str, tuple[Form, tuple[str, str] | None], Polarity, str], ...] = (
        ("abnormal", "abnormal", yes_no, Polarity.POSITIVE, f"Is this {words.subject} abnormal?"),
        ("normal", "abnormal", yes_no, Polarity.NEGATIVE, f"Is this {words.subject} normal?"),
        ("target", "target", yes_no, Polarity.POSITIVE, shows),
        ("hints", "target", yes_no, Polarity.POSITIVE, f"{shows} Consider signs of {words.hints}."),
        ("ab", "target", (Form.AB, (words.present, words.absent)), Polarity.POSITIVE, choose),
        ("ba", "target", (Form.BA, (words.absent, words.present)), Polarity.NEGATIVE, choose),
    )
    for suffix, (name, cell, (form, options), polarity, stem) in product(SUFFIXES, questions):
        text = _with_options(stem, options) + SUFFIXES[suffix]
        factors = {
            "polarity": "negated" if name == "normal" else "affirmative",
            "format": str(form),
            "suffix": suffix,
            "hint": "yes" if name == "hints" else "no",
        }
        yield Prompt(f"{name}.{suffix}", text, form, polarity, cell, options, factors)
    yield from describe_prompts(words)


def describe_prompts(words: Wording) -> Iterator[Prompt]:
    """The two descriptions: generic, and naming the disease."""
    generic = (
        f"Describe this image in great detail and pay attention to any relevant {words.detail}. "
        f"Imagine {words.describer} will use your description"
    )
    for name, text in (("generic", f"{generic}."), ("named", f"{generic} to diagnose {words.diagnose}.")):
        yield Prompt(f"describe.{name}", text, Form.DESCRIBE, Polarity.POSITIVE, "describe", None, {"describe": name})


STEMS: Mapping[str, Mapping[Polarity, tuple[str, str]]] = {
    "target": {
        Polarity.POSITIVE: (
            "Does this image contain evidence of {evidence}?",
            "Is there evidence of {evidence} in this image?",
        ),
        Polarity.NEGATIVE: (
            "Is this image free of {evidence}?",
            "Does this image lack evidence of {evidence}?",
        ),
    },
    "abnormal": {
        Polarity.POSITIVE: ("Is this {subject} abnormal?", "Does this {subject} look abnormal?"),
        Polarity.NEGATIVE: ("Is this {subject} normal?", "Does this {subject} look normal?"),
    },
}


def core_prompts(words: Wording) -> Iterator[Prompt]:
    """Two intent cells of polarity (2) × format (3) × suffix (2) × paraphrase (2) = 24 prompts, then the descriptions."""
    slots = {"evidence": words.evidence, "subject": words.subject}
    formats = ((Form.YES_NO, None), (Form.AB, ("Yes", "No")), (Form.BA, ("No", "Yes")))
    for cell, by_polarity in STEMS.items():
        for (stem_polarity, stems), (form, options), suffix in product(by_polarity.items(), formats, SUFFIXES):
            # Swapping the options swaps what the first-named one asserts.
            polarity = stem_polarity.flipped if form is Form.BA else stem_polarity
            stem_word = "affirmative" if stem_polarity is Polarity.POSITIVE else "negated"
            for number, stem in enumerate(stems, start=1):
                yield Prompt(
                    f"{cell}.{stem_word}.{form}.{suffix}.p{number}",
                    _with_options(stem.format(**slots), options) + SUFFIXES[suffix],
                    form,
                    polarity,
                    cell,
                    options,
                    {"polarity": stem_word, "format": str(form), "suffix": suffix, "paraphrase": str(number)},
                )
    yield from describe_prompts(words)


def _with_options(stem: str, options: tuple[str, str] | None) -> str:
    return stem if options is None else f"{stem}\nA) {options[0]}\nB) {options[1]}"


PROMPT_SETS: Mapping[str, Callable[[Wording], Iterator[Prompt]]] = {
    "reference": reference_prompts,
    "core": core_prompts,
    "own": lambda words: iter(()),  # none but the study's own wordings
}
"""Name of a prompt set, as a study gives it → its generator."""
