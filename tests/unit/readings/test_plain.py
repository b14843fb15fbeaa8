"""A text made plain, and spans that point into the text as it was given, whatever was taken out of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palpate.nouns import Outcome
from palpate.parts import ReadText
from palpate.readings._echo import content, echoed
from palpate.readings._plain import HEAD, TAIL, plain, seen
from palpate.readings.rules import read_answer

UNSEEN = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u202a\u202e\u2066"


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(st.characters() | st.sampled_from("*`#_<>İ \t\r\n"), max_size=300))
def test_a_plain_text_is_as_long_as_it_was(text: str) -> None:
    low, gap = plain(text)
    assert (len(low), gap) == (len(text), 0)


def test_of_a_long_text_the_middle_is_counted() -> None:
    text = "a" * HEAD + "b" * 500 + "c" * TAIL
    low, gap = plain(text)
    assert gap == 499  # one of the characters left out stands as a line break
    assert low == "a" * HEAD + "\n" + "c" * TAIL


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from([*UNSEEN, *"Yes, no.", "There is no pneumonia. ", "A) "]), max_size=40).map("".join))
def test_a_span_points_into_the_text_as_given(text: str) -> None:
    shown = "".join(c for c in text if c not in UNSEEN)
    with_, without = (read_answer(t, form="yes-no", question="Is there pneumonia?") for t in (text, shown))
    assert (with_.outcome, with_.rule) == (without.outcome, without.rule)
    if with_.span is not None and without.span is not None:
        begin, end = with_.span
        inside = "".join(c for c in text[begin:end] if c not in UNSEEN)
        assert inside == shown[slice(*without.span)]


def test_what_nobody_sees_is_not_handed_on() -> None:
    handed: list[str] = []

    def note(text: str) -> ReadText:
        handed.append(text)
        return ReadText(Outcome.POSITIVE, (0, len(text)), "x")

    found = seen("\ufeffY\u200bes\u202c", note)
    assert handed == ["Yes"]
    assert found.span == (1, 5)
    assert seen(UNSEEN, note).span == (0, 0)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Is the liver enlarged?", ({"liver", "enlarged"}, "enlarged")),
        ("The image is from a ward. Are the kidneys normal?", ({"kidney", "normal"}, "normal")),
        ("Is there any?", None),
        ("", None),
        ("???", None),
    ],
)
def test_the_content_of_a_question(question: str, expected) -> None:
    found = content(question)
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert expected[0] <= found[0]
        assert found[1] == expected[1]


def test_an_echo_is_looked_for_in_the_first_two_sentences() -> None:
    question = "Is the liver enlarged?"
    assert echoed("the scan is of good quality. the liver is enlarged.", question) == (True, (28, 50))
    assert echoed("one. two. the liver is enlarged.", question) is None
    assert echoed("the liver is not enlarged", question) == (False, (0, 25))
