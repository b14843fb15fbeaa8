"""Difficulty: slopes against statsmodels, planted trends, levels by brute force, and pairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm

from palpate.measures.difficulty import Difficulty
from palpate.nouns import Estimate, Lineage, Panel
from palpate.parts import MeasureSettings
from palpate.rung import Rung
from palpate.stats.probes import ladder_folds, probe
from planted import NEGATIVE, POSITIVE, Planted, panel

SETTINGS = MeasureSettings(lineages=(Lineage("base", "tuned", "parent"),), draws=300)


def graded(n: int = 400, slope: float = 0.1, seed: int = 0, model: str = "m", prompts: int = 4) -> Panel:
    """Cases of growing size: P(right) = .7 + slope · z, the same in both classes; and a colour that does nothing."""
    rng = np.random.default_rng(1)
    z, label = rng.normal(size=n), np.arange(n) % 2
    own = np.random.default_rng([seed, 2])
    right = own.random((n, prompts)) < np.clip(0.7 + slope * z, 0, 1)[:, None]
    codes = np.where(right == (label == 1)[:, None], POSITIVE, NEGATIVE)
    facts = {"size": tuple(float(10 + 3 * v) for v in z), "colour": tuple(rng.choice(["red", "green"], n))}
    return panel(codes, label, np.arange(n) // 2, facts=facts, model=model)


def find(found: list[Estimate], name: str, **by: str) -> Estimate:
    return next(
        e
        for e in found
        if e.measure == name and all(e.by.get(k) == v for k, v in by.items()) and ("class" in e.by) == ("class" in by)
    )


def estimates(*panels: Panel) -> list[Estimate]:
    return list(Difficulty().measure(panels, SETTINGS))


def test_the_slope_is_least_squares_with_an_intercept_for_each_class():
    one = graded()
    right = (one.outcome[:, :, 0] == np.where(one.label == 1, POSITIVE, NEGATIVE)[:, None]).mean(axis=1)
    z = np.array(one.facts["size"])
    within = z - np.where(one.label == 1, z[one.label == 1].mean(), z[one.label == 0].mean())
    design = np.stack([one.label, 1 - one.label, within / within.std()], axis=1)
    fit = sm.OLS(right, design).fit(cov_type="cluster", cov_kwds={"groups": one.cluster})
    e = find(list(Difficulty().measure([one], replace(SETTINGS, draws=4000))), "difficulty_slope", fact="size")
    assert e.value == pytest.approx(fit.params[2])
    assert (e.high - e.low) / 2 == pytest.approx(1.97 * fit.bse[2], rel=0.06)
    assert e.value == pytest.approx(0.1, abs=0.03)
    assert e.verdict == "rises"


def test_classes_are_compared_each_within_itself():
    """A lesion has a size only where there is a lesion; a model that misses every lesion must not make size matter."""
    label = np.arange(200) % 2
    codes = np.where(label == 1, NEGATIVE, NEGATIVE)[:, None].repeat(3, axis=1)
    facts = {"size": tuple(float(x) for x in np.where(label == 1, 10 + np.arange(200) % 7, 0))}
    e = find(estimates(panel(codes, label, facts=facts)), "difficulty_slope", fact="size")
    assert e.value == 0.0
    assert e.verdict == "no trend shown"
    of_class = find(estimates(panel(codes, label, facts=facts)), "difficulty_slope", fact="size", **{"class": "negative"})
    assert of_class.value is None
    assert "does not vary" in of_class.reason


def test_levels_are_the_shares_right_of_their_cases():
    one = graded()
    right = (one.outcome[:, :, 0] == np.where(one.label == 1, POSITIVE, NEGATIVE)[:, None]).mean(axis=1)
    found = estimates(one)
    for colour in ("red", "green"):
        member = (np.array(one.facts["colour"]) == colour) & (one.label == 1)
        e = find(found, "right_by_fact", fact="colour", level=colour, **{"class": "positive"})
        assert e.value == pytest.approx(right[member].mean())
        assert e.n_cases == member.sum()
    thirds = [e for e in found if e.measure == "right_by_fact" and e.by["fact"] == "size" and e.by["class"] == "negative"]
    assert len(thirds) == 3
    assert sum(e.n_cases for e in thirds) == 200
    assert thirds[0].value < thirds[2].value


def test_a_number_with_few_values_is_taken_value_by_value_and_free_text_is_not_sliced_by():
    one = graded()
    facts = {"grade": tuple(i % 3 for i in range(400)), "note": tuple(f"text {i}" for i in range(400)), "same": ("x",) * 400}
    found = estimates(replace(one, facts=facts))
    assert {e.by["level"] for e in found if e.measure == "right_by_fact"} == {"0", "1", "2"}
    assert {e.by.get("fact") for e in found if e.measure == "difficulty_slope"} == {"grade"}


def test_cases_without_the_fact_are_left_out():
    one = graded()
    partly = tuple(None if i % 4 == 0 else v for i, v in enumerate(one.facts["size"]))
    e = find(estimates(replace(one, facts={"size": partly})), "difficulty_slope", fact="size")
    assert e.n_cases == 300


def test_the_difference_of_slopes_is_that_of_the_two_slopes_and_planted_ones_are_told():
    flat, steep = graded(slope=0.0, seed=1, model="base"), graded(slope=0.15, seed=2, model="tuned")
    found = estimates(flat, steep)
    slopes = [find(found, "difficulty_slope", fact="size", model=m).value for m in ("base", "tuned")]
    e = find(found, "delta_difficulty_slope", fact="size")
    assert e.value == pytest.approx(slopes[1] - slopes[0])
    assert e.verdict == "rises"
    assert e.by["relation"] == "parent"
    same = find(estimates(flat, replace(flat, model="tuned")), "delta_difficulty_slope", fact="size")
    assert same.value == 0.0
    assert same.low < 0 < same.high


def test_without_facts_there_is_a_reason():
    found = estimates(Planted(20).panel())
    assert all("tells nothing" in e.reason for e in found)
    words = estimates(replace(Planted(20, 2).panel(), facts={"sex": ("f", "m") * 20}))
    assert "no fact of these cases is a number" in find(words, "difficulty_slope").reason


# ---------------------------------------------------------------- by a reference probe


def probed(n: int = 600, reach: float = 1.0, seed: int = 0, model: str = "m", prompts: int = 4) -> Panel:
    """Features in which each case shows its condition more or less plainly; a model that reads them as plainly (``reach`` 1) or
    guesses (0). The reference is fitted on other patients."""
    rng = np.random.default_rng([seed, 1])
    label, cluster = (np.arange(n) % 2).astype(np.int8), np.arange(n) // 2
    plain = rng.normal(0.6, 1, n)  # how plainly, below 0: it looks like the other class
    states = rng.normal(size=(n, 6))
    states[:, 0] = plain * np.where(label == 1, 1, -1)
    score = probe(states, label, ladder_folds(label, cluster, seed, "t")).mean_score
    own = np.random.default_rng([seed, 2, *map(ord, model)])
    right = own.random((n, prompts)) < np.clip(0.6 + 0.12 * reach * (plain - 0.6), 0.02, 0.98)[:, None]
    codes = np.where(right == (label == 1)[:, None], POSITIVE, NEGATIVE)
    rungs = (Rung("metadata", own.normal(size=n), np.full(n, 0.5)), Rung("read", score, np.full(n, 0.5)))
    return panel(codes, label, cluster, rungs={"target": rungs}, model=model)


def test_a_model_that_fails_where_a_probe_of_its_own_encoder_does_is_told_so():
    found = estimates(probed())
    e = find(found, "difficulty_slope", fact="reference_margin")
    assert e.verdict == "rises"
    assert e.low < 0.12 < e.high + 0.01, "attenuated by the probe's own noise, hardly with six features"
    assert e.value > 0.09
    thirds = [
        f.value
        for f in found
        if f.measure == "right_by_fact" and f.by["fact"] == "reference_margin" and f.by["class"] == "positive"
    ]
    assert len(thirds) == 3
    assert thirds == sorted(thirds)
    assert find(found, "difficulty_slope", fact="colour_margin").verdict == "no trend shown"


def test_a_model_that_guesses_is_as_often_right_on_easy_cases_as_on_hard_ones():
    """The reference knows the labels; a model that does not look at the image must not seem to follow it."""
    called = 0
    for seed in range(40):
        e = find(estimates(probed(120, reach=0.0, seed=seed)), "difficulty_slope", fact="reference_margin")
        called += e.verdict != "no trend shown"
    assert called <= 6


def test_of_a_pair_the_reference_is_the_base_models_encoder():
    base, tuned = probed(model="base", reach=0.0), probed(model="tuned", reach=1.0)
    e = find(estimates(base, tuned), "delta_difficulty_slope", fact="reference_margin")
    assert e.verdict == "rises"
    assert e.value == pytest.approx(0.12, abs=0.04)


def test_a_fact_of_that_name_from_the_source_goes_before_the_probe():
    one = replace(probed(60), facts={"reference_margin": tuple(float(k) for k in range(60))})
    found = [e for e in estimates(one) if e.measure == "difficulty_slope" and "class" not in e.by]
    assert [e.by["fact"] for e in found] == ["reference_margin", "colour_margin"]
    levels = [e.by["level"] for e in estimates(one) if e.measure == "right_by_fact" and e.by["fact"] == "reference_margin"]
    assert levels[0].startswith("0 to")
