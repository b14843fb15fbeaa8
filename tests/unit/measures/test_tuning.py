"""Tuning: the paired difference against scipy, its verdicts, and pairs that are none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from palpate.measures.tuning import NOT_PAIRED, Tuning
from palpate.nouns import Estimate, Lineage, Panel
from palpate.parts import Measure, MeasureSettings
from planted import Planted, panel
from simulated import of_cell, pair, study_settings, tuning_tally

SETTINGS = study_settings(0, 300)


def estimates(*panels: Panel, settings: MeasureSettings = SETTINGS) -> list[Estimate]:
    return list(Tuning().measure(panels, settings))


def test_it_is_a_measure_and_every_estimate_is_announced():
    found = estimates(*pair(Planted(30), 0.1, 0.0, 0))
    assert isinstance(Tuning(), Measure)
    assert [e.measure for e in found] == [*dict.fromkeys(e.measure for e in found)]
    assert {e.measure for e in found} == set(Tuning.estimates)
    assert found[0].by == {"base": "base", "tuned": "tuned", "relation": "parent", "task": "t", "cell": "target"}


def test_the_difference_is_that_of_the_two_models():
    from palpate.measures.accuracy import Accuracy
    from palpate.measures.refusals import Refusals

    base, tuned = pair(Planted(40, 2, 5, refusal=(0.1, 0.2)), 0.1, 0.0, 1)
    found = {e.measure: e.value for e in estimates(base, tuned)}
    each = [[*Accuracy().measure([p], SETTINGS), *Refusals().measure([p], SETTINGS)] for p in (base, tuned)]
    for name in ("ba_all", "ba_answered", "accuracy_all", "coverage", "refusal_rate"):
        before, after = (of_cell(iter(e), name).value for e in each)
        assert found[f"delta_{name}"] == pytest.approx(after - before), name
    assert found["delta_ba_all_over_wordings"] == pytest.approx(found["delta_ba_all"])


def test_with_single_cases_it_is_the_paired_t_interval():
    base, tuned = pair(Planted(300, 1, 6), 0.05, 0.0, 2)
    right = [(p.outcome[:, :, 0] == np.where(p.label == 1, 0, 1)[:, None]).mean(axis=1) for p in (base, tuned)]
    expected = stats.ttest_1samp(right[1] - right[0], 0).confidence_interval()
    found = of_cell(iter(estimates(base, tuned, settings=study_settings(0, 4000))), "delta_accuracy_all")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.004)


def test_a_planted_gain_is_better_a_loss_worse_and_none_equivalent():
    plan = Planted(150, 2, 12, 0.7, within_case=0.3)
    assert of_cell(iter(estimates(*pair(plan, 0.15, 0.0, 0))), "delta_ba_all").verdict == "better"
    assert of_cell(iter(estimates(*pair(plan, -0.15, 0.0, 0))), "delta_ba_all").verdict == "worse"
    same = estimates(*pair(plan, 0.0, 1.0, 0))
    assert of_cell(iter(same), "delta_ba_all").verdict == "equivalent"
    small = of_cell(iter(estimates(*pair(Planted(15, 2, 2), 0.02, 0.0, 3))), "delta_ba_all")
    assert small.verdict == "undetermined"


def test_identical_models_have_a_difference_of_zero_with_a_width():
    found = {e.measure: e for e in estimates(*pair(Planted(40, 2, 4), 0.0, 1.0, 0))}
    for name in ("delta_ba_all", "delta_ba_all_over_wordings", "delta_accuracy_all"):
        assert found[name].value == 0.0
        assert found[name].low < -0.005 < 0.005 < found[name].high


def test_the_detectable_difference_stands_beside_and_shrinks_with_the_cases():
    few, many = (of_cell(iter(estimates(*pair(Planted(c, 2, 4), 0.0, 0.0, 0))), "delta_ba_all_mde").value for c in (30, 270))
    assert few == pytest.approx(3 * many, rel=0.35)


def test_prompts_as_a_sample_widen_the_interval():
    base, tuned = pair(Planted(100, 2, 12), 0.0, 0.0, 0)
    tuned.outcome[:, :6] = np.where(tuned.label == 1, 0, 1)[:, None, None]  # right under six prompts, as before under the rest
    found = {e.measure: e for e in estimates(base, tuned)}
    fixed, sample = found["delta_ba_all"], found["delta_ba_all_over_wordings"]
    assert sample.high - sample.low > 2 * (fixed.high - fixed.low)


@pytest.mark.parametrize("what", ["cases", "prompts", "clusters"])
def test_models_asked_different_things_are_not_paired(what):
    base, tuned = pair(Planted(20, 2, 4), 0.0, 0.0, 0)
    other = {
        "cases": replace(tuned, cases=(*tuned.cases[1:], "new")),
        "prompts": replace(tuned, prompts=tuned.prompts[::-1]),
        "clusters": replace(tuned, cluster=tuned.cluster[::-1].copy()),
    }[what]
    found = estimates(base, other)
    assert {e.measure for e in found} == set(Tuning.estimates)
    assert all(e.value is None and e.reason == NOT_PAIRED and e.verdict is None for e in found)


def test_a_pair_with_a_model_that_was_not_asked_gives_nothing():
    base, _ = pair(Planted(20), 0.0, 0.0, 0)
    assert estimates(base) == []
    assert estimates(base, settings=MeasureSettings()) == []


def test_only_trials_read_under_both_count():
    base, tuned = pair(Planted(40, 2, 3), 0.0, 0.0, 0)
    base.outcome[:5] = -1
    tuned.outcome[5:9, 0] = -1
    both = (base.outcome >= 0) & (tuned.outcome >= 0)
    found = of_cell(iter(estimates(base, tuned)), "delta_accuracy_all")
    right = [np.where(both, p.outcome == np.where(p.label == 1, 0, 1)[:, None, None], 0).sum(axis=(0, 2)) for p in (base, tuned)]
    assert found.value == pytest.approx(((right[1] - right[0]) / both.sum(axis=(0, 2))).mean())
    assert found.n_left_out == (~both).sum()
    assert found.n_cases == 75


@pytest.mark.parametrize(
    ("codes", "label", "cluster", "why"),
    [
        (np.zeros((8, 2)), np.ones(8), None, "only one class"),
        (np.zeros((8, 2)), np.arange(8) % 2, np.zeros(8, int), "one group"),
        (np.full((8, 2), -1), np.arange(8) % 2, None, "no case was read"),
    ],
)
def test_undefined_is_a_reason_never_a_number(codes, label, cluster, why):
    found = of_cell(iter(estimates(*(panel(codes, label, cluster, model=m) for m in ("base", "tuned")))), "delta_ba_all")
    assert found.value is None
    assert why in str(found.reason)
    assert found.verdict is None


def test_holm_holds_over_the_tasks_of_a_pair():
    gain = pair(Planted(60, 2, 4), 0.06, 0.0, 14)
    alone = of_cell(iter(estimates(*gain)), "delta_ba_all")
    nulls = [replace(p, task=f"n{k}") for k in range(12) for p in pair(Planted(60, 2, 4), 0.0, 0.0, 100 + k)]
    among = of_cell(iter(estimates(*gain, *nulls)), "delta_ba_all", task="t")
    assert alone.verdict == "better"
    assert among.verdict != "better"
    assert (alone.value, alone.low) == (among.value, among.low)


def test_pairs_of_another_lineage_are_named_by_it():
    settings_ = replace(SETTINGS, lineages=(Lineage("base", "tuned", "sibling"), Lineage("tuned", "base")))
    found = [e for e in estimates(*pair(Planted(20), 0.1, 0.0, 0), settings=settings_) if e.measure == "delta_ba_all"]
    assert [e.by["relation"] for e in found] == ["sibling", "unknown"]
    assert found[0].value == pytest.approx(-found[1].value)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5), st.lists(st.integers(-1, 6), min_size=4, max_size=4)), max_size=25))
def test_whatever_the_readings_a_number_or_a_reason(rows):
    codes = np.array([o for _, _, o in rows], int).reshape(len(rows), 4)
    label, cluster = np.array([y for y, _, _ in rows], int), np.array([c for _, c, _ in rows], int)
    panels = [panel(codes[:, k : k + 2], label, cluster, model=m) for k, m in ((0, "base"), (2, "tuned"))]
    for e in estimates(*panels, settings=study_settings(0, 40)):
        assert e.reason if e.value is None else e.verdict or not e.reason  # beside a value, a reason is why the word is no other
        if e.value is not None and e.low is not None:
            assert -1 <= e.low <= e.value <= e.high <= 1


def test_no_tuning_effect_is_rarely_called_one_although_cases_are_clustered():
    """The unclustered paired test is wrong three to four times as often; the large simulation is in tests/validate."""
    tally = tuning_tally(Planted(40, 6, 2, 0.7, within_case=0.7, within_cluster=0.6, label_by_cluster=True), 0.0, 200, draws=150)
    assert tally.coverage > 0.91
    assert tally.verdicts["better"] + tally.verdicts["worse"] <= 18
