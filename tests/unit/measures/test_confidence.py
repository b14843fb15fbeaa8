"""Confidence: brute force, and planted models that know or do not know when they are wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from palpate.measures.confidence import Confidence
from palpate.nouns import Panel
from palpate.parts import Measure, MeasureSettings
from planted import Planted, panel
from planted_margins import Seen


def of(one: Panel, confidence: str = "margin") -> dict:
    found = Confidence().measure([one], MeasureSettings())
    return {e.measure: e for e in found if "prompt" not in e.by and e.by.get("confidence", confidence) == confidence}


def refusing(informed: bool, seed: int = 0, clusters: int = 150) -> Panel:
    """A third of trials refused: those with the smallest margins, or any."""
    one = Seen(clusters, 2, 4, 1.5).panel(seed)
    size = np.abs(one.margin) if informed else np.random.default_rng([seed, 9]).random(one.margin.shape)
    outcome = np.where(size < np.quantile(size, 1 / 3), 3, one.outcome).astype(np.int8)
    return replace(one, outcome=outcome)


def test_it_is_a_measure_and_gives_what_it_announces():
    assert isinstance(Confidence(), Measure)
    assert set(of(refusing(True))) == set(Confidence.estimates)


def test_by_margin_it_is_brute_force_per_prompt():
    one = refusing(False)
    found = of(one)
    areas, risks, areas_under = [], [], []
    for p in range(4):
        used = one.outcome[:, p, 0] < 2
        size = np.abs(one.margin[used, p, 0])
        right = (one.outcome[used, p, 0] == 0) == (one.label[used] == 1)
        areas.append(roc_auc_score(right, size))
        order = np.argsort(-size)
        risks.append(1 - right[order][: round(0.8 * used.sum())].mean())
        wrong = np.concatenate([[0], np.cumsum(~right[order]) / used.sum()])
        areas_under.append(((wrong[1:] + wrong[:-1]) / 2).mean())
    assert found["auroc_failure"].value == pytest.approx(np.mean(areas))
    assert found["augrc"].value == pytest.approx(np.mean(areas_under))
    assert found["risk_at_80"].value == pytest.approx(np.mean(risks), abs=0.004)
    assert found["auroc_failure"].verdict == "usable"


def curve(one: Panel, confidence: str = "margin") -> list:
    found = Confidence().measure([one], MeasureSettings())
    return [e for e in found if e.measure == "risk_at_coverage" and e.by["confidence"] == confidence]


def test_the_curve_is_brute_force_and_ends_at_the_error_rate():
    one = refusing(False)
    points = curve(one)
    assert [e.by["coverage"] for e in points] == ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1"]
    for e in points:
        risks = []
        for p in range(4):
            used = one.outcome[:, p, 0] < 2
            right = ((one.outcome[used, p, 0] == 0) == (one.label[used] == 1))[np.argsort(-np.abs(one.margin[used, p, 0]))]
            risks.append(1 - right[: round(float(e.by["coverage"]) * right.size)].mean())
        assert e.value == pytest.approx(np.mean(risks), abs=0.012)
        assert e.low <= e.value < e.high
    assert points[-1].value == pytest.approx(np.mean([1 - r for r in right_rates(one)]))
    assert points[7].value == of(one)["risk_at_80"].value


def right_rates(one: Panel) -> list:
    answered = one.outcome[:, :, 0] < 2
    right = answered & ((one.outcome[:, :, 0] == 0) == (one.label == 1)[:, None])
    return list(right.sum(axis=0) / answered.sum(axis=0))


def test_an_interval_of_the_curve_rests_on_the_answers_accepted():
    """Without an error among the surest tenth, the bound is that of a tenth of the cases, not of all."""
    points = curve(Seen(200, 1, 1, 6.0).panel())
    assert points[0].value == 0.0
    assert points[0].n_clusters == 20
    assert points[0].high > 0.1
    assert points[0].high > 2 * points[-1].high


def test_the_curve_of_agreement_shares_ties_out():
    one = Planted(100, 2, 5, 0.7).panel(1)
    points = curve(one, "agreement")
    assert len(points) == 10
    share = (one.outcome[:, :, 0] == 0).mean(axis=1)
    unanimous = np.abs(2 * share - 1) == 1
    assert unanimous.mean() > 0.1
    wrong = (share > 0.5) != (one.label == 1)
    assert points[0].value == pytest.approx(wrong[unanimous].mean()), "a tie is broken by no order of the cases"


def test_by_agreement_it_is_the_majority_of_each_case():
    one = Planted(100, 2, 5, 0.7).panel(1)
    found = of(one, "agreement")
    share = (one.outcome[:, :, 0] == 0).mean(axis=1)
    right = (share > 0.5) == (one.label == 1)
    assert found["auroc_failure"].value == pytest.approx(roc_auc_score(right, np.abs(2 * share - 1).round(9)))
    assert found["auroc_failure"].by["confidence"] == "agreement"
    assert all(
        "prompt" not in e.by for e in Confidence().measure([one], MeasureSettings()) if e.by.get("confidence") == "agreement"
    )


def test_confidence_that_says_nothing_is_not_called_usable_and_a_wrong_one_is_misleading():
    one = Seen(150, 2, 4, 1.5).panel()
    rng = np.random.default_rng(0)
    size = rng.random(one.margin.shape)
    assert of(replace(one, margin=np.sign(one.margin) * size))["auroc_failure"].verdict == "not shown to be usable"
    inverse = np.sign(one.margin) / (0.1 + np.abs(one.margin))
    assert of(replace(one, margin=inverse))["auroc_failure"].verdict == "misleading"


def test_informed_refusals_fall_where_it_would_be_wrong():
    informed = of(refusing(True))["informed_refusal"]
    assert informed.verdict == "informed"
    assert of(refusing(False))["informed_refusal"].verdict == "not shown to be informed"
    one = refusing(True)
    gaps, weights = [], []
    for p in range(4):
        wrong = (one.margin[:, p, 0] > 0) != (one.label == 1)
        refused = one.outcome[:, p, 0] == 3
        gaps.append(wrong[refused].mean() - wrong[~refused].mean())
        weights.append(refused.sum() * (~refused).sum() / refused.size)
    assert informed.value == pytest.approx(np.average(gaps, weights=weights))


def test_a_prompt_that_is_refused_and_wrong_as_a_whole_does_not_make_refusals_informed():
    """Within each prompt the refusals are blind: only the comparison across prompts would call them informed."""
    one = Seen(200, 2, 2, signal=(0.1, 2.5)).panel()
    rng = np.random.default_rng(0)
    refused = rng.random((400, 2)) < np.array([0.8, 0.05])
    found = of(replace(one, outcome=np.where(refused, 3, one.outcome[:, :, 0])[:, :, None].astype(np.int8)))
    assert found["informed_refusal"].verdict == "not shown to be informed"
    assert abs(found["informed_refusal"].value) < 0.1


@pytest.mark.parametrize(
    ("one", "name", "why"),
    [
        (Planted(20, 2, 3).panel(), "auroc_failure", "no probabilities"),
        (Planted(20, 2, 3).panel(), "informed_refusal", "no probabilities"),
        (Seen(20, 2, 3).panel(), "informed_refusal", "no trial with a margin was refused"),
        (panel(np.full((8, 2), 3), np.arange(8) % 2), "risk_at_80", "no"),
    ],
)
def test_undefined_is_a_reason_never_a_number(one, name, why):
    e = of(one)[name]
    assert e.value is None
    assert why in e.reason


def test_one_prompt_cannot_agree_and_all_right_has_nothing_to_tell_apart():
    assert "at least two" in of(Seen(30, 2, 1).panel(), "agreement")["auroc_failure"].reason
    one = Seen(40, 2, 3, 20.0).panel()
    assert "nothing to tell apart" in of(one)["auroc_failure"].reason
    assert of(one)["risk_at_80"].value == 0.0


def test_every_repeat_counts_and_clusters_stay_whole():
    one = Seen(60, 2, 3, 1.0, repeats=3, repeat_noise=0.9).panel()
    found = of(one)["auroc_failure"]
    right = (one.outcome == 0) == (one.label == 1)[:, None, None]
    each = [roc_auc_score(right[:, p].ravel(), np.abs(one.margin[:, p]).ravel()) for p in range(3)]
    assert found.value == pytest.approx(np.mean(each))
    assert found.n_clusters == 60
