"""Image use: planted models that look, that look but see nothing, and that do not look."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import entropy

from palpate.measures.image import Image
from palpate.nouns import VERDICTS, Panel
from palpate.parts import Measure, MeasureSettings
from planted import panel
from planted_margins import Blind, Seen, null


def of(panels: list[Panel], null_image: str | None = None) -> dict:
    found = Image().measure(panels, MeasureSettings())
    return {e.measure: e for e in found if e.by.get("null_image") == null_image}


def looking(signal: float = 2.0, **more) -> list[Panel]:
    one = Seen(100, 2, 4, signal, **more).panel()
    return [one, null(one, prior=(0, 0, 1, 1))]


def test_it_is_a_measure_and_gives_what_it_announces():
    assert isinstance(Image(), Measure)
    assert set(of(looking())) == set(Image.estimates)


def test_the_numbers_are_those_of_the_definition():
    one = Seen(40, 2, 3, 1.0).panel()
    one.outcome[:5, 0] = 3
    one.outcome[5:9] = -1
    other = null(one, prior=(0, 1, 1))
    other.outcome[10:20, 1] = 3  # abstains there: not compared
    found = of([one, other])
    a, b = one.outcome[:, :, 0], other.outcome[:, :, 0]
    used = (a >= 0) & (b < 2)
    by_prompt = [(a[:, p] != b[:, p])[used[:, p]].mean() for p in range(3)]
    assert found["image_dependence"].value == pytest.approx(np.mean(by_prompt))
    assert found["mirage_rate"].value == pytest.approx(np.mean([(b[:, p] == 0).mean() for p in range(3)]))
    assert found["null_answer_rate"].value == pytest.approx(np.mean([(b[:, p] < 2).mean() for p in range(3)]))
    assert "rerun floor is taken as 0" in found["image_dependence"].method
    shares = [np.bincount(np.minimum(a[a[:, p] >= 0, p], 2)) for p in range(3)]
    plugged = np.mean([entropy(s, base=2) for s in shares])
    assert 0 < found["answer_information"].value - plugged < 0.05  # Miller–Madow adds a little


def test_the_three_verdicts():
    assert of(looking())["image_dependence"].verdict == "uses the image"
    assert of(Blind().panels())["image_dependence"].verdict == "ignores the image"
    nothing_seen = Seen(300, 2, 4, 0.0).panel()
    # A margin without signal: scale · d · x is 0 throughout, so it is given the evidence itself.
    rng = np.random.default_rng(0)
    nothing_seen = replace(nothing_seen, margin=rng.normal(0, 1, nothing_seen.margin.shape))
    assert of([nothing_seen, null(nothing_seen)])["image_dependence"].verdict == "looks but blind"


def test_telling_the_cases_apart_the_wrong_way_round_is_not_being_blind():
    panels = [replace(p, label=(1 - p.label).astype(np.int8)) for p in looking()]
    found = of(panels)
    assert found["label_dependence"].high < 0
    assert found["image_dependence"].verdict == "sees, but says the opposite"
    assert "says the opposite where" in found["image_dependence"].method
    assert found["image_dependence"].verdict in VERDICTS


def test_a_model_that_answers_at_random_is_not_taken_to_look_where_it_was_asked_twice():
    found = of(Blind(prior=(0.5, 0.3, 0.8, 0.5), repeats=3).panels())
    assert found["image_dependence"].value == pytest.approx(0, abs=0.06)
    assert found["image_dependence"].verdict == "ignores the image"
    assert found["answer_information"].low < 0 < found["answer_information"].high
    once = of(Blind(prior=(0.5, 0.3, 0.8, 0.5)).panels())
    assert once["image_dependence"].value > 0.3, "why the floor is needed"


def test_without_margins_the_share_of_positive_answers_stands_in():
    panels = [replace(p, margin=np.full(p.margin.shape, np.nan)) for p in looking()]
    found = of(panels)
    assert "share of positive answers" in found["label_dependence"].method
    assert found["label_dependence"].value > 0.2
    assert found["image_dependence"].verdict == "uses the image"


def test_each_null_image_has_its_own_numbers():
    one = Seen(60, 2, 4, 2.0).panel()
    panels = [one, null(one, prior=0.0), null(one, name="no_image", prior=1.0, refuses=0.5)]
    assert of(panels, "no_image")["mirage_rate"].value == pytest.approx(0.5, abs=0.06)
    assert of(panels, "no_image")["null_answer_rate"].value == pytest.approx(0.5, abs=0.06)
    assert of(panels, "blank")["mirage_rate"].value == 0.0
    parts = [of(panels, name)["mirage_rate"].value for name in ("no_image", "blank")]
    assert of(panels)["mirage_rate"].value == pytest.approx(np.mean(parts))
    assert "mean over 2 null images" in of(panels)["image_dependence"].method


def test_without_a_null_image_there_is_a_reason_and_the_label_still_speaks():
    found = of(looking()[:1])
    assert "no null image" in found["image_dependence"].reason
    assert "no null image" in found["mirage_rate"].reason
    assert found["label_dependence"].low > 0


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (panel(np.full((8, 2), -1), np.arange(8) % 2), "no case was read"),
        (panel(np.zeros((8, 2)), np.arange(8) % 2, np.zeros(8, int)), "one group"),
    ],
)
def test_undefined_is_a_reason_never_a_number(one, why):
    found = of([one, null(one)])
    for name in ("image_dependence", "label_dependence", "answer_information"):
        assert found[name].value is None
    assert why in found["image_dependence"].reason


def test_information_is_what_the_image_says_of_the_answer():
    """Two repeats, answers half determined by the image: the plug-in would be far too large."""
    rng = np.random.default_rng(0)
    state = rng.random(600) < 0.5
    says = rng.random((600, 1, 2)) < np.where(state, 0.9, 0.1)[:, None, None]
    one = panel(np.where(says, 0, 1), np.arange(600) % 2)
    true = 1 - entropy([0.9, 0.1], base=2)
    found = of([one, null(one)])["answer_information"]
    # Two repeats cannot tell all of it: what they can is E[H under independence] − E[H of two], here exactly computable.
    two = 0.5 - 2 * 0.9 * 0.1
    assert found.value == pytest.approx(two, abs=0.05)
    assert found.value < true
    assert found.low > 0
