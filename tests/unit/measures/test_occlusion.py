"""Occlusion: a planted model that looks at the lesion, and one that does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from palpate.measures.occlusion import Occlusion
from palpate.nouns import Panel, Perturbation
from palpate.parts import Measure, MeasureSettings
from planted import panel


def covered(lesion: float, elsewhere: float, seed: int = 0, n: int = 200) -> list[Panel]:
    """Right nine times in ten before; after, an answer "present" is lost with the given probabilities."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 2
    right = rng.random((n, 3)) < 0.9
    codes = np.where(right == (label == 1)[:, None], 0, 1)
    one = panel(codes, label)
    found = [one]
    for name, loss in (("occlude_lesion", lesion), ("occlude_matched", elsewhere)):
        lost = (rng.random(codes.shape) < loss) & (codes == 0)
        found.append(replace(one, perturbation=Perturbation(name), outcome=np.where(lost, 1, codes)[:, :, None].astype(np.int8)))
    return found


def of(panels: list[Panel]) -> dict:
    return {e.measure: e for e in Occlusion().measure(panels, MeasureSettings())}


def test_it_is_a_measure_and_gives_what_it_announces():
    assert isinstance(Occlusion(), Measure)
    assert set(of(covered(0.5, 0.1))) == set(Occlusion.estimates)


def test_the_numbers_are_those_of_the_definition():
    panels = covered(0.5, 0.1)
    before = (panels[0].outcome[:, :, 0] == 0) & (panels[0].label == 1)[:, None]
    lost = [[(p.outcome[:, k, 0] != 0)[before[:, k]].mean() for k in range(3)] for p in panels[1:]]
    found = of(panels)
    assert found["occlusion_change_lesion"].value == pytest.approx(np.mean(lost[0]))
    assert found["occlusion_change_matched"].value == pytest.approx(np.mean(lost[1]))
    assert found["occlusion_grounding"].value == pytest.approx(np.mean(lost[0]) - np.mean(lost[1]))
    assert found["occlusion_grounding"].n_cases == before.any(axis=1).sum()


def test_the_verdicts():
    assert of(covered(0.6, 0.1))["occlusion_grounding"].verdict == "looks at the lesion"
    assert of(covered(0.2, 0.2))["occlusion_grounding"].verdict == "not shown to look at the lesion"
    assert of(covered(0.1, 0.6))["occlusion_grounding"].verdict == "looks elsewhere"


def test_every_severity_has_its_own():
    panels = covered(0.6, 0.1)
    again = [replace(p, perturbation=Perturbation(p.perturbation.name, 2)) for p in panels[1:]]
    found = list(Occlusion().measure([*panels, *again], MeasureSettings()))
    assert {e.by.get("severity") for e in found} == {None, "2"}


def test_only_one_of_the_two_gives_nothing_and_none_right_a_reason():
    panels = covered(0.5, 0.1)
    assert of(panels[:2]) == {}
    wrong = [replace(p, outcome=np.where(p.label == 1, 1, 0)[:, None, None].repeat(3, axis=1).astype(np.int8)) for p in panels]
    for e in of(wrong).values():
        assert e.value is None
        assert "right before" in e.reason
