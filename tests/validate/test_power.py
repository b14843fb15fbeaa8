"""The power that `palpate plan` foretells, against how often simulated studies show it. Run by ``make validate``."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from palpate.nouns import Lineage
from palpate.stages.pilot import _filled, _of_task
from palpate.stats.power import (
    Alike,
    case_factor,
    detectable,
    power_of_difference,
    power_of_spread,
    spread_noise,
    weight_sums,
    wording_factor,
)
from planted import Planted
from simulated import pair, spreads, tuning_tally

STUDIES = 1000

DESIGNS = {
    "100 single images, 12 prompts": (Planted(100, 1, 12, 0.65, within_case=0.5), 0.05),
    "300 single images, one prompt": (Planted(300, 1, 1, 0.7, within_case=0.5), 0.1),
    "60 patients x 3, 6 prompts": (Planted(60, 3, 6, 0.65, within_case=0.5, within_cluster=0.3), 0.06),
    "60 patients x 5, label by patient": (
        Planted(60, 5, 4, 0.65, within_case=0.5, within_cluster=0.3, label_by_cluster=True),
        0.08,
    ),
}


def from_a_large_pilot(planted: Planted, difference: float) -> Alike:
    """What a pilot of very many patients says of these answers: so that only the formula is on trial, not the pilot's size."""
    large = replace(planted, clusters=20_000 // planted.per_cluster)
    panels = pair(large, difference, 0.0, seed=99)
    return _filled([_of_task(panels, SimpleNamespace(lineages=(Lineage("base", "tuned"),)))])  # type: ignore[arg-type]


def sums(planted: Planted) -> tuple[float, float]:
    found = [weight_sums(*planted.cases(np.random.default_rng(s))) for s in range(50)]
    return tuple(np.mean(found, axis=0))  # type: ignore[return-value]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", DESIGNS)
def test_the_foretold_power_of_a_difference_is_what_studies_have(name: str) -> None:
    planted, difference = DESIGNS[name]
    alike = from_a_large_pilot(planted, difference)
    cases = case_factor(sums(planted), alike.icc_of_difference)
    # The discordance holds the difference itself, which is no noise.
    error = math.sqrt((alike.discordance - difference**2) * wording_factor(alike.agreement_of_difference, planted.prompts) * cases)
    foretold = power_of_difference(difference, error, planted.clusters - 1)
    words = tuning_tally(planted, difference, STUDIES, draws=300).verdicts
    shown = words["better"] / STUDIES
    print(f"{name}, Δ {difference}: foretold {foretold:.3f}, of {STUDIES} studies {shown:.3f}; detectable {detectable(error):.3f}")
    assert shown == pytest.approx(foretold, abs=0.03 + 2 * math.sqrt(foretold * (1 - foretold) / STUDIES))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("sigma", [0.03, 0.05, 0.08])
def test_the_foretold_power_against_a_spread_is_what_studies_have(sigma: float) -> None:
    planted = Planted(100, 1, 12, 0.65, within_case=0.5)
    alike = from_a_large_pilot(planted, 0.0)
    noise = spread_noise(alike.accuracy, alike.agreement, sums(planted))
    foretold = power_of_spread(sigma, noise, planted.prompts)
    found = spreads(sigma, planted, 500, draws=300)
    print(f"100 single images, σ {sigma}: foretold {foretold:.3f}, permutation rejects {found.permutation:.3f}")
    assert found.permutation == pytest.approx(foretold, abs=0.03 + 2 * math.sqrt(foretold * (1 - foretold) / 500))
