"""Panels that belong together, answers that differ, and statistics of a cell with their influences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palpate.measures._cells import cells
from palpate.measures._estimates import made
from palpate.measures._linear import balanced, class_clusters, clusters_in_use, margins, shares, whole
from palpate.measures._pairing import change, kind_counts, moved, rerun_difference, rerun_floor, same_cell, with_others
from palpate.measures._pairs import cell_pairs
from palpate.nouns import Lineage, Panel, Perturbation
from palpate.stats.intervals import Interval
from planted import Planted, panel


def cell(one: Panel):
    return next(cells(one))


def under(one: Panel, name: str, severity: int = 0) -> Panel:
    return replace(one, perturbation=Perturbation(name, severity))


# ---------------------------------------------------------------- which panels


def test_others_are_of_the_same_model_and_task_in_a_fixed_order():
    plain = Planted(10, 1, 2).panel()
    other_model = under(replace(plain, model="x"), "blank")
    given_panels = [under(plain, "blur", 3), under(plain, "blur", 1), plain, other_model, under(plain, "blank")]
    ((first, others),) = list(with_others(given_panels))
    assert first is plain
    assert [str(p.perturbation) for p in others] == ["blank", "blur-1", "blur-3"]
    assert list(with_others(given_panels[:2])) == []


def test_the_same_cell_follows_the_prompts_by_name_and_keeps_the_labels():
    plain = Planted(10, 1, 3).panel()
    order = [2, 0, 1]
    other = replace(plain, prompts=tuple(plain.prompts[k] for k in order), outcome=plain.outcome[:, order], label=1 - plain.label)
    found = same_cell(cell(plain), other)
    assert found.prompts == cell(plain).prompts
    assert np.array_equal(found.outcome, plain.outcome)
    assert np.array_equal(found.panel.label, plain.label)
    assert same_cell(cell(plain), replace(plain, prompts=plain.prompts[:2], outcome=plain.outcome[:, :2])) is None
    assert same_cell(cell(plain), replace(plain, cases=tuple(f"x{i}" for i in range(10)))) is None


def test_pairs_are_of_one_task_and_one_perturbation():
    base, tuned = (replace(Planted(10).panel(), model=m) for m in ("base", "tuned"))
    panels = [base, tuned, under(base, "blank"), replace(tuned, task="other")]
    found = list(cell_pairs(panels, [Lineage("base", "tuned")]))
    assert len(found) == 1
    assert found[0].base.panel is base
    assert found[0].tuned is not None
    assert found[0].tuned.panel is tuned


def test_a_pair_asked_about_other_cases_or_in_other_words_is_no_pair():
    base = replace(Planted(10).panel(), model="base")
    lineage = [Lineage("base", "tuned")]
    other_cases = replace(base, model="tuned", cases=tuple(f"other{k}" for k in range(len(base.cases))))
    other_words = replace(base, model="tuned", prompts=tuple(replace(p, name=p.name + "x") for p in base.prompts))
    for tuned in (other_cases, other_words):
        (found,) = cell_pairs([base, tuned], lineage)
        assert found.tuned is None


# ---------------------------------------------------------------- answers that differ


@given(st.lists(st.integers(0, 2), min_size=1, max_size=6), st.lists(st.integers(0, 2), min_size=1, max_size=6))
def test_change_and_rerun_difference_are_those_of_all_pairs(first, second):
    counts = [np.bincount(x, minlength=3).astype(float) for x in (first, second)]
    share, both = change(*counts)
    assert both == 1
    assert share == pytest.approx(np.mean([a != b for a in first for b in second]))
    again, usable = rerun_difference(counts[0])
    assert usable == (len(first) > 1)
    if usable:
        every = [first[i] != first[j] for i in range(len(first)) for j in range(len(first)) if i != j]
        assert again == pytest.approx(np.mean(every))
    assert change(counts[0], np.zeros(3))[1] == 0


def test_kinds_are_positive_negative_and_none():
    one = panel(np.array([[0, 1, 3], [2, -1, 5]]), [1, 0])
    assert kind_counts(cell(one))[:, :, :].tolist() == [[[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 0, 1], [0, 0, 0], [0, 0, 1]]]


def test_moved_is_the_mean_over_the_others_and_the_floor_needs_repeats():
    plain = panel(np.zeros((20, 2)), np.arange(20) % 2)
    ones, halves = np.ones((20, 2, 1), np.int8), np.tile([[0, 1]], (20, 1))[:, :, None].astype(np.int8)
    others = [same_cell(cell(plain), replace(under(plain, n), outcome=o)) for n, o in (("a", ones), ("b", halves))]
    share, floor = moved(cell(plain), others)
    assert share.value == pytest.approx(0.75)
    assert floor is None
    twice = panel(np.stack([np.zeros((20, 2)), np.tile([[0, 1]], (20, 1))], axis=2), np.arange(20) % 2)
    assert rerun_floor(cell(twice), [kind_counts(cell(twice))]).value == pytest.approx(0.5)


# ---------------------------------------------------------------- a cell's statistics


def test_balanced_accuracy_is_the_mean_of_the_classes_rates():
    one = Planted(30, 2, 3, 0.7).panel()
    right = one.outcome[:, :, 0] == np.where(one.label == 1, 0, 1)[:, None]
    expected = (right[one.label == 1].mean(axis=0) + right[one.label == 0].mean(axis=0)) / 2
    assert balanced(cell(one), cell(one).right, cell(one).seen).value == pytest.approx(expected)


def test_clusters_are_counted_by_class_and_by_prompt():
    one = panel(np.zeros((6, 2)), [0, 0, 1, 1, 1, 1], np.array([0, 0, 1, 1, 2, 3]))
    used = np.array([[1, 0], [1, 0], [1, 1], [0, 0], [0, 1], [0, 0]], bool)
    assert class_clusters(cell(one), used).tolist() == [[1, 1, 0], [2, 1, 2]]
    assert clusters_in_use(cell(one), used).tolist() == [3, 2, 2]


def test_margins_are_the_mean_of_the_repeats_that_have_one():
    one = panel(np.zeros((2, 1, 2)), [0, 1])
    margin = np.array([[[1.0, np.nan]], [[np.nan, np.nan]]])
    found = margins(cell(replace(one, margin=margin)))
    assert found[0, 0] == 1.0
    assert np.isnan(found[1, 0])


def test_one_cluster_has_no_estimate_and_says_so():
    one = panel(np.zeros((4, 2)), [0, 1, 0, 1], np.zeros(4, int))
    batch = made(cell(one), 0.95)
    interval = Interval(np.array(0.1), np.array(0.9), np.array(0.2), np.array(1.0))
    assert whole(batch, "x", 0.5, interval, "m", "", 1).reason.startswith("all cases belong to one group")
    assert whole(batch, "x", np.nan, interval, "m", "why", 0).reason == "why"
    assert whole(batch, "x", 0.5, None, "m", "", 3).low is None
    found = list(shares(batch, "x", balanced(cell(one), cell(one).right, cell(one).seen), np.array([1, 1, 1]), ""))
    assert len(found) == 3
    assert all(e.value is None for e in found)
