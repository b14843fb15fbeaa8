"""The wide set: one factor at a time beside the core, word for word, and suggestions in a cell of their own."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import pytest

from palpate.nouns import Form, Polarity, Prompt
from palpate.prompts import PLAIN, PROMPT_SETS, core_prompts, suggestion_prompts, wide_prompts
from palpate.task import load_task, prompt_set, task_names

TASKS = task_names()
FACTORS = ("role", "cue", "politeness", "typo", "length", "shots")

WORDS: dict[str, str] = {
    "target.affirmative.role.expert": ("You are an experienced chest radiologist. Does this image contain evidence of pneumonia?"),
    "target.affirmative.cue.careful": (
        "Look carefully at every part of the image before you answer. Does this image contain evidence of pneumonia?"
    ),
    "target.affirmative.politeness.please": (
        "Could you please help me? Does this image contain evidence of pneumonia? Thank you very much."
    ),
    "target.affirmative.typo.letters-swapped": "Does this image cnotain eivdence of pneumonia?",
    "target.affirmative.length.long": (
        "This image was taken as part of a routine examination and belongs to a larger series. No clinical "
        "information is given with it, and it has been exported without any change. Does this image contain "
        "evidence of pneumonia?"
    ),
    "target.affirmative.shots.two-positive-first": (
        "Example 1: an image that shows consolidation, air bronchograms, and silhouettes.\nDoes this image "
        "contain evidence of pneumonia?\nYes\n\nExample 2: an image of clear, evenly aerated lungs.\nDoes "
        "this image contain evidence of pneumonia?\nNo\n\nNow the image before you.\nDoes this image contain "
        "evidence of pneumonia?"
    ),
    "target.affirmative.shots.two-negative-first": (
        "Example 1: an image of clear, evenly aerated lungs.\nDoes this image contain evidence of "
        "pneumonia?\nNo\n\nExample 2: an image that shows consolidation, air bronchograms, and "
        "silhouettes.\nDoes this image contain evidence of pneumonia?\nYes\n\nNow the image before "
        "you.\nDoes this image contain evidence of pneumonia?"
    ),
    "target.negated.role.expert": ("You are an experienced chest radiologist. Is this image free of pneumonia?"),
    "target.negated.cue.careful": ("Look carefully at every part of the image before you answer. Is this image free of pneumonia?"),
    "target.negated.politeness.please": ("Could you please help me? Is this image free of pneumonia? Thank you very much."),
    "target.negated.typo.letters-swapped": "Is tihs iamge free of pneumonia?",
    "target.negated.length.long": (
        "This image was taken as part of a routine examination and belongs to a larger series. No clinical "
        "information is given with it, and it has been exported without any change. Is this image free of "
        "pneumonia?"
    ),
    "target.negated.shots.two-positive-first": (
        "Example 1: an image that shows consolidation, air bronchograms, and silhouettes.\nIs this image "
        "free of pneumonia?\nNo\n\nExample 2: an image of clear, evenly aerated lungs.\nIs this image free "
        "of pneumonia?\nYes\n\nNow the image before you.\nIs this image free of pneumonia?"
    ),
    "target.negated.shots.two-negative-first": (
        "Example 1: an image of clear, evenly aerated lungs.\nIs this image free of "
        "pneumonia?\nYes\n\nExample 2: an image that shows consolidation, air bronchograms, and "
        "silhouettes.\nIs this image free of pneumonia?\nNo\n\nNow the image before you.\nIs this image free "
        "of pneumonia?"
    ),
    "target.options.negated.A-B": ("Which of these two does this image show?\nA) Pneumonia\nB) No pneumonia"),
    "target.options.negated.B-A": ("Which of these two does this image show?\nA) No pneumonia\nB) Pneumonia"),
    "target.options.two-names.A-B": ("Which of these two does this image show?\nA) Pneumonia\nB) Clear lungs"),
    "target.options.two-names.B-A": ("Which of these two does this image show?\nA) Clear lungs\nB) Pneumonia"),
    "suggested.affirmative.p1.none": "Does this image show pneumonia?",
    "suggested.affirmative.p1.for": ("The referring doctor suspects pneumonia. Does this image show pneumonia?"),
    "suggested.affirmative.p1.against": ("The referring doctor does not suspect pneumonia. Does this image show pneumonia?"),
    "suggested.negated.p1.none": "Does this image show no pneumonia?",
    "suggested.negated.p1.for": ("The referring doctor suspects pneumonia. Does this image show no pneumonia?"),
    "suggested.negated.p1.against": ("The referring doctor does not suspect pneumonia. Does this image show no pneumonia?"),
    "suggested.affirmative.p2.none": "Can pneumonia be seen in this image?",
    "suggested.affirmative.p2.for": ("History: known pneumonia. Can pneumonia be seen in this image?"),
    "suggested.affirmative.p2.against": (
        "History: no pneumonia, earlier images were unremarkable. Can pneumonia be seen in this image?"
    ),
    "suggested.negated.p2.none": "Is pneumonia absent from this image?",
    "suggested.negated.p2.for": "History: known pneumonia. Is pneumonia absent from this image?",
    "suggested.negated.p2.against": (
        "History: no pneumonia, earlier images were unremarkable. Is pneumonia absent from this image?"
    ),
}
"""Every wording that the wide set adds, of the task pneumonia_cxr."""


def wide(task: str = "pneumonia_cxr") -> list[Prompt]:
    return list(wide_prompts(load_task(task).wording))


def added(task: str = "pneumonia_cxr") -> list[Prompt]:
    core = {p.name for p in core_prompts(load_task(task).wording)}
    return [p for p in wide(task) if p.name not in core]


def test_the_wide_set_word_for_word() -> None:
    assert {p.name: p.text for p in added()} == WORDS


@pytest.mark.parametrize("task", TASKS)
def test_its_size_and_cells(task: str) -> None:
    found = Counter(p.cell for p in wide(task))
    assert found == {"target": 24 + 14 + 4, "abnormal": 24, "suggested": 12, "describe": 2}
    assert len({p.text for p in wide(task)}) == len({p.name for p in wide(task)}) == 80


@pytest.mark.parametrize("task", TASKS)
def test_no_slot_is_left_open_and_no_default_word_is_left_in(task: str) -> None:
    words = load_task(task).wording
    assert words.healthy != "Healthy"
    for prompt in wide(task):
        assert "{" not in prompt.text
        assert "  " not in prompt.text


def test_core_questions_are_the_same_questions() -> None:
    words = load_task("idc_histology").wording
    core = {p.name: p for p in core_prompts(words)}
    for prompt in wide_prompts(words):
        if prompt.name in core:
            was = core[prompt.name]
            assert (prompt.text, prompt.form, prompt.polarity, prompt.cell) == (was.text, was.form, was.polarity, was.cell)
            assert prompt.form is Form.DESCRIBE or dict(prompt.factors) == {**PLAIN, **was.factors}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("factor", FACTORS)
def test_a_variant_differs_from_its_plain_twin_in_one_factor(task: str, factor: str) -> None:
    prompts = wide(task)
    varied = [p for p in prompts if p.factors.get(factor, "none") != "none"]
    assert len(varied) == (4 if factor == "shots" else 2)
    for prompt in varied:
        twins = [
            p
            for p in prompts
            if (p.cell, p.form, p.polarity) == (prompt.cell, prompt.form, prompt.polarity)
            and {**p.factors, factor: ""} == {**prompt.factors, factor: ""}
            and p.factors[factor] == "none"
        ]
        assert len(twins) == 1
        assert prompt.text != twins[0].text


@pytest.mark.parametrize("task", TASKS)
def test_options_change_in_name_and_order_alone(task: str) -> None:
    choices = {p.name: p for p in added(task) if p.form in (Form.AB, Form.BA)}
    assert len(choices) == 4
    for prompt in choices.values():
        assert prompt.options is not None
        asserts = prompt.options[0 if prompt.polarity is Polarity.POSITIVE else 1]
        assert asserts == choices["target.options.negated.A-B"].options[0]  # type: ignore[index]
        denies = prompt.options[1 if prompt.polarity is Polarity.POSITIVE else 0]
        assert denies.startswith("No ") is (prompt.factors["options"] == "negated")
        assert f"A) {prompt.options[0]}" in prompt.text
        assert f"B) {prompt.options[1]}" in prompt.text


def test_a_typo_leaves_the_condition_and_every_letter() -> None:
    for task in TASKS:
        words = load_task(task).wording
        for wrong in (p for p in added(task) if p.factors.get("typo", "none") != "none"):
            stem = next(p for p in wide(task) if p.name == f"target.{wrong.factors['polarity']}.yes-no.none.p1").text
            assert words.evidence in wrong.text
            assert wrong.text != stem
            assert sorted(wrong.text) == sorted(stem)
            assert sum(a != b for a, b in zip(wrong.text.split(), stem.split(), strict=True)) == 2


def test_examples_are_labelled_by_what_the_question_asks() -> None:
    for prompt in (p for p in added() if p.factors.get("shots", "none") != "none"):
        blocks = prompt.text.split("\n\n")
        assert len(blocks) == 3
        assert blocks[2].startswith("Now the image before you.")
        for block in blocks[:2]:
            shows_it = "consolidation" in block
            says_yes = block.endswith("Yes")
            assert says_yes is (shows_it is (prompt.polarity is Polarity.POSITIVE))
        assert ("consolidation" in blocks[0]) is (prompt.factors["shots"] == "two-positive-first")


# ---------------------------------------------------------------- suggestions


@pytest.mark.parametrize("task", TASKS)
def test_suggestions_come_in_threes(task: str) -> None:
    found = list(suggestion_prompts(load_task(task).wording))
    assert {p.cell for p in found} == {"suggested"}
    groups: dict[tuple[object, ...], list[Prompt]] = {}
    for p in found:
        rest = tuple(sorted((k, v) for k, v in p.factors.items() if k != "suggestion"))
        groups.setdefault((p.polarity, p.form, rest), []).append(p)
    assert len(groups) == 4
    for group in groups.values():
        assert [p.factors["suggestion"] for p in group] == ["none", "for", "against"]
        stem = group[0].text
        assert all(p.text.endswith(stem) for p in group)


def test_no_suggestion_is_pooled_with_the_plain_question() -> None:
    assert not [p for p in wide() if "suggestion" in p.factors and p.cell != "suggested"]


def test_sentences_for_and_against_are_told_apart() -> None:
    found = [p for p in suggestion_prompts(load_task("pneumonia_cxr").wording) if p.factors["suggestion"] != "none"]
    for one, other in combinations(found, 2):
        same = one.text.split(". ")[0] == other.text.split(". ")[0]
        assert not same or one.factors["suggestion"] == other.factors["suggestion"]


# ---------------------------------------------------------------- sets


def test_the_sets_are_opt_in_and_named() -> None:
    assert list(PROMPT_SETS) == ["reference", "core", "wide", "own"]
    words = load_task("pneumonia_cxr").wording
    assert [len(prompt_set(name, words, describe=False)) for name in PROMPT_SETS] == [12, 48, 78, 0]
    assert [len(prompt_set(name, words, describe=True)) for name in PROMPT_SETS] == [14, 50, 80, 2]
