"""Discrimination: AUROC of the mean margin, and the margin left unused where little rests on it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from palpate.measures.discrimination import Discrimination
from palpate.nouns import Panel
from palpate.parts import Measure, MeasureSettings
from planted import Planted, panel


def with_margin(mass: float = 0.9, signal: float = 1.0) -> Panel:
    one = Planted(40, 3, 4).panel(0)
    rng = np.random.default_rng(1)
    margin = rng.normal(signal * one.label[:, None, None], 1, one.outcome.shape)
    return replace(one, margin=margin, mass=np.full(one.outcome.shape, mass))


def of(one: Panel) -> dict:
    return {e.measure: e for e in Discrimination().measure([one], MeasureSettings()) if "prompt" not in e.by}


def test_it_is_a_measure_and_gives_what_it_announces():
    assert isinstance(Discrimination(), Measure)
    assert set(of(with_margin())) == set(Discrimination.estimates)


def test_it_is_scikit_learns_auroc_of_the_mean_margin():
    one = with_margin()
    found = of(one)["auroc"]
    assert found.value == pytest.approx(roc_auc_score(one.label, one.margin.mean(axis=(1, 2))))
    assert found.low < found.value < found.high
    assert (found.n_cases, found.n_clusters, found.verdict) == (120, 40, None)


def test_a_shift_of_every_margin_changes_nothing():
    one = with_margin()
    assert of(one)["auroc"].value == of(replace(one, margin=one.margin - 3))["auroc"].value


def test_a_small_answer_mass_says_the_margin_is_not_used():
    found = of(with_margin(mass=0.2))
    assert found["answer_mass"].value == pytest.approx(0.2)
    assert found["answer_mass"].verdict == found["auroc"].verdict == "margin not used"


def test_a_case_without_a_margin_is_left_out():
    one = with_margin()
    one.margin[:5, 0] = np.nan
    found = of(one)["auroc"]
    assert found.value == pytest.approx(roc_auc_score(one.label[5:], one.margin[5:].mean(axis=(1, 2))))
    assert (found.n_cases, found.n_left_out) == (115, 5)


def test_a_prompt_without_any_margin_is_left_out_of_the_mean():
    one = with_margin()
    one.margin[:, 1] = np.nan
    found = of(one)["auroc"]
    assert found.value == pytest.approx(roc_auc_score(one.label, one.margin[:, [0, 2, 3]].mean(axis=(1, 2))))


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (Planted(10).panel(), "no probabilities"),
        (replace(with_margin(), label=np.ones(120, np.int8)), "only one class"),
        (replace(with_margin(), cluster=np.zeros(120, np.int64)), "one group"),
        (panel(np.zeros((0, 2)), np.zeros(0)), "no"),
    ],
)
def test_undefined_is_a_reason_never_a_number(one, why):
    found = of(one)["auroc"]
    assert found.value is None
    assert found.low is None
    assert why in str(found.reason)


def test_a_perfect_margin_has_an_interval():
    one = with_margin()
    found = of(replace(one, margin=np.broadcast_to(one.label[:, None, None] * 2.0, one.margin.shape)))["auroc"]
    assert found.value == 1.0
    assert found.low < 0.99


def by_prompt(one: Panel, name: str) -> list:
    return [e for e in Discrimination().measure([one], MeasureSettings()) if e.measure == name and "prompt" in e.by]


def test_each_prompt_has_its_own_area_and_mass():
    one = with_margin()
    one.margin[:7, 2] = np.nan
    found = by_prompt(one, "auroc")
    for p, e in enumerate(found):
        kept = np.isfinite(one.margin[:, p, 0])
        assert e.value == pytest.approx(roc_auc_score(one.label[kept], one.margin[kept, p, 0]))
        assert e.low < e.value < e.high
    one.mass[:, 1] = 0.3
    masses, areas = by_prompt(one, "answer_mass"), by_prompt(one, "auroc")
    assert [e.value for e in masses] == pytest.approx([0.9, 0.3, 0.9, 0.9])
    assert [e.verdict for e in areas] == [None, "margin not used", None, None]


def test_single_images_have_delongs_standard_error():
    from palpate.stats.roc import delong_covariance

    one = Planted(120, 1, 1).panel(0)
    margin = np.random.default_rng(2).normal(one.label[:, None, None], 1)
    e = of(replace(one, margin=margin, mass=np.ones(margin.shape)))["auroc"]
    error = delong_covariance(margin[:, :, 0], one.label)[1][0, 0] ** 0.5
    assert (e.high - e.low) / 2 == pytest.approx(1.99 * error, rel=0.06)


def test_agreement_counts_texts_that_say_what_the_margin_says():
    one = with_margin()
    says_yes = one.outcome == 0
    margin = np.where(says_yes, 1.0, -1.0)
    margin[:30] *= -1
    one.outcome[0] = 3  # a refusal agrees with nothing and is not counted
    margin[1] = 0.0
    found = of(replace(one, margin=margin))["margin_agreement"]
    assert found.value == pytest.approx(90 / 118)
    assert found.low < found.value < found.high
    assert of(Planted(10).panel())["margin_agreement"].reason.startswith("the model gives no probabilities")
