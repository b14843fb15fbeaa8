"""The grammar of questions: a task's words in, sets of Prompts out.

Three closed sets. ``reference`` is the published protocol (arXiv 2604.09841): per task six questions (abnormal? normal?
target? target with hints, A-B, B-A), each with and without "Answer in one word.": 12 closed prompts, and 2 descriptions.
``core`` is factorial: polarity × format × suffix × paraphrase = 24 prompts in each of two intent cells, so that every
factor's effect can be read off paired prompts. ``wide`` adds what else a wording may vary, one factor at a time: role, cue,
politeness, typos, length, labelled examples, how options are named, and what a referring doctor suggests.
A prompt of the cell ``abnormal`` asks another question than one of the
cell ``target`` (a benign lesion is abnormal too), so the two are never pooled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

from palpate.nouns import Form, Polarity, Prompt

ONE_WORD = "\nAnswer in one word."
SUFFIXES = {"none": "", "one-word": ONE_WORD}


@dataclass(frozen=True, slots=True)
class Wording:
    """A task's own words, filled into the templates.

    ``subject`` "image"; ``evidence`` "pneumonia"; ``hints`` "consolidation, …"; ``present`` and ``absent`` the two
    option texts; ``healthy`` a positive name of the condition's absence; ``unremarkable`` what an image without it shows;
    ``expert`` who would be asked; ``describer`` who will read a description; ``diagnose`` what they want to diagnose;
    ``detail`` what to attend to.
    """

    subject: str
    evidence: str
    hints: str
    present: str
    absent: str
    diagnose: str
    describer: str = "a physician"
    detail: str = "pixels"
    expert: str = "radiologist"
    healthy: str = "Healthy"
    unremarkable: str = "healthy anatomy without any finding"


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


PLAIN: Mapping[str, str] = dict.fromkeys(("role", "cue", "politeness", "typo", "length", "shots"), "none")
"""What a wording of the wide set is without: its twins differ from it in one of these."""


def wide_prompts(words: Wording) -> Iterator[Prompt]:
    """The core set, and beside it what else a wording may vary, one factor at a time; then the suggestions, a cell of their own.

    In the cell ``target``: each of the two first stems (affirmative and negated, yes-no, no suffix) in seven variants that differ
    from it in one factor — ``role``, ``cue``, ``politeness``, ``typo``, ``length``, ``shots`` (labelled examples in words, in
    either order of the labels) — and a choice between two named options (``options``: "X / No X", or two positive names) in
    both orders: 48 + 14 + 4, and 12 suggestions.
    """
    for prompt in core_prompts(words):
        if prompt.form is not Form.DESCRIBE:
            yield replace(prompt, factors={**PLAIN, **prompt.factors})
    for polarity, stems in STEMS["target"].items():
        stem = stems[0].format(evidence=words.evidence, subject=words.subject)
        base = {**PLAIN, "polarity": _stem_word(polarity), "format": str(Form.YES_NO), "suffix": "none", "paraphrase": "1"}
        for factor, level, text in _variants(words, stem, polarity):
            name = f"target.{base['polarity']}.{factor}.{level}"
            yield Prompt(name, text, Form.YES_NO, polarity, "target", None, {**base, factor: level})
    yield from _named_options(words)
    yield from suggestion_prompts(words)
    yield from describe_prompts(words)


def _stem_word(polarity: Polarity) -> str:
    return "affirmative" if polarity is Polarity.POSITIVE else "negated"


def _variants(words: Wording, stem: str, polarity: Polarity) -> Iterator[tuple[str, str, str]]:
    """(factor, level, text) of everything that is done to one stem."""
    context = (
        f"This {words.subject} was taken as part of a routine examination and belongs to a larger series. No clinical information "
        "is given with it, and it has been exported without any change."
    )
    yield "role", "expert", f"You are an experienced {words.expert}. {stem}"
    yield "cue", "careful", f"Look carefully at every part of the image before you answer. {stem}"
    yield "politeness", "please", f"Could you please help me? {stem} Thank you very much."
    yield "typo", "letters-swapped", _misspelt(stem, words.evidence)
    yield "length", "long", f"{context} {stem}"
    for first in (Polarity.POSITIVE, Polarity.NEGATIVE):
        yield "shots", f"two-{first}-first", _shots(words, stem, polarity, first)


def _misspelt(stem: str, evidence: str) -> str:
    """The stem with two neighbouring letters swapped in its longest word that is no name of the condition, and in one before it."""
    spared = {w.strip(".,?").casefold() for w in evidence.split()}
    at = [i for i, w in enumerate(stem.split()) if len(w) > 3 and w.strip(".,?").casefold() not in spared]
    wrong = sorted(at, key=lambda i: (-len(stem.split()[i]), i))[:2]
    return " ".join(w[:1] + w[2] + w[1] + w[3:] if i in wrong else w for i, w in enumerate(stem.split()))


def _shots(words: Wording, stem: str, polarity: Polarity, first: Polarity) -> str:
    """Two labelled examples, in words since a question comes with one image, then the question itself."""
    seen = {
        Polarity.POSITIVE: f"an image that shows {words.hints}",
        Polarity.NEGATIVE: f"an image of {words.unremarkable}",
    }
    shown = (first, first.flipped)
    answers = ["Yes" if label is polarity else "No" for label in shown]
    examples = [
        f"Example {k}: {seen[label]}.\n{stem}\n{answer}" for k, (label, answer) in enumerate(zip(shown, answers, strict=True), 1)
    ]
    return "\n\n".join([*examples, f"Now the image before you.\n{stem}"])


def _named_options(words: Wording) -> Iterator[Prompt]:
    """Which of two: "X / No X", or two positive names, in both orders.

    Some models pick a negated option for its form alone (arxiv.org/abs/2605.05810).
    """
    present = words.evidence[:1].upper() + words.evidence[1:]
    for options, absent in (("negated", f"No {words.evidence}"), ("two-names", words.healthy)):
        for form, names, polarity in (
            (Form.AB, (present, absent), Polarity.POSITIVE),
            (Form.BA, (absent, present), Polarity.NEGATIVE),
        ):
            factors = {**PLAIN, "polarity": "affirmative", "format": str(form), "suffix": "none", "options": options}
            text = _with_options(f"Which of these two does this {words.subject} show?", names)
            yield Prompt(f"target.options.{options}.{form}", text, form, polarity, "target", names, factors)


def suggestion_prompts(words: Wording) -> Iterator[Prompt]:
    """The cell ``suggested``: two stems of either polarity, each alone and after a sentence ``for`` or ``against`` the condition.

    A sentence is the same for every case; whether it agrees with a case's label is worked out by the measure. Twins differ in the
    factor ``suggestion`` alone.
    """
    sentences = {
        "1": {
            "for": f"The referring doctor suspects {words.evidence}. ",
            "against": f"The referring doctor does not suspect {words.evidence}. ",
        },
        "2": {
            "for": f"History: known {words.evidence}. ",
            "against": f"History: no {words.evidence}, earlier images were unremarkable. ",
        },
    }
    stems = {
        "1": {
            Polarity.POSITIVE: "Does this {subject} show {evidence}?",
            Polarity.NEGATIVE: "Does this {subject} show no {evidence}?",
        },
        "2": {
            Polarity.POSITIVE: "Can {evidence} be seen in this {subject}?",
            Polarity.NEGATIVE: "Is {evidence} absent from this {subject}?",
        },
    }
    for paraphrase, by_polarity in stems.items():
        for polarity, template in by_polarity.items():
            stem = template.format(subject=words.subject, evidence=words.evidence)
            for suggestion, sentence in {"none": "", **sentences[paraphrase]}.items():
                word = _stem_word(polarity)
                factors = {"polarity": word, "format": str(Form.YES_NO), "suffix": "none", "paraphrase": paraphrase}
                yield Prompt(
                    f"suggested.{word}.p{paraphrase}.{suggestion}",
                    sentence + stem,
                    Form.YES_NO,
                    polarity,
                    "suggested",
                    None,
                    {**factors, "suggestion": suggestion},
                )


def _with_options(stem: str, options: tuple[str, str] | None) -> str:
    return stem if options is None else f"{stem}\nA) {options[0]}\nB) {options[1]}"


PROMPT_SETS: Mapping[str, Callable[[Wording], Iterator[Prompt]]] = {
    "reference": reference_prompts,
    "core": core_prompts,
    "wide": wide_prompts,
    "own": describe_prompts,  # none but the study's own wordings, and the descriptions where it asks for some
}
"""Name of a prompt set, as a study gives it → its generator."""
