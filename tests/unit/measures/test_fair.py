"""Fair comparison: AUROC, and each model with the prompt that suits it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from palpate.measures.fair import Fair
from palpate.nouns import Lineage, Panel
from palpate.parts import Measure, MeasureSettings
from palpate.stats.folds import grouped_folds
from palpate.stats.resampling import generator
from planted import Planted
from planted_margins import Seen

SETTINGS = MeasureSettings(lineages=(Lineage("base", "tuned", "parent"),))


def two(base: Seen, tuned: Seen, seed: int = 0, task: str = "t") -> list[Panel]:
    """Both on the same cases."""
    rng = np.random.default_rng([seed, 1])
    label, cluster = base.cases(rng)
    return [
        plan.of(plan.evidence(label, cluster, np.random.default_rng([seed, k])), label, cluster, model=name, task=task)
        for k, (name, plan) in enumerate((("base", base), ("tuned", tuned)), start=2)
    ]


def of(panels: list[Panel]) -> dict:
    return {e.measure: e for e in Fair().measure(panels, SETTINGS)}


def test_it_is_a_measure_and_gives_what_it_announces():
    assert isinstance(Fair(), Measure)
    assert set(of(two(Seen(), Seen()))) == set(Fair.estimates)


def test_the_difference_of_areas_is_scikit_learns_on_what_both_have():
    panels = two(Seen(100, 2, 4, 1.0), Seen(100, 2, 4, 2.0))
    panels[0].margin[:20, 0] = np.nan
    panels[1].margin[:, 2] = np.nan  # the tuned model gives none under prompt 2: neither is used there
    kept = np.arange(200) >= 20
    areas = [roc_auc_score(p.label[kept], p.margin[kept][:, [0, 1, 3]].mean(axis=(1, 2))) for p in panels]
    found = of(panels)["delta_auroc"]
    assert found.value == pytest.approx(areas[1] - areas[0])
    assert found.verdict == "better"
    assert found.by["base"], found.by["tuned"] == ("base", "tuned")
    assert found.n_cases == 180


def test_a_shifted_threshold_is_no_difference_in_what_is_told_apart():
    found = of(two(Seen(300, 2, 4, 1.5, criterion=(1.2,) * 4), Seen(300, 2, 4, 1.5)))
    assert found["delta_auroc"].verdict in ("equivalent", "undetermined")
    assert found["delta_ba_best_prompts"].verdict == "better"


def test_each_model_is_scored_with_its_own_prompt_chosen_on_other_cases():
    """Base is good under prompt 0 only, tuned under prompt 3 only: under common prompts alike, under their own too."""
    base = Seen(200, 2, 4, signal=(2.5, 0.1, 0.1, 0.1))
    tuned = Seen(200, 2, 4, signal=(0.1, 0.1, 0.1, 2.5))
    found = of(two(base, tuned))["delta_ba_best_prompts"]
    assert abs(found.value) < 0.07
    assert "target0 and target3" in found.method
    assert found.n_cases == pytest.approx(400 * 2 / 3, abs=4), "the third that chose is not scored"
    assert found.n_left_out == 400 - found.n_cases
    better = of(two(base, replace(tuned, signal=(0.1, 0.1, 0.1, 4.0))))["delta_ba_best_prompts"]
    assert better.verdict == "better"
    # Φ(2) − Φ(1.25)
    assert better.value == pytest.approx(0.977 - 0.894, abs=0.05)


def test_the_cases_that_choose_the_prompts_are_not_scored():
    """What is scored is, by hand, the plain difference of both chosen columns on the cases that did not choose, patients whole."""
    panels = two(Seen(60, 3, 5, 0.4), Seen(60, 3, 5, 0.4), seed=5)
    found = of(panels)["delta_ba_best_prompts"]
    first = panels[0]
    rng = generator(SETTINGS.seed, first.task, "best prompts")
    choosing = grouped_folds(first.label, first.cluster, 3, rng) == 0
    assert not set(first.cluster[choosing]) & set(first.cluster[~choosing])

    def score(one: Panel, prompt: int, rows: np.ndarray) -> float:
        right = one.outcome[:, prompt, 0] == np.where(one.label == 1, 0, 1)
        return float(np.mean([right[rows & (one.label == y)].mean() for y in (0, 1)]))

    best = [max(range(5), key=lambda p, one=one: score(one, p, choosing)) for one in panels]
    base, tuned = (score(one, p, ~choosing) for one, p in zip(panels, best, strict=True))
    assert found.value == pytest.approx(tuned - base)
    assert found.mde is not None
    assert found.mde > found.high - found.value


def test_models_that_were_not_asked_the_same_are_not_compared():
    for found in of(two(Seen(40, 1, 12, 0.5), Seen(40, 1, 1, 0.5, within_case=0.5))).values():
        assert found.value is None
        assert "not asked the same" in found.reason


def test_choosing_on_other_cases_gains_nothing_where_all_prompts_are_alike():
    gains = [of(two(Seen(40, 1, 12, 0.5), Seen(40, 1, 12, 0.5), seed=s))["delta_ba_best_prompts"].value for s in range(30)]
    assert abs(np.mean(gains)) < 0.05


def test_holm_holds_over_the_tasks_of_a_pair():
    gain = two(Seen(60, 2, 4, 1.0), Seen(60, 2, 4, 1.6), seed=3)
    alone = of(gain)["delta_auroc"]
    nulls = [p for k in range(30) for p in two(Seen(30, 1, 2, 1.0), Seen(30, 1, 2, 1.0), seed=k, task=f"n{k}")]
    among = next(e for e in Fair().measure([*gain, *nulls], SETTINGS) if e.by["task"] == "t" and e.measure == "delta_auroc")
    assert (alone.value, alone.low) == (among.value, among.low)


def test_without_margins_only_the_answers_are_compared():
    panels = [replace(p, margin=np.full(p.margin.shape, np.nan)) for p in two(Seen(), Seen())]
    found = of(panels)
    assert "no probabilities" in found["delta_auroc"].reason
    assert found["delta_ba_best_prompts"].value is not None
    one_class = [replace(p, label=np.ones(180, np.int8)) for p in panels]
    assert of(one_class)["delta_ba_best_prompts"].value is None
    assert list(Fair().measure([Planted(10).panel()], SETTINGS)) == []
