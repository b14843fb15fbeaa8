"""Planted losses are named where they were put, and nothing is named where nothing was lost: n = 250 per class.

The word is the report's own (``report/bottleneck.py``), from the estimates a run would make. A model that ignores the image and one
that follows the text have no stages: theirs are the verdicts of question 5, each beside a model that does neither.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from figures_found import record
from palpate.measures.accuracy import Accuracy
from palpate.measures.image import Image
from palpate.measures.ladder import Ladder
from palpate.measures.suggestion import Suggestion
from palpate.nouns import Panel
from palpate.parts import Measure, MeasureSettings
from palpate.report.bottleneck import bottleneck
from planted_ladder import AFTER_PROJECTOR, BLIND, IN_PROJECTOR, NOT_READ_OUT, NOTHING_LOST, REFUSING, SHIFTED, PlantedLadder
from planted_margins import Blind, Seen, null, with_texts

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
RUNS = int(os.environ.get("PALPATE_RUNS", "200"))
SECTION = "Where it is lost, 250 cases per class: share of runs"
PLANS: dict[str, tuple[PlantedLadder, tuple[str, str]]] = {
    "blind encoder": (BLIND, ("unseen", "")),
    "blind encoder, half of its answers left open": (replace(BLIND, refuses=(0.5, 0.5)), ("unseen", "")),
    "destroyed in the projector": (IN_PROJECTOR, ("projector", "read>projector")),
    "destroyed after the projector": (AFTER_PROJECTOR, ("language", "projector>image")),
    "kept to the last layer, not read out": (NOT_READ_OUT, ("readout", "last>margin")),
    "shifted threshold": (SHIFTED, ("threshold", "margin>text")),
    "refused by class": (REFUSING, ("refusals", "margin>text")),
    "nothing lost": (NOTHING_LOST, ("none", "")),
}


@pytest.mark.parametrize("plan", PLANS)
def test_planted(plan: str) -> None:
    planted, right = PLANS[plan]
    said: Counter[tuple[str, str]] = Counter()
    for seed in range(RUNS):
        panel = planted.panel(1000 + seed)
        settings = MeasureSettings(seed=0, draws=100)
        found = [e for measure in (Ladder(), Accuracy()) for e in measure.measure([panel], settings)]
        lost = bottleneck(found, panel.model, panel.task, "target", panel.prompts[0].name)
        assert lost is not None
        said[lost.kind, lost.loss.by["step"] if lost.loss is not None else ""] += 1
    print(plan, dict(said))
    elsewhere = sum(n for (_, step), n in said.items() if step not in ("", right[1]))
    record(SECTION, plan, diagnosed_right=said[right] / RUNS, bottleneck_named_wrongly=elsewhere / RUNS)
    assert said[right] >= 0.95 * RUNS
    assert elsewhere <= 0.05 * RUNS


def never_looks(seed: int) -> list[Panel]:
    return Blind(250, 2).panels(seed)


def looks(seed: int) -> list[Panel]:
    one = Seen(250, 2, 4, 2.0).panel(seed)
    return [one, null(one, seed)]


def text_counts(pull: float) -> Callable[[int], list[Panel]]:
    return lambda seed: [with_texts(Seen(250, 2, 2, 1.5).panel(seed), pull)]


@pytest.mark.parametrize(
    ("plan", "measure", "make", "right", "wrong"),
    [
        ("ignores the image", Image(), never_looks, ("image_dependence", "ignores the image"), "uses the image"),
        ("sees the image", Image(), looks, ("image_dependence", "uses the image"), "ignores the image"),
        ("follows the text", Suggestion(), text_counts(3.0), ("text_share", "follows the text"), "follows the image"),
        ("follows the image", Suggestion(), text_counts(0.0), ("text_share", "follows the image"), "follows the text"),
    ],
)
def test_planted_reliance(
    plan: str, measure: Measure, make: Callable[[int], list[Panel]], right: tuple[str, str], wrong: str
) -> None:
    said: Counter[str | None] = Counter()
    for seed in range(RUNS):
        found = measure.measure(make(seed), MeasureSettings(seed=seed, draws=100))
        said[next(e.verdict for e in found if e.measure == right[0] and not {"prompt", "null_image"} & set(e.by))] += 1
    print(plan, dict(said))
    record(
        "Whether it looks, 250 cases per class: share of runs",
        plan,
        diagnosed_right=said[right[1]] / RUNS,
        opposite=said[wrong] / RUNS,
    )
    assert said[right[1]] >= 0.95 * RUNS
    assert said[wrong] <= 0.05 * RUNS


@pytest.mark.parametrize("per_class", [60, 250])
@pytest.mark.parametrize(("noise", "told"), [(0.3, "noise"), (1.0, "noise as strong as the evidence")])
def test_what_a_wide_stage_costs_where_nothing_is_lost(noise: float, told: str, per_class: int) -> None:
    """Of 2,048 directions one knows the condition. Where thousands are as strong as it, no linear reader could find it."""
    planted = PlantedLadder(per_class, widths={"projector": 2048}, noise=noise)
    runs, loss, wrong, wide = max(RUNS // 4, 1), 0.0, 0, 0
    for seed in range(runs):
        found = list(Ladder().measure([planted.panel(1000 + seed)], MeasureSettings(seed=0, draws=100)))
        of = {e.by["step"]: e for e in found if e.measure == "ladder_loss"}
        loss += (of["read>projector"].value or 0.0) / runs
        wrong += any(e.verdict == "bottleneck" for e in of.values())
        wide += any(e.measure == "ladder_width" and e.by["stage"] == "projector" and e.verdict == "wide" for e in found)
    row = f"{per_class} per class, 12 > 2048 features of {told}"
    record("What a wide stage costs, nothing lost", row, loss=loss, bottleneck_named=wrong / runs, called_wide=wide / runs)
    if noise < 1:
        assert loss <= 0.04
        assert wrong <= 0.1 * runs
    else:
        assert wide >= 0.95 * runs
