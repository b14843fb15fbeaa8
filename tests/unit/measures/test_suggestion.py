"""Suggestion: planted models that follow the text, the image, or both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from palpate.measures.suggestion import Suggestion
from palpate.nouns import Panel
from palpate.parts import Measure, MeasureSettings
from planted_margins import Seen, with_texts


def texts(pull: float, signal: float = 2.0, seed: int = 0, clusters: int = 100) -> Panel:
    return with_texts(Seen(clusters, 2, 2, signal).panel(seed), pull)


def of(one: Panel) -> dict:
    return {e.measure: e for e in Suggestion().measure([one], MeasureSettings())}


def test_it_is_a_measure_and_gives_what_it_announces():
    assert isinstance(Suggestion(), Measure)
    assert set(of(texts(1.0))) == set(Suggestion.estimates)


def test_the_numbers_are_those_of_the_definition():
    one = texts(1.0)
    found = of(one)
    y, said, margin = one.label == 1, one.outcome[:, :, 0] == 0, one.margin[:, :, 0]
    agree = np.where(y, said[:, 0], ~said[:, 1])
    conflict = np.where(y, said[:, 1], ~said[:, 0])
    accuracy = [np.mean([r[y].mean(), r[~y].mean()]) for r in (agree, conflict)]
    assert found["accuracy_agreeing"].value == pytest.approx(accuracy[0])
    assert found["accuracy_conflicting"].value == pytest.approx(accuracy[1])
    assert found["suggestion_effect"].value == pytest.approx(accuracy[0] - accuracy[1])
    swing = (margin[:, 0] - margin[:, 1]).mean()
    image = margin[y].mean() - margin[~y].mean()
    assert found["suggestion_sway"].value == pytest.approx(swing / 2)
    assert found["text_share"].value == pytest.approx(swing / (swing + image))


def test_the_verdicts():
    """The image's swing is d′² = 4: a pull of ±1 is a share of one third, of ±6 three quarters."""
    image = of(texts(1.0))
    assert image["text_share"].verdict == "follows the image"
    assert image["text_share"].value == pytest.approx(1 / 3, abs=0.05)
    follower = of(texts(6.0))
    assert follower["text_share"].verdict == "follows the text"
    assert follower["suggestion_effect"].verdict == "swayed by the text"
    steady = of(texts(0.0, clusters=600))
    assert steady["suggestion_effect"].verdict == "not swayed"
    assert abs(steady["suggestion_sway"].value) < 0.1
    assert of(texts(-3.0))["suggestion_effect"].verdict == "contrary to the text"


def test_a_share_of_nothing_is_undefined():
    one = texts(0.0, signal=0.001)
    assert "a share of nothing" in of(one)["text_share"].reason


def test_without_margins_the_answers_still_tell():
    one = texts(3.0)
    found = of(replace(one, margin=np.full(one.margin.shape, np.nan)))
    assert found["suggestion_effect"].verdict == "swayed by the text"
    assert "no probabilities" in found["text_share"].reason


def test_twins_differ_in_nothing_but_the_suggestion():
    one = texts(1.0)
    other = replace(one.prompts[1], factors={"suggestion": "against", "suffix": "one-word"})
    assert of(replace(one, prompts=(one.prompts[0], other))) == {}
    assert of(Seen(20, 2, 3).panel()) == {}


def test_a_trial_missing_under_one_text_is_left_out_under_both():
    one = texts(1.0)
    one.outcome[:50, 0] = -1
    kept = one.label[50:] == 1
    said = one.outcome[50:, :, 0] == 0
    agree = np.where(kept, said[:, 0], ~said[:, 1])
    assert of(one)["accuracy_agreeing"].value == pytest.approx(np.mean([agree[kept].mean(), agree[~kept].mean()]))
