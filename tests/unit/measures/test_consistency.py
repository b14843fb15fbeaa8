"""Consistency: by brute force, and for models that follow the order or the sound of "yes" alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from palpate.measures.consistency import Consistency
from palpate.nouns import Estimate, Panel
from palpate.parts import MeasureSettings
from planted import NEGATIVE, POSITIVE, REFUSED, panel
from wordings import both_orders, both_polarities, core

SETTINGS = MeasureSettings(draws=200)


def named(one: Panel, settings: MeasureSettings = SETTINGS) -> dict[str, Estimate]:
    return {e.measure: e for e in Consistency().measure([one], settings)}


def guessing(prompts, cases=400, seed=0, **more) -> Panel:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 2, (cases, len(prompts)))
    return panel(codes, np.arange(cases) % 2, prompts=prompts, **more)


def test_always_the_first_option_scores_nothing_and_is_called_so():
    prompts = both_orders(2)  # A asserts the condition in A-B, denies it in B-A
    one = panel(np.tile([POSITIVE, NEGATIVE, POSITIVE, NEGATIVE], (100, 1)), np.arange(100) % 2, prompts=prompts)
    found = named(one)
    assert found["order_effect"].value == 1.0
    assert found["order_effect"].verdict == "prefers the first option"
    assert found["circular_accuracy"].value == 0.0
    assert found["circular_accuracy"].high > 0.0
    assert found["circular_accuracy"].verdict == "below chance"
    assert found["order_consistency"].value == 0.0


def test_guessing_is_at_the_chance_that_is_said():
    found = named(guessing(both_orders(3)))
    assert found["order_effect"].low < 0 < found["order_effect"].high
    assert found["circular_accuracy"].value == pytest.approx(0.25, abs=0.04)
    assert found["circular_accuracy"].verdict == "undetermined"
    assert found["order_consistency"].value == pytest.approx(0.5, abs=0.05)
    polar = named(guessing(both_polarities(3)))
    assert polar["polarity_consistency"].value == pytest.approx(0.5, abs=0.05)
    assert polar["polarity_consistency"].mde > 0


def test_a_model_that_answers_the_question_is_right_in_both_orders():
    label = np.arange(60) % 2
    right = np.where(label == 1, POSITIVE, NEGATIVE)
    found = named(panel(np.repeat(right[:, None], 4, axis=1), label, prompts=both_orders(2)))
    assert found["order_effect"].value == 0.0
    assert found["order_effect"].verdict == "equivalent"
    assert found["circular_accuracy"].value == 1.0
    assert found["circular_accuracy"].verdict == "above chance"


def test_always_yes_contradicts_itself():
    one = panel(np.tile([POSITIVE, NEGATIVE], (80, 1)), np.arange(80) % 2, prompts=both_polarities())
    found = named(one)
    assert found["yes_bias"].value == 1.0
    assert found["yes_bias"].verdict == "leans to yes"
    assert found["polarity_consistency"].value == 0.0
    assert found["polarity_consistency"].verdict == "below chance"


def test_by_brute_force_with_refusals_gaps_and_clusters():
    rng = np.random.default_rng(5)
    prompts = both_orders(2)
    codes = rng.choice([POSITIVE, NEGATIVE, REFUSED, -1], (60, 4), p=[0.4, 0.3, 0.2, 0.1])
    label = rng.integers(0, 2, 60)
    one = panel(codes, label, np.arange(60) // 2, prompts=prompts)
    both = lean = right = answered = same = 0
    for i in range(60):
        for a, b in ((0, 1), (2, 3)):
            x, y = codes[i, a], codes[i, b]
            if x < 0 or y < 0:
                continue
            both += 1
            first = {POSITIVE: 1, NEGATIVE: -1}.get(x, 0)
            second = {NEGATIVE: 1, POSITIVE: -1}.get(y, 0)
            lean += (first + second) / 2
            right += x == y == (POSITIVE if label[i] else NEGATIVE)
            if {x, y} <= {POSITIVE, NEGATIVE}:
                answered += 1
                same += x == y
    found = named(one)
    assert found["order_effect"].value == pytest.approx(lean / both)
    assert found["circular_accuracy"].value == pytest.approx(right / both)
    assert found["order_consistency"].value == pytest.approx(same / answered)


def test_pairs_are_found_by_the_factors_alone():
    one = guessing(core(), 20)
    found = named(one)
    assert "8 pairs" in found["order_effect"].method  # polarity × suffix × paraphrase
    assert "12 pairs" in found["yes_bias"].method  # format × suffix × paraphrase


def test_the_order_of_the_prompts_does_not_matter():
    one = guessing(core(), 40)
    order = np.random.default_rng(1).permutation(24)
    turned = replace(one, prompts=tuple(one.prompts[k] for k in order), outcome=one.outcome[:, order])
    for a, b in zip(named(one).values(), named(turned).values(), strict=True):
        assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high))


def test_without_such_pairs_there_is_a_reason():
    found = named(guessing(both_polarities()))
    for name in ("order_effect", "order_consistency", "circular_accuracy"):
        assert "both orders" in found[name].reason
    assert "negated" in named(guessing(both_orders()))["yes_bias"].reason
    silent = panel(np.full((10, 2), REFUSED), np.arange(10) % 2, prompts=both_orders())
    assert "answered" in named(silent)["order_consistency"].reason
    assert named(silent)["order_effect"].value == 0.0
