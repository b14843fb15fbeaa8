"""Flips: counted by brute force, by factor, and beyond what asking again flips."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from palpate.measures.flips import Flips
from palpate.nouns import Estimate, Panel, Prompt
from palpate.parts import MeasureSettings
from planted import NEGATIVE, POSITIVE, Planted, panel
from simulated import of_cell
from wordings import core, reference

SETTINGS = MeasureSettings(draws=200)


def estimates(*panels: Panel, settings: MeasureSettings = SETTINGS) -> list[Estimate]:
    return list(Flips().measure(panels, settings))


def only(found: list[Estimate], name: str, factor: str | None = None) -> Estimate:
    return next(e for e in found if e.measure == name and e.by.get("factor") == factor)


def kinds(one: Panel) -> np.ndarray:
    return np.where(np.isin(one.outcome, (POSITIVE, NEGATIVE)), one.outcome, 9)


def test_the_flip_rate_is_the_share_of_prompt_pairs_that_differ():
    one = Planted(30, 2, 4, refusal=(0.2, 0.3)).panel(2)
    one.outcome[3, 1] = -1
    one.outcome[5] = -1
    kind, shares = kinds(one)[:, :, 0], []
    for i in range(60):
        there = [kind[i, k] for k in range(4) if one.outcome[i, k, 0] >= 0]
        pairs = list(combinations(there, 2))
        if pairs:
            shares.append(np.mean([a != b for a, b in pairs]))
    found = only(estimates(one), "flip_rate")
    assert found.value == pytest.approx(np.mean(shares))
    assert found.low < found.value < found.high
    assert (found.n_cases, found.n_clusters) == (59, 30)


def test_two_refusals_of_different_kind_are_no_flip():
    codes = np.tile([3, 4], (10, 1))  # by policy, by capability
    found = only(estimates(panel(codes, np.arange(10) % 2)), "flip_rate")
    assert found.value == 0.0
    assert found.high > 0.0


def test_repeats_are_averaged():
    one = Planted(40, 2, 4, repeats=3).panel()
    found = of_cell(iter(estimates(one)), "flip_rate").value
    by_repeat = [of_cell(iter(estimates(replace(one, outcome=one.outcome[:, :, r : r + 1]))), "flip_rate").value for r in range(3)]
    assert found == pytest.approx(np.mean(by_repeat))


def test_the_rerun_floor_is_the_share_of_pairs_of_repeats_that_differ():
    one = Planted(30, 2, 4, repeats=3).panel(4)
    kind = kinds(one)
    pairs = [kind[:, p, a] != kind[:, p, b] for p in range(4) for a, b in combinations(range(3), 2)]
    found = estimates(one)
    assert only(found, "rerun_flip_rate").value == pytest.approx(np.mean(pairs))
    excess = only(found, "flip_rate_beyond_rerun")
    assert excess.value == pytest.approx(only(found, "flip_rate").value - np.mean(pairs))
    assert excess.mde > 0


def test_a_model_that_flips_at_random_flips_no_more_over_wordings_than_over_reruns():
    one = Planted(300, 1, 6, 0.7, within_case=0.5, repeats=2).panel(1)
    excess = only(estimates(one), "flip_rate_beyond_rerun")
    assert excess.low < 0 < excess.high
    assert excess.verdict == "not shown beyond reruns"
    moved = Planted(300, 1, 6, 0.7, within_case=0.9, repeats=2, shift=(-0.3, -0.3, -0.3, 0.2, 0.2, 0.2)).panel(1)
    assert only(estimates(moved), "flip_rate_beyond_rerun").verdict == "beyond reruns"


def test_a_wording_asked_again_is_a_rerun_and_no_pair_of_wordings():
    one = Planted(200, 1, 3, 0.7, within_case=0.4).panel(2)
    again = replace(one.prompts[0], name="again", text=one.prompts[0].text + " ")
    more = replace(one, prompts=(one.prompts[0], again, one.prompts[1]))
    kind = kinds(more)[:, :, 0]
    found = estimates(more)
    assert only(found, "rerun_flip_rate").value == pytest.approx(np.mean(kind[:, 0] != kind[:, 1]))
    pairs = [(0, 2), (1, 2)]
    assert only(found, "flip_rate").value == pytest.approx(np.mean([kind[:, a] != kind[:, b] for a, b in pairs]))


def test_without_a_rerun_there_is_no_floor_and_the_reason_says_what_to_do():
    found = estimates(Planted(30).panel())
    for name in ("rerun_flip_rate", "flip_rate_beyond_rerun"):
        assert only(found, name).value is None
        assert "repeats = 2" in only(found, name).reason


def of_factors(prompts: tuple[Prompt, ...], seed: int = 3) -> Panel:
    return replace(Planted(40, 2, len(prompts), refusal=(0.1, 0.1)).panel(seed), prompts=prompts)


def test_by_factor_only_pairs_that_differ_in_it_alone_are_counted():
    one = of_factors(core())
    kind, found = kinds(one)[:, :, 0], estimates(one)
    pairs = [
        (a, b)
        for a, b in combinations(range(24), 2)
        if {k for k in ("polarity", "format", "suffix", "paraphrase") if one.prompts[a].factors[k] != one.prompts[b].factors[k]}
        == {"suffix"}
    ]
    assert len(pairs) == 12
    assert only(found, "flip_rate", "suffix").value == pytest.approx(np.mean([kind[:, a] != kind[:, b] for a, b in pairs]))
    assert {e.by["factor"] for e in found if "factor" in e.by} == {"polarity", "format", "order", "suffix", "paraphrase"}
    order = [(a, b) for a, b in combinations(range(24), 2) if one.prompts[a].name.replace("A-B", "B-A") == one.prompts[b].name]
    assert only(found, "flip_rate", "order").value == pytest.approx(np.mean([kind[:, a] != kind[:, b] for a, b in order]))


def test_a_factor_that_never_changes_alone_says_with_what_it_goes():
    prompts = reference("abnormal")  # polarity × suffix
    pair = (prompts[0], replace(prompts[3], factors={**prompts[3].factors}))
    found = estimates(of_factors(pair))
    e = only(found, "flip_rate", "polarity")
    assert e.value is None
    assert e.reason == "no two wordings differ in polarity alone: it goes together with suffix"


def test_a_factor_that_moves_the_answer_has_the_higher_flip_rate():
    prompts = core()
    shift = tuple(0.25 if p.factors["suffix"] == "none" else -0.25 for p in prompts)
    one = replace(Planted(200, 1, 24, 0.6, within_case=0.9, shift=shift).panel(), prompts=prompts)
    found = estimates(one)
    assert only(found, "flip_rate", "suffix").low > only(found, "flip_rate", "paraphrase").high


@pytest.mark.parametrize(
    ("codes", "label", "cluster", "why"),
    [
        (np.zeros((8, 1)), np.arange(8) % 2, None, "one wording"),
        (np.zeros((8, 3)), np.arange(8) % 2, np.zeros(8, int), "one group"),
        (np.full((8, 3), -1), np.arange(8) % 2, None, "no case was read"),
    ],
)
def test_undefined_is_a_reason(codes, label, cluster, why):
    e = only(estimates(panel(codes, label, cluster)), "flip_rate")
    assert e.value is None
    assert why in e.reason
