"""Bounds: what the open answers could hide, and which models they leave ranked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from palpate.measures.accuracy import Accuracy
from palpate.measures.bounds import Bounds
from palpate.nouns import Estimate, Panel
from palpate.parts import MeasureSettings
from planted import POSITIVE, REFUSED, Planted, panel

SETTINGS = MeasureSettings(draws=300)


def named(*panels: Panel) -> dict[str, Estimate]:
    return {e.measure: e for e in Bounds().measure(panels, SETTINGS)}


def test_the_published_example_eighty_right_and_ten_refused_of_each_class():
    """METHODS A5: 80 answered, all right, 10 refused per class: .80 or 1.0 by what the refused would have been."""
    label = np.repeat([1, 0], 50)
    codes = np.where(label == 1, 0, 1)
    codes[:10] = codes[50:60] = REFUSED
    found = named(panel(codes[:, None], label))
    assert found["ba_if_right"].value == 1.0
    assert found["ba_bounds"].value == pytest.approx(0.9)
    assert found["ba_bounds"].low < 0.8 < 1.0 == found["ba_bounds"].high


def test_the_ends_are_those_of_the_worst_and_the_best_case():
    one = Planted(60, 3, 5, 0.7, refusal=(0.1, 0.4)).panel(2)
    worst = {e.measure: e for e in Accuracy().measure([one], SETTINGS) if "prompt" not in e.by}["ba_all"]
    best = replace(one, outcome=np.where(one.outcome == REFUSED, np.where(one.label == 1, 0, 1)[:, None, None], one.outcome))
    as_right = {e.measure: e for e in Accuracy().measure([best], SETTINGS) if "prompt" not in e.by}["ba_all"]
    found = named(one)
    assert found["ba_if_right"].value == pytest.approx(as_right.value)
    assert (found["ba_bounds"].low, found["ba_bounds"].high) == pytest.approx((worst.low, as_right.high))
    assert found["ba_bounds"].value == pytest.approx((worst.value + as_right.value) / 2)


def test_without_open_answers_the_bounds_are_the_interval():
    one = Planted(50, 2, 4, 0.8).panel()
    found = named(one)
    worst = {e.measure: e for e in Accuracy().measure([one], SETTINGS) if "prompt" not in e.by}["ba_all"]
    assert (found["ba_bounds"].low, found["ba_bounds"].value, found["ba_bounds"].high) == pytest.approx(
        (worst.low, worst.value, worst.high)
    )


def test_models_are_ranked_only_where_the_open_answers_cannot_turn_it():
    good, bad = (
        Planted(150, 1, 4, a).panel(7 + i, model=m, cases_seed=1) for i, (m, a) in enumerate((("good", 0.9), ("bad", 0.6)))
    )
    lead = named(good, bad)["ba_lead"]
    assert lead.by["model"] == "bad"
    assert lead.by["over"] == "good"
    assert lead.verdict == "behind"
    shy = replace(good, outcome=np.where(np.random.default_rng(0).random(good.outcome.shape) < 0.5, REFUSED, good.outcome))
    lead = named(shy, bad)["ba_lead"]
    assert lead.verdict == "not ranked"
    assert lead.low < 0 < lead.high
    assert lead.mde > 0


def test_every_two_models_of_a_task_are_compared_once():
    three = [Planted(30, 2, 3).panel(i, model=m, cases_seed=1) for i, m in enumerate("cab")]
    pairs = {(e.by["model"], e.by["over"]) for e in Bounds().measure(three, SETTINGS) if e.measure == "ba_lead"}
    assert pairs == {("a", "b"), ("a", "c"), ("b", "c")}


def test_a_lone_model_and_a_single_class_have_reasons():
    found = named(Planted(30).panel())
    assert "no other model" in found["ba_lead"].reason
    assert "one class" in named(panel(np.full((8, 2), POSITIVE), np.ones(8)))["ba_bounds"].reason


def test_a_lead_that_would_be_shown_is_larger_by_half_of_what_the_open_answers_leave_unknown():
    plan = Planted(150, 1, 4, 0.8)
    first, second = (plan.panel(7 + i, model=m, cases_seed=1) for i, m in enumerate("ab"))
    closed = named(first, second)["ba_lead"]
    assert closed.mde == pytest.approx((closed.high - closed.low) / 2 * (1.96 + 0.84) / 1.96, rel=0.03)
    open_ = np.random.default_rng(0).random(first.outcome.shape) < 0.2
    shy = replace(first, outcome=np.where(open_, REFUSED, first.outcome))
    some = named(shy, second)["ba_lead"]
    unknown = open_.mean() / 2
    assert some.mde == pytest.approx(closed.mde + unknown, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("refusing", [0.0, 0.15])
def test_such_a_lead_is_shown_in_four_of_five_studies(refusing):
    """Accuracies are of the answered: open answers count half, so a lead is d · (1 − the share left open)."""
    plan = Planted(150, 1, 4, 0.8, refusal=(refusing, refusing))
    pair = [plan.panel(900 + i, model=m, cases_seed=1) for i, m in enumerate("ab")]
    wanted = named(*pair)["ba_lead"].mde
    better = replace(plan, accuracy=0.8 - wanted / (1 - refusing))
    shown = 0
    for s in range(200):
        first = plan.panel(2 * s, model="a", cases_seed=s)
        found = named(first, better.panel(2 * s + 1, model="b", cases_seed=s))["ba_lead"]
        shown += found.verdict == "ahead"
    print(f"refusing {refusing}: lead {wanted:.3f} shown in {shown / 200:.2f}")
    assert 0.7 <= shown / 200 <= 0.9
