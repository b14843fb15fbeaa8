"""Where a study raises a bound and the truth lies at it, at most one study in twenty calls any of four tasks beyond it."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace

import pytest
from scipy.stats import norm

from figures_found import record
from palpate.measures.knowledge import Knowledge
from palpate.parts import MeasureSettings, Thresholds
from planted_at_bound import AtBound, planted
from planted_margins import Seen

STUDIES = int(os.environ.get("PALPATE_STUDIES", "600"))
TASKS = 4
LIMIT = 0.05 + 2 * (0.05 * 0.95 / STUDIES) ** 0.5
"""Five per cent, and two standard errors of the simulation."""
SECTION = "A bound raised by the study, the truth at it: share of studies that call any of four tasks beyond it"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def called(case: AtBound, seed: int, bounds: Thresholds) -> int:
    """How many of four tasks are called beyond the bound."""
    panels = [replace(p, task=f"t{t}") for t in range(TASKS) for p in case.make(TASKS * seed + t)]
    found = [
        e
        for e in case.measure.measure(panels, MeasureSettings(seed=seed, draws=200, thresholds=bounds))
        if e.measure == case.estimate
        and not {"prompt", "null_image", "reader", "input"} & set(e.by)
        and e.by.get("confidence", "margin") == "margin"
        and all(e.by.get(k) == v for k, v in (case.by or {}).items())
    ]
    assert len(found) == TASKS
    return sum(e.verdict in case.words for e in found)


@pytest.mark.parametrize("name", planted())
def test_at_its_own_bound_hardly_anything_is_called_beyond_it(name):
    case = planted()[name]
    bounds = Thresholds(**case.bounds)
    wrong = sum(called(case, s, bounds) > 0 for s in range(STUDIES))
    record(SECTION, name, bound=next(iter(case.bounds.values())), share=wrong / STUDIES)
    assert wrong / STUDIES <= LIMIT


@pytest.mark.parametrize(
    "name", ["confidence_auroc = 0.6", "latent, of the criterion", "image_dependence, asked once", "description_gain"]
)
def test_what_is_surely_beyond_a_raised_bound_is_still_called(name):
    """The same models against a bound much lower than what they do."""
    case = planted()[name]
    key, truth = next(iter(case.bounds.items()))
    usual = getattr(Thresholds(), key)
    bounds = Thresholds(**{key: usual + (truth - usual) / 5})
    shown = [called(case, s, bounds) for s in range(50)]
    record("A bound raised to a fifth of what is there: share of tasks called beyond it", name, share=sum(shown) / (50 * TASKS))
    assert sum(shown) / (50 * TASKS) >= (0.2 if name.startswith("confidence") else 0.6)


@pytest.mark.parametrize(("ba", "most"), [(0.741, 0.0), (0.6446, LIMIT), (0.55, 1.0)])
def test_a_knowledge_problem_is_one_of_what_could_be_known(ba, most):
    """Best possible .741, bound .645: a model there, or as good as can be, is hardly ever blamed; one at .55 is."""
    plan = Seen(200, 2, 6, float(2 * norm.ppf(ba)))
    found = Counter(
        e.verdict
        for s in range(STUDIES)
        for e in Knowledge().measure([replace(plan.panel(s), best_accuracy=0.741)], MeasureSettings(seed=s))
        if e.measure == "criterion_loss"
    )
    share = found["knowledge problem"] / STUDIES
    record("Best possible 0.741: what a model is said to lack", f"balanced accuracy {ba:.3g}", knowledge_problem=share)
    assert share <= most
    assert ba > 0.6 or share >= 0.8
