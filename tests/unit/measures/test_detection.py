"""d′ and criterion: definitions, and which of the two a planted model varies."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from palpate.measures.detection import Detection
from palpate.nouns import Panel
from palpate.parts import Measure, MeasureSettings
from planted import Planted, panel
from planted_margins import Seen

SHIFTED = Seen(150, 2, 8, 1.5, criterion=(-0.8, -0.6, -0.3, 0, 0, 0.3, 0.6, 0.8))
SHARPENED = Seen(150, 2, 8, signal=(0.2, 0.4, 0.8, 1.2, 1.6, 2.0, 2.4, 2.8))


def of(one: Panel, *, prompt: str | None = None) -> dict:
    return {e.measure: e for e in Detection().measure([one], MeasureSettings()) if e.by.get("prompt") == prompt}


def test_it_is_a_measure_and_gives_what_it_announces():
    assert isinstance(Detection(), Measure)
    assert set(of(SHIFTED.panel())) == set(Detection.estimates)


def test_the_numbers_are_those_of_the_definition():
    one = SHIFTED.panel()
    one.outcome[:9, 0] = 3  # refusals are no answers
    answered = one.outcome[:, 0, 0] < 2
    yes, y = one.outcome[answered, 0, 0] == 0, one.label[answered]
    rates = [((yes & (y == k)).sum() + 0.5) / ((y == k).sum() + 1) for k in (1, 0)]
    found = of(one, prompt="target0")
    assert found["d_prime"].value == pytest.approx(norm.ppf(rates[0]) - norm.ppf(rates[1]))
    assert found["criterion"].value == pytest.approx(-(norm.ppf(rates[0]) + norm.ppf(rates[1])) / 2)
    assert found["d_prime"].low < found["d_prime"].value < found["d_prime"].high
    whole = of(one)
    each = [of(one, prompt=f"target{k}")["criterion"].value for k in range(8)]
    assert whole["criterion"].value == pytest.approx(np.mean(each))


def test_a_threshold_that_moves_is_bias_driven_and_a_signal_that_varies_is_not():
    found = of(SHIFTED.panel())
    assert found["criterion_spread"].verdict == "bias-driven"
    assert found["criterion_spread"].value == pytest.approx(np.std(SHIFTED.criterion, ddof=1), abs=0.12)
    assert found["d_prime_spread"].value < 0.2
    found = of(SHARPENED.panel())
    assert found["criterion_spread"].verdict == "sensitivity varies"
    assert found["d_prime_spread"].value == pytest.approx(np.std(SHARPENED.signal, ddof=1), abs=0.25)


def test_prompts_that_are_alike_are_steady_where_there_are_enough_cases():
    assert of(Seen(900, 2, 12, 1.0).panel())["criterion_spread"].verdict == "steady"
    assert of(Seen(40, 1, 4, 1.0).panel())["criterion_spread"].verdict in ("undetermined", "steady")


def test_all_right_has_a_finite_d_prime_and_an_interval():
    label = np.arange(80) % 2
    found = of(panel(np.where(label == 1, 0, 1)[:, None].repeat(3, axis=1), label))
    assert found["d_prime"].value == pytest.approx(2 * norm.ppf(40.5 / 41))
    assert found["d_prime"].low < found["d_prime"].value - 0.3


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (panel(np.zeros((8, 2)), np.ones(8)), "no definite answer in at least one class"),
        (panel(np.full((8, 2), 3), np.arange(8) % 2), "no definite answer"),
        (panel(np.full((8, 2), -1), np.arange(8) % 2), "no case was read"),
        (panel(np.zeros((8, 2)), np.arange(8) % 2, np.zeros(8, int)), "one group"),
    ],
)
def test_undefined_is_a_reason_never_a_number(one, why):
    found = of(one)
    assert found["d_prime"].value is None
    assert why in found["d_prime"].reason
    assert found["criterion_spread"].value is None


def test_one_prompt_has_no_spread():
    found = of(Planted(20, 2, 1).panel())
    assert found["d_prime"].value is not None
    assert "one prompt" in found["d_prime_spread"].reason
