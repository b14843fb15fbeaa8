"""Diagnosing from a description: what the reader is asked, what it is spared, and what counts as its answer."""

from __future__ import annotations

import json

import pytest

from palpate.errors import StudyError
from palpate.nouns import Answer, Form, Outcome, Polarity, Prompt, Status
from palpate.parts import AskingMethod, Rubric
from palpate.readings.diagnose import GAP, INPUTS, SCHEMA, VARIANTS, Diagnose, plain

READER = Diagnose()
RUBRIC = Rubric("pneumonia", ("consolidation", "opacity"), ("clear lungs",))
DESCRIBE = Prompt("describe.generic", "Describe.", Form.DESCRIBE, Polarity.POSITIVE, "describe")
YES_NO = Prompt("target", "Is there pneumonia?", Form.YES_NO, Polarity.POSITIVE, "target")
REPORT = "There is a dense consolidation in the right lung, suggestive of pneumonia."


def asked(text: str = REPORT, **options: str) -> str:
    question = READER.question(text, DESCRIBE, RUBRIC, options)
    assert question is not None
    assert question.form is Form.YES_NO  # so a reader that has probabilities gives a margin
    return question.text


def said(reply: str) -> Outcome | None:
    found = READER.outcome(Answer(Status.OK, reply), REPORT, DESCRIBE, RUBRIC, {})
    return None if found is None else found.outcome


def test_it_is_an_asking_method_and_reads_descriptions_alone():
    assert isinstance(READER, AskingMethod)
    assert READER.question("Yes.", YES_NO, RUBRIC, {}) is None


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_three_questions_hold_the_description(variant):
    text = asked(variant=variant)
    assert REPORT in text
    assert "{" not in text
    assert text.endswith("\n")


def test_the_questions_are_those_the_bundled_reader_learnt():
    from training.reports import READER_WORDINGS

    assert dict(VARIANTS) == READER_WORDINGS


def test_the_condition_is_named_but_for_disease():
    assert "Decide if pneumonia is present" in asked(variant="tight")
    assert "whether pneumonia is present" in asked()
    assert "Decide if disease is present" in asked(variant="disease")


def test_role_and_modality_are_the_study_s():
    assert "You are a careful physician.\nGiven the following medical image description" in asked()
    text = asked(role="radiologist", modality="chest X-ray")
    assert "a careful radiologist" in text
    assert "following chest X-ray image" in text


def test_masked_text_states_no_diagnosis():
    named = Rubric("pneumonia", ("consolidation", "opacity"), ("clear lungs",), ("pneumonia",))
    question = READER.question(REPORT, DESCRIBE, named, {"input": "masked"})
    assert question is not None
    assert f"There is a dense consolidation in the right lung {GAP}." in question.text


@pytest.mark.parametrize(
    ("label", "facts", "text"),
    [
        (1, {"size": "large", "side": "left"}, "A large opacity, left."),
        (1, {"side": "left", "noise": 0.2}, "A opacity, left."),
        (0, {"size": "large"}, "No pneumonia."),
    ],
)
def test_an_oracle_says_the_label_with_what_is_recorded(label, facts, text):
    rubric = Rubric("pneumonia", oracle=("A {size} opacity, {side}.", "No {condition}."))
    assert READER.oracle(label, facts, rubric) == text


def test_by_default_an_oracle_affirms_or_denies_the_condition():
    assert READER.oracle(1, {}, RUBRIC) == "There is evidence of pneumonia."
    assert READER.oracle(0, {}, RUBRIC) == "There is no evidence of pneumonia."


def test_what_an_oracle_says_is_asked_as_it_is():
    assert "There is no evidence of pneumonia." in asked(READER.oracle(0, {}, RUBRIC), input="oracle")


@pytest.mark.parametrize(
    ("text", "margin", "mass", "outcome"),
    [
        ("NoThis is no pneumonia", -0.6, 0.99, Outcome.NEGATIVE),
        ("YesYes", 2.0, 0.5, Outcome.POSITIVE),
        ("B) Pneumonia", 2.0, 0.1, None),
        ("Perhaps", None, None, None),
        ('{"answer": "Perhaps"}', 2.0, 0.9, None),
        ("Yes", -3.0, 0.9, Outcome.POSITIVE),
    ],
)
def test_a_reply_that_runs_on_is_read_by_its_margin(text, margin, mass, outcome):
    found = READER.outcome(Answer(Status.OK, text, margin, mass), REPORT, DESCRIBE, RUBRIC, {})
    assert (None if found is None else found.outcome) is outcome


def test_an_empty_description_asks_for_the_prior():
    assert REPORT not in asked(input="empty")
    assert asked(input="empty").endswith("Description:\n\n")
    assert asked("one", input="empty") == asked("another", input="empty")  # so it is asked once


def test_a_description_cannot_fill_slots_or_turn_the_text():
    assert "{target}" in asked("It says {target} and {role}.")
    assert plain("a\u202eb\x1bc\n") == "a\ufffdb\ufffdc\n"


@pytest.mark.parametrize("options", [{"variant": "loose"}, {"input": "grey"}])
def test_a_wrong_option_is_named(options):
    with pytest.raises(StudyError, match="one of"):
        READER.question(REPORT, DESCRIBE, RUBRIC, options)


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ("Yes", Outcome.POSITIVE),
        ("no.", Outcome.NEGATIVE),
        ("  **Yes**, it is.", Outcome.POSITIVE),
        ('{"answer": "No"}', Outcome.NEGATIVE),
        ('{"answer": "Yes"}', Outcome.POSITIVE),
        ('{"answer": "Perhaps"}', None),
        ('{"reading": "Yes"}', None),
        ("Nothing is seen.", None),
        ("Not sure", None),
        ("I cannot say.", None),
        ("", None),
        ("[1, 2]", None),
    ],
)
def test_what_counts_as_its_answer(reply, outcome):
    assert said(reply) is outcome


@pytest.mark.parametrize(
    ("reply", "options", "rule"),
    [
        (Answer(Status.OK, "Yes"), {}, "diagnose: one_word, real"),
        (Answer(Status.OK, "No"), {"variant": "tight", "input": "masked"}, "diagnose: tight, masked"),
        (Answer(Status.OK, "NoNo", -1.0, 0.9), {"input": "oracle"}, "diagnose: one_word, oracle, by its margin"),
    ],
)
def test_a_reading_says_how_it_was_asked_and_of_what(reply, options, rule):
    found = READER.outcome(reply, REPORT, DESCRIBE, RUBRIC, options)
    assert found is not None
    assert found.rule == rule


def test_the_schema_allows_what_is_read():
    for word in SCHEMA["properties"]["answer"]["enum"]:
        assert said(json.dumps({"answer": word})) is not None
    assert INPUTS[0] == "real"
