"""Accuracy: against scikit-learn, by brute force, and where it is undefined."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score, recall_score

from palpate.measures.accuracy import Accuracy
from palpate.nouns import Estimate, Panel, Perturbation
from palpate.parts import Measure, MeasureSettings
from planted import NEGATIVE, POSITIVE, REFUSED, Planted, panel
from simulated import of_cell

SETTINGS = MeasureSettings(draws=200)


def estimates(*panels: Panel, settings: MeasureSettings = SETTINGS) -> list[Estimate]:
    return list(Accuracy().measure(panels, settings))


def test_it_is_a_measure_and_every_estimate_is_announced():
    found = estimates(replace(Planted(20).panel(), best_accuracy=0.9))
    assert isinstance(Accuracy(), Measure)
    assert {e.measure for e in found} == set(Accuracy.estimates)
    assert all(isinstance(v, str) for e in found for v in e.by.values())


def test_without_refusals_it_is_scikit_learn_for_every_prompt():
    one = Planted(40, 3, 5, 0.7, shift=(-0.2, -0.1, 0, 0.1, 0.2)).panel(3)
    found = {(e.measure, e.by.get("prompt")): e.value for e in estimates(one)}
    for k, prompt in enumerate(one.prompts):
        said = (one.outcome[:, k, 0] == POSITIVE).astype(int)
        for name, score in (
            ("ba_all", balanced_accuracy_score(one.label, said)),
            ("ba_answered", balanced_accuracy_score(one.label, said)),
            ("accuracy_all", (said == one.label).mean()),
            ("sensitivity", recall_score(one.label, said)),
            ("specificity", recall_score(one.label, said, pos_label=0)),
            ("f1_all", f1_score(one.label, said)),
            ("f1_nr", f1_score(one.label, said)),
            ("coverage", 1.0),
        ):
            assert found[name, prompt.name] == pytest.approx(score), name
    for name in Accuracy.estimates:
        if name != "accuracy_share_of_best":
            assert found[name, None] == pytest.approx(np.mean([found[name, p.name] for p in one.prompts]))


def test_with_refusals_each_denominator_is_as_announced():
    one = Planted(60, 2, 1, 0.8, refusal=(0.1, 0.4)).panel(5)
    codes = one.outcome[:, 0, 0]
    answered = codes != REFUSED
    said = (codes == POSITIVE).astype(int)
    opposite = np.where(answered, said, 1 - one.label)  # a refusal counts as the opposite of the label
    found = {e.measure: e.value for e in estimates(one) if "prompt" not in e.by}
    assert found["ba_all"] == pytest.approx(balanced_accuracy_score(one.label, opposite))
    assert found["ba_answered"] == pytest.approx(balanced_accuracy_score(one.label[answered], said[answered]))
    assert found["coverage"] == pytest.approx(answered.mean())
    assert found["accuracy_all"] == pytest.approx((opposite == one.label).mean())
    assert found["accuracy_answered"] == pytest.approx((said == one.label)[answered].mean())
    assert found["f1_all"] == pytest.approx(f1_score(one.label, opposite))
    assert found["f1_nr"] == pytest.approx(f1_score(one.label[answered], said[answered]))


def test_the_two_readings_of_f1_with_refusals():
    """80 answered, all right, and 10 refused per class: F1_all .80 where a refusal is the opposite label (METHODS A5); F1_nr 1."""
    label = np.repeat([1, 0], 50)
    codes = np.where(label == 1, POSITIVE, NEGATIVE)
    codes[:10] = codes[50:60] = REFUSED
    found = {e.measure: e.value for e in estimates(panel(codes[:, None], label)) if "prompt" not in e.by}
    assert found["f1_all"] == pytest.approx(0.8)
    assert found["f1_nr"] == pytest.approx(1.0)


def test_always_yes_scores_two_thirds_on_f1_and_one_half_balanced_and_is_not_above_chance():
    label = np.arange(200) % 2
    found = estimates(panel(np.full((200, 1), POSITIVE), label))
    assert of_cell(iter(found), "f1_all").value == pytest.approx(2 / 3)
    best = of_cell(iter(found), "ba_all")
    assert best.value == 0.5
    assert 0.46 < best.low < 0.49
    assert 0.51 < best.high < 0.54
    assert best.verdict in ("at chance", "undetermined")


def test_intervals_have_width_and_hold_the_value_even_when_all_is_right():
    label = np.arange(60) % 2
    found = estimates(panel(np.where(label == 1, POSITIVE, NEGATIVE)[:, None], label, np.arange(60) // 2))
    for e in found:
        assert e.low <= e.value <= e.high
        assert e.high - e.low > 0.01, e.measure
    assert of_cell(iter(found), "ba_all").verdict == "above chance"


def test_clusters_widen_the_interval():
    plan = Planted(30, 6, 4, 0.7, within_case=0.9, within_cluster=0.85)
    one = plan.panel(2)
    apart = replace(one, cluster=np.arange(one.label.size))
    widths = [e.high - e.low for p in (one, apart) for e in [of_cell(iter(estimates(p)), "ba_all")]]
    assert widths[0] > 1.5 * widths[1]
    assert of_cell(iter(estimates(one)), "ba_all").n_clusters == 30


def test_duplicating_rows_inside_their_cluster_changes_nothing():
    one = Planted(40, 2, 3).panel(1)
    rows = np.repeat(np.arange(one.label.size), 4)
    more = panel(one.outcome[rows], one.label[rows], one.cluster[rows])
    for e, f in zip(estimates(one), estimates(more), strict=True):
        assert (e.value, e.low, e.high) == pytest.approx((f.value, f.low, f.high), abs=1e-9)
        assert e.n_clusters == f.n_clusters


def test_the_share_of_the_best_scales_value_and_interval():
    found = estimates(replace(Planted(40).panel(), best_accuracy=0.8))
    share, whole = (of_cell(iter(found), name) for name in ("accuracy_share_of_best", "accuracy_all"))
    assert (share.value, share.low, share.high) == pytest.approx((whole.value / 0.8, whole.low / 0.8, whole.high / 0.8))
    assert not [e for e in estimates(Planted(40).panel()) if e.measure == "accuracy_share_of_best"]


def test_repeats_are_averaged_and_missing_readings_left_out():
    label = np.array([1, 1, 0, 0])
    codes = np.array([[[0, 1]], [[0, 0]], [[-1, 1]], [[-1, -1]]])
    found = {e.measure: e for e in estimates(panel(codes, label)) if "prompt" not in e.by}
    assert found["sensitivity"].value == pytest.approx(0.75)  # half right, right
    assert found["accuracy_all"].value == pytest.approx(2.5 / 3)
    assert found["accuracy_all"].n_cases == 3
    assert found["accuracy_all"].n_left_out == 3
    assert found["specificity"].value is None  # one case of its class left: no second group
    assert "the cases of one class" in found["specificity"].reason


@pytest.mark.parametrize(
    ("codes", "label", "cluster", "undefined"),
    [
        (np.zeros((6, 2)), np.ones(6), None, {"ba_all", "ba_answered", "specificity", "f1_all", "f1_nr"}),
        (np.full((6, 2), REFUSED), np.arange(6) % 2, None, {"ba_answered", "accuracy_answered", "f1_nr"}),
        (np.zeros((6, 2)), np.arange(6) % 2, np.zeros(6, int), set(Accuracy.estimates)),
        (np.full((6, 2), -1), np.arange(6) % 2, None, set(Accuracy.estimates)),
        (np.zeros((0, 2)), np.zeros(0), None, set(Accuracy.estimates)),
    ],
    ids=["one class", "all refusals", "one cluster", "nothing read", "no case"],
)
def test_undefined_is_a_reason_never_a_number(codes, label, cluster, undefined):
    for e in estimates(panel(codes, label, cluster)):
        if e.measure in undefined:
            assert e.value is None, e.measure
            assert e.low is None
            assert e.high is None
            assert e.reason
            assert e.verdict is None
        else:
            assert e.value is not None, e.measure
            assert e.reason is None


def test_a_prompt_that_is_never_answered_is_left_out_of_the_mean_and_said_so():
    one = Planted(30, 2, 3, 0.9).panel(0)
    one.outcome[:, 1] = REFUSED
    answered = [e for e in estimates(one) if e.measure == "ba_answered"]
    assert answered[2].value is None
    assert answered[0].value == pytest.approx((answered[1].value + answered[3].value) / 2)
    assert "mean over 2 of 3 prompts" in answered[0].method


def test_the_verdict_is_on_definite_answers():
    """A model that refuses half of all and is else right nearly always has a low ba_all, and is well above chance."""
    one = Planted(150, 2, 4, 0.97, refusal=(0.6, 0.6)).panel(0)
    best = of_cell(iter(estimates(one)), "ba_all")
    assert best.value < 0.45
    assert best.verdict == "above chance"
    worse = of_cell(iter(estimates(Planted(150, 2, 4, 0.2).panel(0))), "ba_all")
    assert worse.verdict == "below chance"


def test_equivalence_to_chance_needs_enough_cases():
    def word(clusters: int) -> str | None:
        return of_cell(iter(estimates(Planted(clusters, 3, 12, 0.5, within_case=0.2).panel(1))), "ba_all").verdict

    assert word(12) == "undetermined"
    assert word(300) == "at chance"


def test_holm_holds_over_the_tasks_of_a_model():
    """A result of p ≈ 0.03 is above chance alone, and not among four tasks without any effect."""
    label = np.arange(120) % 2
    codes = np.where(np.arange(120) < 72, label == 1, label == 0)  # right 72 times of 120
    codes = np.where(codes, POSITIVE, NEGATIVE)[:, None]
    null = np.where(np.arange(120) // 2 % 2 == 0, label == 1, label == 0)
    others = [panel(np.where(null, POSITIVE, NEGATIVE)[:, None], label, task=f"t{k}") for k in range(3)]
    alone = of_cell(iter(estimates(panel(codes, label))), "ba_all")
    among = of_cell(iter(estimates(panel(codes, label), *others)), "ba_all", task="t")
    assert alone.verdict == "above chance"
    assert among.verdict != "above chance"
    assert alone.value == among.value


def test_single_prompts_answer_for_all_the_prompts_of_all_tasks():
    """One of twelve prompts above chance with p ≈ 0.03 is what chance gives; alone, it would be called above."""
    label = np.arange(120) % 2
    better = np.where(np.arange(120) < 72, label == 1, label == 0)
    null = np.where(np.arange(120) // 2 % 2 == 0, label == 1, label == 0)
    codes = np.where(np.stack([better, *[null] * 11], axis=1), POSITIVE, NEGATIVE)
    many = next(e for e in estimates(panel(codes, label)) if e.measure == "ba_all" and e.by.get("prompt") == "target0")
    alone = of_cell(iter(estimates(panel(codes[:, :1], label))), "ba_all")
    assert (many.value, alone.verdict) == (alone.value, "above chance")
    assert many.verdict == "undetermined"
    assert "Holm over the prompts of all tasks" in many.method


def test_order_of_panels_and_of_rows_is_of_no_account():
    panels = [Planted(20, 2, 3).panel(s, model=f"m{s}", task=f"t{t}", cases_seed=t) for t in range(2) for s in range(2)]
    first, second = estimates(*panels), estimates(*panels[::-1])
    assert sorted(map(repr, first)) == sorted(map(repr, second))
    order = np.random.default_rng(0).permutation(40)
    shuffled = panel(panels[0].outcome[order], panels[0].label[order], panels[0].cluster[order], model="m0", task="t0")
    for e, f in zip(estimates(panels[0]), estimates(shuffled), strict=True):
        assert (e.value, e.low, e.high) == pytest.approx((f.value, f.low, f.high))


def test_cells_are_never_pooled_and_a_perturbation_is_named():
    from planted import prompts

    one = Planted(20, 2, 4).panel()
    one = replace(one, prompts=prompts(2, "target") + prompts(2, "abnormal"), perturbation=Perturbation("blur", 2))
    found = estimates(one)
    assert {e.by["cell"] for e in found} == {"target", "abnormal"}
    assert {e.by["perturbation"] for e in found} == {"blur-2"}
    alone = estimates(panel(one.outcome[:, :2], one.label, one.cluster))
    assert of_cell(iter(found), "ba_all", cell="target").value == of_cell(iter(alone), "ba_all").value


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5), st.lists(st.integers(-1, 6), min_size=2, max_size=2)), max_size=25),
)
def test_whatever_the_readings_a_number_or_a_reason(rows):
    label = np.array([y for y, _, _ in rows], int)
    cluster = np.array([c for _, c, _ in rows], int)
    codes = np.array([o for _, _, o in rows], int).reshape(len(rows), 2)
    flipped = np.where(codes == POSITIVE, NEGATIVE, np.where(codes == NEGATIVE, POSITIVE, codes))
    found = estimates(panel(codes, label, cluster), settings=MeasureSettings(draws=40))
    mirror = estimates(panel(flipped, 1 - label, cluster), settings=MeasureSettings(draws=40))
    for e, m in zip(found, mirror, strict=True):
        assert e.reason if e.value is None else e.verdict or not e.reason  # beside a value, a reason is why the word is no other
        if e.value is not None:
            assert 0 <= e.value <= 1
            assert e.low is None or e.low <= e.value <= e.high
        if e.measure in ("ba_all", "coverage", "accuracy_all"):  # the same whichever class is called positive
            assert (e.value is None) == (m.value is None)
            assert e.value is None or e.value == pytest.approx(m.value)
