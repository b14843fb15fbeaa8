"""Quadrants: each planted case falls where it must, and the shares add up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from palpate.measures.quadrants import QUADRANTS, Quadrants
from palpate.nouns import Panel
from palpate.parts import Measure, MeasureSettings
from planted import panel
from planted_margins import null


def shares(panels: list[Panel]) -> dict:
    return {e.by["quadrant"]: e for e in Quadrants().measure(panels, MeasureSettings())}


def planted() -> list[Panel]:
    """Ten wordings; the null image is answered "absent" (1) throughout. Ten cases of each kind, and one of them left unread."""
    rows = [[0] * 10, [0] * 7 + [1] * 3, [1] * 10, [1] * 7 + [0] * 3]
    codes = np.repeat(np.array(rows), 10, axis=0)
    one = panel(codes, np.arange(40) % 2)
    one.outcome[0] = -1
    return [one, null(one, prior=0.0)]


def test_it_is_a_measure_and_gives_what_it_announces():
    assert isinstance(Quadrants(), Measure)
    assert {e.measure for e in Quadrants().measure(planted(), MeasureSettings())} == set(Quadrants.estimates)


def test_each_case_falls_into_its_quadrant():
    found = shares(planted())
    assert list(found) == list(QUADRANTS)
    assert [found[q].value for q in QUADRANTS] == pytest.approx([9 / 39, 10 / 39, 10 / 39, 10 / 39])
    assert sum(e.value for e in found.values()) == pytest.approx(1)
    assert all(e.low < e.value < e.high and e.n_cases == 39 for e in found.values())


def test_what_counts_as_consistent_can_be_set():
    from palpate.parts import Thresholds

    lax = replace(MeasureSettings(), thresholds=replace(Thresholds(), consistent=0.6))
    found = {e.by["quadrant"]: e.value for e in Quadrants().measure(planted(), lax)}
    assert found["fragile"] == found["worst"] == 0


def test_a_model_that_never_looks_is_dangerous_though_it_never_flips():
    one = panel(np.ones((50, 6)), np.arange(50) % 2)
    found = shares([one, null(one, prior=0.0)])
    assert found["dangerous"].value == 1.0
    assert found["dangerous"].low < 1.0


def test_without_a_null_image_there_is_a_reason():
    for e in shares(planted()[:1]).values():
        assert e.value is None
        assert "no null image" in e.reason


def test_one_reading_agrees_with_itself_and_says_nothing_of_consistency():
    alone = [
        replace(p, prompts=p.prompts[:1], outcome=p.outcome[:, :1], margin=p.margin[:, :1], mass=p.mass[:, :1]) for p in planted()
    ]
    for e in shares(alone).values():
        assert e.value is None
        assert "one wording" in e.reason
    few = planted()
    few[0].outcome[1:5, 1:] = -1  # read under one wording alone: not among the consistent
    found = shares(few)
    assert found["ideal"].n_cases == 35
    assert found["ideal"].value == pytest.approx(5 / 35)
    assert sum(e.value for e in found.values()) == pytest.approx(1)
