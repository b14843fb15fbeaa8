"""Findings: what each mention of the condition says, and what all of them say together."""

from __future__ import annotations

import pytest

from palpate.readings._findings import MAX_MENTIONS, Says, mentions, terms, verdict

PNEUMONIA = terms(("pneumonia", "consolidation", "opacity", "opacities"), ("clear lungs", "lungs are clear"), "pneumonia")
LESION = terms(("malignant", "melanoma", "tumour", "cancer"), ("benign", "nevus"), "malignant skin lesion")
YES, NO, MAYBE = Says.PRESENT, Says.ABSENT, Says.MAYBE


def said(text: str, known=PNEUMONIA) -> list[Says]:
    return [mention.says for mention in mentions(text.lower(), known)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("there is pneumonia.", [YES]),
        ("no pneumonia.", [NO]),
        ("no focal consolidation, effusion, or pneumonia.", [NO, NO]),
        ("no effusion, with consolidation on the left", [YES]),
        ("no effusion, suggesting that the consolidation is old", [YES]),
        ("no effusion and there is consolidation", [YES]),
        ("no effusion but consolidation", [YES]),
        ("the lungs show neither opacity nor consolidation", [NO, NO]),
        ("an opacity without consolidation", [YES, NO]),
        ("pneumonia is not present", [NO]),
        ("pneumonia was not seen", [NO]),
        ("pneumonia isn't visible", [NO]),
        ("pneumonia cannot be seen", [NO]),
        ("pneumonia appears unlikely", [NO]),
        ("pneumonia: none", [NO]),
        ("not only pneumonia", [YES]),
        ("mri without contrast shows an opacity", [YES]),
        ("no abnormality other than the opacity", [YES]),
        ("not free of opacities", [YES]),
        ("free of opacities", [NO]),
        ("pneumonia may be present", [MAYBE]),
        ("pneumonia has not been ruled out", [MAYBE]),
        ("pneumonia cannot be completely excluded", [MAYBE]),
        ("this may not be pneumonia", [MAYBE]),
        ("an opacity that might be pneumonia", [YES, MAYBE]),
        ("the heart may be large and there is pneumonia", [YES]),
        ("is there pneumonia?", []),
        ("if there is pneumonia, treat it", []),
        ("an x-ray is used to diagnose pneumonia", []),
        ("patients with pneumonia cough", []),
        ("pneumonia is an infection of the lung", []),
        ("pneumonia can cause fever", []),
        ("pneumonia can be seen", [YES]),
        ("the lungs are clear", [NO]),
        ("the lungs are not clear", []),
        ("pneumonias and opacitys", [YES, YES]),
        ("bronchopneumonia", []),
        ("effusion. no. pneumonia.", [YES]),
        ("no effusion\npneumonia", [YES]),
    ],
)
def test_a_mention_in_its_clause(text, expected):
    assert said(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("benign", [NO]),
        ("not benign", [YES]),
        ("non-malignant", [NO]),
        ("cancerous", [YES]),
        ("cancer-free", [NO]),
        ("benign or malignant", [MAYBE, MAYBE]),
        ("malignant vs. benign", [MAYBE, MAYBE]),
        ("a benign nevus, not a melanoma", [NO, NO, NO]),
        ("a tumor", [YES]),
        ("two tumours", [YES]),
        ("may be benign", [MAYBE]),
    ],
)
def test_words_for_both_sides(text, expected):
    assert said(text, LESION) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("an opacity, but no pneumonia", NO),  # the condition outweighs its sign
        ("no opacity on the right. an opacity on the left.", YES),  # a sign somewhere outweighs one denied elsewhere
        ("there is pneumonia. there is no pneumonia.", MAYBE),
        ("possible pneumonia. no pneumonia.", NO),
        ("possible pneumonia with an opacity", MAYBE),
        ("no opacity. clear lungs.", NO),
    ],
)
def test_all_mentions_together(text, expected):
    assert verdict(list(mentions(text, PNEUMONIA))).says is expected


def test_nothing_said_is_no_verdict():
    assert verdict([]) is None
    assert terms((), (), "pneumonia") is None
    assert terms((" ",), (), "") is None


def test_the_span_and_the_rank_of_a_mention():
    first, second = mentions("an opacity of pneumonia", PNEUMONIA)
    assert (first.span, first.primary) == ((3, 10), False)
    assert (second.span, second.primary) == ((14, 23), True)


def test_a_range_of_the_text_can_be_read_alone():
    text = "no pneumonia. pneumonia."
    assert [mention.says for mention in mentions(text, PNEUMONIA, 3)] == [YES, YES]
    assert [mention.says for mention in mentions(text, PNEUMONIA, 0, 12)] == [NO]


def test_the_number_of_mentions_read_is_bounded():
    assert len(list(mentions("pneumonia. " * 1000, PNEUMONIA))) == MAX_MENTIONS
