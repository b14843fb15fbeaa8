"""Factors: planted effects are recovered, by brute force over matched wordings, and what cannot be told apart is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from palpate.measures._factors import blocks, factors_of, goes_with, varying
from palpate.measures.factors import Factors
from palpate.nouns import Estimate, Panel, Prompt
from palpate.parts import MeasureSettings, Thresholds
from planted import POSITIVE, REFUSED, Planted
from wordings import both_orders, core, reference

SETTINGS = MeasureSettings(draws=300)


def effects(one: Panel, settings: MeasureSettings = SETTINGS, name: str = "factor_effect") -> dict[tuple[str, str], Estimate]:
    found = [e for e in Factors().measure([one], settings) if e.measure == name]
    return {(e.by.get("factor", ""), e.by.get("level", "")): e for e in found}


def of(prompts: tuple[Prompt, ...], seed: int = 0, clusters: int = 200, **more) -> Panel:
    return replace(Planted(clusters, 1, len(prompts), **more).panel(seed), prompts=prompts)


def test_the_factors_of_a_prompt_are_those_it_was_made_with_and_its_form():
    ab, ba = both_orders()
    assert factors_of(ab) == {"paraphrase": "0", "format": "lettered", "order": "A-B", "polarity": "affirmative"}
    assert factors_of(ba) == {"paraphrase": "0", "format": "lettered", "order": "B-A", "polarity": "affirmative"}
    assert varying(core()) == {
        "polarity": ("affirmative", "negated"),
        "format": ("yes-no", "lettered"),
        "suffix": ("none", "one-word"),
        "paraphrase": ("1", "2"),
        "order": ("A-B", "B-A"),
    }


def test_blocks_differ_in_one_factor_alone():
    prompts = core()
    assert len(blocks(prompts, "suffix")) == 12
    by_format = blocks(prompts, "format")
    assert len(by_format) == 8
    assert all(len(b["yes-no"]) == 1 and len(b["lettered"]) == 2 for b in by_format)
    assert len(blocks(prompts, "order")) == 8
    assert goes_with((prompts[0], prompts[3]), "suffix") == ("paraphrase",)


def test_planted_effects_are_recovered_and_the_others_are_nothing():
    prompts = core()
    shift = tuple(
        (-0.15 if p.factors["polarity"] == "negated" else 0.0) + (0.06 if p.factors["suffix"] == "one-word" else 0) for p in prompts
    )
    found = effects(of(prompts, accuracy=0.75, shift=shift, clusters=400))
    assert found["polarity", "negated"].value == pytest.approx(-0.15, abs=0.02)
    assert found["polarity", "negated"].verdict == "lowers"
    assert found["suffix", "one-word"].value == pytest.approx(0.06, abs=0.02)
    assert found["suffix", "one-word"].verdict == "raises"
    for place in (("format", "lettered"), ("order", "B-A"), ("paraphrase", "2")):
        assert found[place].low < 0 < found[place].high
        assert found[place].verdict == "equivalent"
        assert found[place].mde > 0


def test_the_effect_is_the_mean_over_matched_wordings():
    prompts = core()
    one = of(prompts, 3, 50)
    score = np.array(
        [
            np.mean([(one.outcome[one.label == y, k, 0] == (POSITIVE if y else 1)).mean() for y in (0, 1)])
            for k in range(len(prompts))
        ]
    )
    matched = [score[b["lettered"]].mean() - score[b["yes-no"]].mean() for b in blocks(prompts, "format")]
    assert effects(one)["format", "lettered"].value == pytest.approx(np.mean(matched))


def test_refusals_by_suffix_are_found():
    prompts = core()
    one = of(prompts, 1)
    short = np.array([p.factors["suffix"] == "one-word" for p in prompts])
    drawn = np.random.default_rng(0).random(one.outcome.shape) < 0.2
    one = replace(one, outcome=np.where(drawn & short[None, :, None], REFUSED, one.outcome))
    e = effects(one, name="factor_effect_refusals")["suffix", "one-word"]
    assert e.value == pytest.approx(0.2, abs=0.02)
    assert e.verdict == "raises"


def test_what_cannot_be_told_apart_has_a_number_no_verdict_and_says_what_changes_with_it():
    prompts = reference("abnormal")
    found = effects(of((prompts[0], prompts[3])))
    e = found["polarity", "negated"]
    assert e.value is not None
    assert e.verdict is None
    assert "not separable: suffix change with it" in e.method


def test_a_minimum_effect_can_be_demanded():
    prompts = core()
    shift = tuple(0.06 if p.factors["suffix"] == "one-word" else 0 for p in prompts)
    one = of(prompts, accuracy=0.75, shift=shift, clusters=300)
    assert effects(one)["suffix", "one-word"].verdict == "raises"
    strict = replace(SETTINGS, thresholds=Thresholds(factor=0.05))
    assert effects(one, strict)["suffix", "one-word"].verdict != "raises"


def test_wordings_without_factors_have_a_reason():
    assert "no recorded factor" in effects(Planted(20).panel())["", ""].reason
