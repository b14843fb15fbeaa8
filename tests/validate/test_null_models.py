"""Null models: nothing is there, and in at most one study in twenty is something called found. Run by ``make validate``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from figures_found import record
from palpate.nouns import Estimate, Lineage, Panel
from palpate.parts import MeasureSettings
from palpate.registry import parts
from planted import Planted
from wordings import core

STUDIES = 500
LIMIT = 0.05 + 2 * (0.05 * 0.95 / STUDIES) ** 0.5
"""Five per cent, and two standard errors of the simulation."""
AGAIN = 2000
"""Fresh studies for what came out above 5 % of the first ones: of a hundred exact tests half do, by chance alone."""
LIMIT_AGAIN = 0.05 + 3.1 * (0.05 * 0.95 / AGAIN) ** 0.5
"""6.5 %: what an exact test exceeds once in a thousand times, since some dozens are tried again."""

DESIGNS = {
    "100 images": (100, 1),
    "100 images of 50 patients": (50, 2),
    "500 images": (500, 1),
    "500 images of 170 patients": (170, 3),
}
FALSE: dict[str, tuple[str, ...]] = {
    "ba_all": ("above chance", "below chance"),
    "prompt_spread": ("fragile",),
    "refusal_spread": ("fragile",),
    "prompt_effect_p": ("wording matters",),
    "refusal_effect_p": ("wording matters",),
    "refusal_difference": ("selective",),
    "flip_rate_beyond_rerun": ("beyond reruns", "fewer than reruns"),
    "order_effect": ("prefers the first option", "prefers the second option"),
    "yes_bias": ("leans to yes", "leans to no"),
    "factor_effect": ("raises", "lowers"),
    "factor_effect_refusals": ("raises", "lowers"),
    "difficulty_slope": ("rises", "falls"),
    "delta_difficulty_slope": ("rises", "falls"),
    "ba_lead": ("ahead", "behind"),
    "delta_ba_all": ("better", "worse"),
    "delta_ba_all_over_wordings": ("better", "worse"),
    "delta_ba_answered": ("better", "worse"),
    "delta_accuracy_all": ("better", "worse"),
    "delta_coverage": ("higher", "lower"),
    "delta_refusal_rate": ("higher", "lower"),
    "delta_refusal_difference": ("higher", "lower"),
    "delta_prompt_spread": ("higher", "lower"),
    "delta_refusal_spread": ("higher", "lower"),
    "delta_flip_rate": ("higher", "lower"),
}
NAMES = ("accuracy", "wording", "flips", "consistency", "factors", "refusals", "bounds", "tuning", "changes", "difficulty")


def null_study(clusters: int, per_cluster: int, seed: int) -> list[Panel]:
    """Base and tuned model guess alike in twelve wordings, refuse alike in one case of ten, and a fact says nothing."""
    prompts = tuple(p for p in core() if p.factors["suffix"] == "none")
    plan = Planted(
        clusters, per_cluster, 12, 0.5, within_case=0.5, within_cluster=0.2, refusal=(0.1, 0.1), uneven=per_cluster > 1, repeats=2
    )
    found = []
    for at, model in enumerate(("base", "tuned")):
        one = plan.panel(2 * seed + at, model, cases_seed=seed)
        fact = np.random.default_rng([seed, 4]).normal(size=one.label.size)
        found.append(replace(one, prompts=prompts, facts={"size": tuple(map(float, fact))}))
    return found


def called(design: str, names: Iterable[str], studies: range, draws: int = 250) -> Counter[str]:
    """In how many studies each estimate of these measures is given a false word."""
    wrong: Counter[str] = Counter()
    measures = [parts("measures")[name] for name in names]
    for s in studies:
        panels = null_study(*DESIGNS[design], s)
        settings = MeasureSettings((Lineage("base", "tuned", "parent"),), seed=s, draws=draws)
        found = [e for m in measures for e in m.measure(panels, settings) if not {"prompt", "class"} & set(e.by)]
        false = [e for e in found if e.verdict in FALSE.get(e.measure, ()) and e.by.get("model", "base") == "base"]
        wrong.update({_name(e) for e in false})
    return wrong


@pytest.mark.slow
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("design", DESIGNS)
def test_where_nothing_is_planted_nothing_is_found(design):
    wrong = called(design, NAMES, range(STUDIES))
    for name in (*FALSE, "flip_rate_beyond_rerun, by factor"):
        record("No effect: share of studies in which something is called", name, **{design: wrong[name] / STUDIES})
    high = {name for name, count in wrong.items() if count / STUDIES > 0.05}
    measures = [name for name in NAMES if high & {*parts("measures")[name].estimates, _by_factor(name)}]
    again = called(design, measures, range(10_000, 10_000 + AGAIN))
    for name in sorted(high):
        shares = {"first": wrong[name] / STUDIES, "again": again[name] / AGAIN}
        record(f"No effect: what was above 5 %, in {AGAIN} fresh studies", f"{name}, {design}", **shares)
    assert {name: again[name] / AGAIN for name in high if again[name] / AGAIN > LIMIT_AGAIN} == {}


def _by_factor(name: str) -> str:
    return "flip_rate_beyond_rerun, by factor" if name == "flips" else ""


def _name(e: Estimate) -> str:
    return f"{e.measure}, by factor" if e.measure == "flip_rate_beyond_rerun" and "factor" in e.by else e.measure


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_toy_null_of_one_hundred_images_in_ten_wordings():
    """No tuning effect, correlation of a case's answers .2: a t-test over the thousand rows as if independent, against ours."""
    from scipy.stats import ttest_1samp

    plan = Planted(100, 1, 10, 0.5, within_case=float(np.sin(np.pi / 2 * 0.2)))
    studies, rows, ours = 2000, 0, 0
    tuning = parts("measures")["tuning"]
    for s in range(studies):
        pair = [plan.panel(2 * s + at, model, cases_seed=s) for at, model in enumerate(("base", "tuned"))]
        says = np.where(pair[0].label == 1, 0, 1)[:, None]
        right = [(p.outcome[:, :, 0] == says).astype(float) for p in pair]
        rows += ttest_1samp((right[1] - right[0]).ravel(), 0).pvalue < 0.05
        settings = MeasureSettings((Lineage("base", "tuned"),), seed=s, draws=300)
        delta = next(e for e in tuning.measure(pair, settings) if e.measure == "delta_ba_all")
        ours += delta.verdict in ("better", "worse")
    record(
        "No tuning effect, 100 images × 10 wordings",
        "called better or worse",
        unclustered_paired_t_test=rows / studies,
        ours=ours / studies,
    )
    assert rows / studies > 0.2
    assert ours / studies <= 0.055


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("n", [100, 500])
def test_a_model_at_chance_is_not_called_otherwise_in_any_of_four_tasks(n):
    """Holm over the tasks of a model: a false word on any of the four, in at most one study in twenty."""
    accuracy, wrong = parts("measures")["accuracy"], 0
    for s in range(STUDIES):
        plan = Planted(n, 1, 6, 0.5, within_case=0.5)
        panels = [plan.panel(4 * s + t, task=f"t{t}") for t in range(4)]
        found = accuracy.measure(panels, MeasureSettings(seed=s, draws=200))
        wrong += any(e.measure == "ba_all" and "prompt" not in e.by and e.verdict in FALSE["ba_all"] for e in found)
    record("At chance on four tasks: share of studies with any called above or below", f"{n} images a task", share=wrong / STUDIES)
    assert wrong / STUDIES <= LIMIT
