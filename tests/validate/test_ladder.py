"""Planted losses are named where they were put, and nothing is named where nothing was lost: n = 250 per class."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from palpate.measures.ladder import Ladder
from palpate.nouns import Estimate
from palpate.parts import MeasureSettings
from planted_ladder import AFTER_PROJECTOR, BLIND, IN_PROJECTOR, NOT_READ_OUT, NOTHING_LOST, REFUSING, SHIFTED, PlantedLadder

pytestmark = pytest.mark.slow
RUNS = int(os.environ.get("PALPATE_RUNS", "200"))
PLANS: dict[str, tuple[PlantedLadder, str]] = {
    "blind encoder": (BLIND, ""),
    "destroyed in the projector": (IN_PROJECTOR, "read>projector"),
    "destroyed after the projector": (AFTER_PROJECTOR, "projector>image"),
    "kept to the last layer, not read out": (NOT_READ_OUT, "last>margin"),
    "shifted threshold": (SHIFTED, "margin>text"),
    "refused by class": (REFUSING, "margin>text"),
    "nothing lost": (NOTHING_LOST, ""),
}


def named(found: list[Estimate]) -> str:
    """The step called a bottleneck, "" where none is."""
    return next((e.by["step"] for e in found if e.measure == "ladder_loss" and e.verdict == "bottleneck"), "")


@pytest.mark.parametrize("plan", PLANS)
def test_planted(plan: str) -> None:
    planted, step = PLANS[plan]
    steps: Counter[str] = Counter()
    sees = 0
    for seed in range(RUNS):
        found = list(Ladder().measure([planted.panel(1000 + seed)], MeasureSettings(seed=0, draws=100)))
        steps[named(found)] += 1
        sees += any(e.measure == "ladder_gain" and e.by["stage"] == "read" and e.verdict == "sees" for e in found)
    print(f"{plan}: bottleneck {dict(steps)}, encoder sees {sees}, of {RUNS}")
    assert steps[step] >= 0.95 * RUNS
    assert sees <= 0.05 * RUNS if plan == "blind encoder" else sees >= 0.95 * RUNS
