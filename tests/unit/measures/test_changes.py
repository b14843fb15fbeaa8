"""Changes: tuned − base of fragility and refusing, against each model's own, and planted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from palpate.measures.changes import Changes
from palpate.measures.flips import Flips
from palpate.measures.refusals import Refusals
from palpate.measures.wording import Wording
from palpate.nouns import Estimate, Lineage, Panel
from palpate.parts import MeasureSettings
from planted import Planted

SETTINGS = MeasureSettings(lineages=(Lineage("base", "tuned", "parent"),), draws=400)


def pair(base: Planted, tuned: Planted, seed: int = 0) -> tuple[Panel, Panel]:
    return base.panel(seed, "base", cases_seed=9), tuned.panel(seed + 1, "tuned", cases_seed=9)


def named(*panels: Panel) -> dict[str, Estimate]:
    return {e.measure: e for e in Changes().measure(panels, SETTINGS)}


def test_each_is_the_difference_of_what_the_other_measures_give():
    two = pair(Planted(60, 2, 6, 0.7, shift=(0.1, -0.1) * 3), Planted(60, 2, 6, 0.8, refusal=(0.1, 0.3)))
    own = {}
    for measure in (Wording(), Flips(), Refusals()):
        for e in measure.measure(two, SETTINGS):
            if not {"prompt", "class", "factor"} & set(e.by):
                own[e.measure, e.by["model"]] = e.value
    found = named(*two)
    for delta, name in (
        ("delta_prompt_spread", "prompt_spread"),
        ("delta_flip_rate", "flip_rate"),
        ("delta_refusal_spread", "refusal_spread"),
        ("delta_refusal_difference", "refusal_difference"),
    ):
        assert found[delta].value == pytest.approx(own[name, "tuned"] - own[name, "base"]), delta
        assert found[delta].by["relation"] == "parent"
        assert found[delta].low <= found[delta].value <= found[delta].high
        assert found[delta].mde > 0


def test_a_model_that_became_fragile_is_told_and_the_same_model_is_not():
    shift = tuple(np.linspace(-0.25, 0.25, 10))
    found = named(*pair(Planted(300, 1, 10, 0.7, within_case=0.8), Planted(300, 1, 10, 0.7, within_case=0.8, shift=shift)))
    assert found["delta_prompt_spread"].value == pytest.approx(np.std(shift, ddof=1), abs=0.02)
    assert found["delta_prompt_spread"].verdict == "higher"
    assert found["delta_flip_rate"].verdict == "higher"
    base = Planted(300, 1, 10, 0.7).panel(1, "base")
    same = named(base, replace(base, model="tuned"))
    assert all(e.value == 0.0 and e.verdict == "equivalent" for e in same.values())
    assert all(e.low < 0 < e.high for e in same.values())


def test_selective_refusing_that_tuning_brought_is_found():
    found = named(*pair(Planted(150, 2, 4, refusal=(0.1, 0.1)), Planted(150, 2, 4, refusal=(0.05, 0.4))))
    assert found["delta_refusal_difference"].value == pytest.approx(0.35, abs=0.06)
    assert found["delta_refusal_difference"].verdict == "higher"


def test_what_cannot_be_compared_has_a_reason():
    base, tuned = pair(Planted(20, 2, 1), Planted(20, 2, 1))
    assert "one prompt" in named(base, tuned)["delta_prompt_spread"].reason
    other = Planted(20, 2, 3).panel(3, "tuned")
    assert all("not asked the same" in e.reason for e in named(base, other).values())
    assert named(base) == {}
