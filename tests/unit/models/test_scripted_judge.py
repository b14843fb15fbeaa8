"""The scripted judge says what it is told to, of the text between the marks."""

from __future__ import annotations

import pytest

from palpate.errors import ModelError
from palpate.nouns import Answer, Block, Case, Form, Perturbation, Polarity, Prompt, Status, Stimulus, Trial
from palpate.parts import ModelSpec, Rubric
from palpate.readings.judge import Judge
from palpate.registry import part
from palpate.store import keys

YES_NO = Prompt("p", "Is there pneumonia?", Form.YES_NO, Polarity.POSITIVE, "target")


def build(**options):
    return part("models", "scripted_judge").build(ModelSpec("j", "scripted_judge", options))


def replies(model, *answers: str) -> list[Answer]:
    case = Case("text", 0, "text", "", None)
    questions = [Judge().question(a, YES_NO, Rubric("pneumonia"), {}) for a in answers]
    trials = tuple(Trial(keys.prompt_digest(q), "j", "", "text", Perturbation(), q) for q in questions)
    return model.ask([Stimulus(Block("j", "", case, Perturbation(), trials), None)])[0]


def test_it_says_what_is_planted_of_the_answer_between_the_marks():
    found = replies(build(says={"Yes": "POSITIVE", "No way": "NEGATIVE"}, otherwise="HEDGE"), "Yes", " No way ", "Yes, it is")
    read = [Judge().outcome(r, "", YES_NO, Rubric(""), {}).outcome for r in found]
    assert read == ["positive", "negative", "hedge"]


def test_a_word_alone_where_so_planted():
    assert replies(build(reply="word", otherwise="NEGATIVE"), "x")[0].text == "NEGATIVE"


def test_errors_and_malformed_replies_come_at_their_rates_and_pass():
    answers = [f"answer {i}" for i in range(400)]
    model = build(error_rate=0.2, malformed_rate=0.1, error_attempts=1)
    first = replies(model, *answers)
    failed = sum(r.status is Status.ERROR for r in first)
    odd = sum(r.status is Status.OK and not r.text.startswith("{") for r in first)
    assert 50 < failed < 115
    assert 20 < odd < 65
    assert all(r.text.startswith("{") for r in replies(model, *answers))


def test_everything_planted_is_identity():
    assert build(otherwise="HEDGE").fingerprint() != build().fingerprint()
    assert build().fingerprint() == build(blocks_at_once=2).fingerprint()


@pytest.mark.parametrize("options", [{"says": 3}, {"says": {"a": 1}}, {"reply": "xml"}, {"error_rate": 2.0}, {"sys": {}}])
def test_impossible_options_are_errors(options):
    with pytest.raises(ModelError, match="'j'"):
        build(**options)
