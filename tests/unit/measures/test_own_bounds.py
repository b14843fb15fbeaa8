"""A bound that a study raises is the one that is tested: its p agrees with the interval, and Holm corrects it over the tasks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from palpate.measures._tests import by_error, nearest
from palpate.nouns import Estimate
from palpate.parts import MeasureSettings, Thresholds
from palpate.stats.intervals import Interval
from planted_at_bound import AtBound, planted

APART = ("factor", "confidence_auroc = 0.75", *(name for name in planted() if name.startswith("description_gain")))
"""Those of descriptions take several intervals: ``test_description_tasks``."""
CASES = {name: case for name, case in planted().items() if name not in APART}


def words(case: AtBound, bounds: Thresholds, tasks: int = 1) -> list[Estimate]:
    """The verdicts on so many tasks, all with the very same answers."""
    panels = [replace(p, task=f"t{t}") for t in range(tasks) for p in case.make(3)]
    found = case.measure.measure(panels, MeasureSettings(thresholds=bounds))
    return [e for e in found if not {"prompt", "null_image"} & set(e.by) and e.by.get("confidence", "margin") == "margin"]


def verdict(case: AtBound, bounds: Thresholds, tasks: int = 1) -> str | None:
    return next(e.verdict for e in words(case, bounds, tasks) if e.measure == case.estimate)


def low(case: AtBound, name: str) -> float:
    """The low end of the interval that the bound is held against. The folds of a task go by its name: of the first alone."""
    held = name.split(",")[0].split(" ")[0] if name.startswith("label") else case.estimate
    return next(float(e.low) for e in words(case, Thresholds()) if e.measure == held and e.low is not None)


@pytest.mark.parametrize("name", CASES)
def test_the_bound_is_passed_where_the_interval_of_one_task_lies_above_it(name):
    case, key = CASES[name], next(iter(CASES[name].bounds))
    end = low(case, name)
    beyond = case.words[0]
    assert verdict(case, Thresholds(**{key: end - 0.002})) == beyond
    assert verdict(case, Thresholds(**{key: end + 0.002})) != beyond


@pytest.mark.parametrize("name", CASES)
def test_over_two_tasks_alike_an_interval_just_above_the_bound_no_longer_shows_it(name):
    """p is just below .05 for each alone, so Holm leaves neither; well above the bound it leaves both."""
    case, key = CASES[name], next(iter(CASES[name].bounds))
    end = low(case, name)
    assert verdict(case, Thresholds(**{key: end - 0.002}), tasks=2) != case.words[0]
    usual = getattr(Thresholds(), key)
    assert verdict(case, Thresholds(**{key: usual + (end - usual) / 3}), tasks=2) == case.words[0]


def test_a_confidence_that_misleads_is_so_against_chance_whatever_the_bound():
    case = CASES["confidence_auroc = 0.6"]
    one = replace(case.make(3)[0])
    margin = np.sign(one.margin) / (0.1 + np.abs(one.margin))
    turned = replace(case, make=lambda seed: [replace(one, margin=margin)])
    assert verdict(turned, Thresholds()) == "misleading"
    assert verdict(turned, Thresholds(confidence_auroc=0.8)) == "misleading"
    method = next(e.method for e in words(turned, Thresholds(confidence_auroc=0.8)) if e.verdict)
    assert "above 0.8 or below 0.5 (Holm over tasks)" in method


def test_the_p_of_a_range_is_that_of_its_nearest_value_and_1_within_it():
    error, freedom = np.array([0.02]), np.array([60.0])
    interval = Interval(np.array([0.0]), np.array([1.0]), error, freedom)

    def p(value: float, null: float | tuple[float, float]) -> float:
        return by_error(Estimate("m", {}, value, 0.0, 1.0, 0.95, "", 9, 9), interval, null=null).p

    assert p(0.65, (0.5, 0.6)) == p(0.65, 0.6) < 0.02
    assert p(0.45, (0.5, 0.6)) == p(0.45, 0.5) < 0.02
    assert p(0.55, (0.5, 0.6)) == 1.0
    assert p(0.55, (0.5, 0.5)) == p(0.55, 0.5)
    assert nearest(np.array([-0.2, 0.05, 0.3]), (-0.1, 0.1)).tolist() == [-0.1, 0.05, 0.1]
