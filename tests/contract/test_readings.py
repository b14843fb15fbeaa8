"""Every reading method: total, deterministic, aware of polarity, and pointing at what it rests on."""

from __future__ import annotations

import re
import string
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palpate.nouns import Answer, Form, Outcome, Polarity, Prompt, Status
from palpate.parts import AskingMethod, ReadText
from palpate.registry import part, parts
from palpate.task import load_task, prompt_set

TASK = load_task("pneumonia_cxr")
PROMPTS = prompt_set("reference", TASK.wording, describe=True) + prompt_set("core", TASK.wording, describe=False)
OPEN = Prompt("open", "What is seen?", Form.OPEN, Polarity.POSITIVE, "target")
EVERY = (*PROMPTS, OPEN)
NAMES = [n for n, method in parts("readings").items() if not isinstance(method, AskingMethod)]
ASKING = [n for n in parts("readings") if n not in NAMES]
FLIPPED = {Outcome.POSITIVE: Outcome.NEGATIVE, Outcome.NEGATIVE: Outcome.POSITIVE}

HOSTILE = [
    "",
    " ",
    "\n\r\t\0",
    "\ufeff",
    "\ud800",
    "İ" * 50,
    "🫁" * 100,
    "\u202eseY",
    "a" * 100_000,
    "Yes " * 30_000,
    "(" * 5_000,
    "not " * 5_000,
    "A) B) A) B)",
    "<think>" * 1_000,
    "</think>",
    "{{ 7 * 7 }} %s %d {0}",
    "\\" * 1000,
    "No, no, no. Yes? Not no.",
    "NaN",
    "None",
    "\x1b[31mYes\x1b[0m",
    "<script>alert('Yes')</script>",
]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def read(name: str, text: str, prompt: Prompt) -> ReadText:
    found: ReadText = part("readings", name).read(text, prompt, TASK.rubric)
    assert isinstance(found, ReadText)
    assert isinstance(found.outcome, Outcome)
    if found.span is not None:
        low, high = found.span
        assert 0 <= low <= high <= len(text)
    return found


def test_by_is_name_and_version(name: str) -> None:
    method = part("readings", name)
    assert re.fullmatch(rf"{re.escape(name)}@\w+", method.by)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_text_is_read_without_a_fault(name: str, text: str) -> None:
    for prompt in (PROMPTS[0], PROMPTS[4], PROMPTS[5], PROMPTS[-1], OPEN):
        read(name, text, prompt)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.text(st.characters() | st.sampled_from(string.punctuation + "ABYesNo \n"), max_size=120), st.sampled_from(EVERY))
def test_any_text_is_read_without_a_fault(text: str, prompt: Prompt) -> None:
    for name in NAMES:
        assert read(name, text, prompt) == read(name, text, prompt)


def test_an_empty_text_is_unparsed(name: str) -> None:
    assert {read(name, "", p).outcome for p in EVERY} == {Outcome.UNPARSED}


@pytest.mark.parametrize("prompt", [p for p in EVERY if p.form.closed], ids=lambda p: p.name)
def test_flipping_the_polarity_flips_the_outcome(name: str, prompt: Prompt) -> None:
    answers = ("Yes", "No", "Yes.", "no") if prompt.form is Form.YES_NO else ("A", "B", "A)", "b")
    for text in answers:
        outcome = read(name, text, prompt).outcome
        assert outcome in FLIPPED, text
        assert read(name, text, replace(prompt, polarity=prompt.polarity.flipped)).outcome is FLIPPED[outcome]


@pytest.mark.parametrize("prompt", [p for p in EVERY if p.form.closed], ids=lambda p: p.name)
def test_the_first_answer_asserts_what_the_polarity_says(name: str, prompt: Prompt) -> None:
    first = "Yes" if prompt.form is Form.YES_NO else "A"
    expected = Outcome.POSITIVE if prompt.polarity is Polarity.POSITIVE else Outcome.NEGATIVE
    assert read(name, first, prompt).outcome is expected


def test_a_refusal_is_a_refusal_under_every_prompt(name: str) -> None:
    text = "I'm sorry, but I cannot provide a medical diagnosis. Please consult a qualified doctor."
    assert {read(name, text, p).outcome for p in EVERY} == {Outcome.REFUSE_POLICY}
    blind = "I'm sorry, but I cannot see the image. Please upload it."
    assert {read(name, blind, p).outcome for p in EVERY} == {Outcome.REFUSE_CAPABILITY}


# ---------------------------------------------------------------- methods that ask a model


@pytest.fixture(params=ASKING)
def asking(request: pytest.FixtureRequest) -> AskingMethod:
    found: AskingMethod = part("readings", str(request.param))
    return found


def test_an_asking_method_has_a_version_and_describes_its_options(asking: AskingMethod) -> None:
    assert re.fullmatch(rf"{re.escape(asking.name)}@\w+", asking.by)
    assert all(len(about) > 10 for about in asking.options.values())


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_answer_makes_a_question_that_can_be_sent(asking: AskingMethod, text: str) -> None:
    for prompt in (PROMPTS[0], PROMPTS[5], PROMPTS[-1], OPEN):
        question = asking.question(text, prompt, TASK.rubric, {})
        if question is None:
            continue
        question.text.encode("utf-8")
        assert "\x00" not in question.text
        assert question == asking.question(text, prompt, TASK.rubric, {})
        assert len(question.text) < 20_000


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_reply_is_a_reading_or_none(asking: AskingMethod, text: str) -> None:
    for prompt in (PROMPTS[0], PROMPTS[-1]):
        found = asking.outcome(Answer(Status.OK, text), "Yes, it is.", prompt, TASK.rubric, {})
        assert found is None or isinstance(found.outcome, Outcome)
        if found is not None and found.span is not None:
            assert 0 <= found.span[0] <= found.span[1] <= len("Yes, it is.")
