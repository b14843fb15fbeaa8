"""What descriptions carry: the numbers against sklearn and brute force, the words against what was planted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

import planted_descriptions as planted
from palpate.measures.description import Description
from palpate.nouns import Estimate, Panel
from palpate.parts import MeasureSettings, Thresholds
from planted import NEGATIVE, POSITIVE
from planted_descriptions import IN_DESCRIPTION, LEAKS, Planted

SETTINGS = MeasureSettings(seed=0)
PLACE = {"model": "m", "task": "t"}
CELL = {**PLACE, "cell": "target"}
SMALL = replace(LEAKS, per_class=40, findings=1.0, refuses=0.2)


def measured(panel: Panel, settings: MeasureSettings = SETTINGS) -> list[Estimate]:
    return list(Description().measure([panel], settings))


def one(found: list[Estimate], name: str, by: Mapping[str, str]) -> Estimate:
    (estimate,) = [e for e in found if e.measure == name and e.by == by]
    return estimate


def without(panel: Panel, *inputs: str) -> Panel:
    assert panel.descriptions is not None
    kept = tuple(d for d in panel.descriptions.diagnoses if d.input not in inputs)
    return replace(panel, descriptions=replace(panel.descriptions, diagnoses=kept))


@pytest.fixture(scope="module")
def panel() -> Panel:
    return SMALL.panel(3, probes=True)


@pytest.fixture(scope="module")
def found(panel) -> list[Estimate]:
    return measured(panel)


def columns(panel: Panel, given: str = "real"):
    """(diagnoses, prompt, what was read) of each column."""
    for d in panel.descriptions.diagnoses:
        if d.input == given:
            for k, prompt in enumerate(panel.descriptions.prompts):
                yield d, prompt, d.outcome[:, k, 0], d.margin[:, k, 0]


def test_every_column_is_sklearn_s_balanced_accuracy(panel, found):
    for given in ("real", "masked", "oracle", "grey"):
        for d, prompt, read, _ in columns(panel, given):
            by = {**CELL, "reader": d.reader, "reader_prompt": d.question, "describe": prompt, "input": given}
            e = one(found, "description_ba", by)
            assert e.value == pytest.approx(balanced_accuracy_score(panel.label, read == POSITIVE))
            assert e.low <= e.value <= e.high


def test_the_score_is_the_mean_over_all_columns_and_none_is_picked(panel, found):
    each = [balanced_accuracy_score(panel.label, read == POSITIVE) for _, _, read, _ in columns(panel)]
    assert len(each) == 8  # two readers, two questions, two prompts
    assert one(found, "description_ba", CELL).value == pytest.approx(np.mean(each))
    assert one(found, "description_ba", {**CELL, "input": "oracle"}).value == 1.0


def test_the_gain_is_over_the_mean_of_the_direct_answers(panel, found):
    each = [balanced_accuracy_score(panel.label, read == POSITIVE) for _, _, read, _ in columns(panel)]
    truth = np.where(panel.label == 1, POSITIVE, NEGATIVE)[:, None]
    right = panel.outcome[:, :, 0] == truth  # refusals are wrong
    direct = np.mean([(right[panel.label == y].mean()) for y in (0, 1)])
    assert one(found, "description_gain", CELL).value == pytest.approx(np.mean(each) - direct)


def test_the_interval_of_the_gain_is_that_of_a_paired_cluster_bootstrap():
    plan = replace(IN_DESCRIPTION, direct=1.0, per_class=60)
    panel = plan.panel(11)
    e = one(measured(panel), "description_gain", CELL)
    rng = np.random.default_rng(0)
    truth = np.where(panel.label == 1, POSITIVE, NEGATIVE)
    described = np.mean([read == truth for _, _, read, _ in columns(panel)], axis=0)
    change = described - (panel.outcome[:, :, 0] == truth[:, None]).mean(axis=1)
    groups = {y: np.unique(panel.cluster[panel.label == y]) for y in (0, 1)}
    sums = np.bincount(panel.cluster, weights=change) / np.bincount(panel.cluster)
    draws = [np.mean([sums[rng.choice(groups[y], groups[y].size)].mean() for y in (0, 1)]) for _ in range(2000)]
    assert (e.high - e.low) / 2 == pytest.approx(1.98 * np.std(draws), rel=0.12)


def test_the_margin_s_area_is_sklearn_s(panel, found):
    each = [roc_auc_score(panel.label, margin) for *_, margin in columns(panel)]
    assert one(found, "description_auroc", CELL).value == pytest.approx(np.mean(each))


def test_a_margin_of_words_hardly_considered_is_not_used(panel):
    told = panel.descriptions
    weak = tuple(replace(d, mass=np.full(d.mass.shape, 0.1)) for d in told.diagnoses)
    e = one(measured(replace(panel, descriptions=replace(told, diagnoses=weak))), "description_auroc", CELL)
    assert e.value is None
    assert "probabilities" in (e.reason or "")


def test_what_masking_takes_is_paired(panel, found):
    each = [[balanced_accuracy_score(panel.label, r == POSITIVE) for *_, r, _ in columns(panel, g)] for g in ("real", "masked")]
    means = [np.mean(scores) for scores in each]
    e = one(found, "masking_loss", CELL)
    assert e.value == pytest.approx(means[0] - means[1])
    assert e.low > 0


def test_leaks_are_counted_whichever_way_they_go(panel, found):
    stated = panel.descriptions.stated[:, :, 0]
    assert one(found, "label_leak_rate", PLACE).value == pytest.approx((stated >= 0).mean())
    by = {**PLACE, "describe": "describe.named"}
    assert one(found, "label_leak_rate", by).value == pytest.approx((stated[:, 1] >= 0).mean())


def test_a_hedge_names_nothing(panel):
    hedged = replace(panel.descriptions, stated=np.full(panel.descriptions.stated.shape, 2, np.int8))
    assert one(measured(replace(panel, descriptions=hedged)), "label_leak_rate", PLACE).value == 0.0


def test_the_prior_of_one_question_has_no_interval(found):
    empty = one(found, "reader_prior", {**PLACE, "reader": "reader", "input": "empty"})
    assert (empty.value, empty.low) == (1.0, None)
    assert "no interval" in empty.method
    grey = one(found, "reader_prior", {**PLACE, "reader": "reader", "input": "grey"})
    assert grey.low < 0.5 < grey.high


def test_the_probe_s_area_is_that_of_its_scores(panel, found):
    each = [roc_auc_score(panel.label, r.score) for rungs in panel.descriptions.probes.values() for r in rungs]
    assert one(found, "description_probe_auroc", PLACE).value == pytest.approx(np.mean(each))


def test_without_a_probe_there_is_a_reason():
    e = one(measured(SMALL.panel(3)), "description_probe_auroc", PLACE)
    assert e.value is None
    assert "scikit-learn" in (e.reason or "")


def test_the_gain_over_the_margin_is_cautious_at_its_low_end():
    """A threshold fitted on other cases falls short; the low end takes the one fitted on all, which overshoots."""
    e = one(measured(replace(IN_DESCRIPTION, direct=1.5, per_class=60).panel(2)), "description_gain_rethresholded", CELL)
    assert e.high - e.value < e.value - e.low


def test_nothing_is_said_where_nothing_was_described(panel):
    assert measured(replace(panel, descriptions=None)) == []


def test_disease_is_another_question(panel):
    told = panel.descriptions
    asked = tuple(replace(d, question="disease") if d.question == "tight" else d for d in told.diagnoses)
    found = measured(replace(panel, descriptions=replace(told, diagnoses=asked)))
    assert one(found, "description_ba", {**PLACE, "cell": "abnormal"}).value is not None
    assert not [e for e in found if e.measure == "description_gain" and e.by["cell"] == "abnormal"]  # nobody was asked it directly


WORDS = {
    "carried by the description": IN_DESCRIPTION,
    "gain is the leak": LEAKS,
    "reader's prior alone": planted.PRIOR,
    "nothing recovered": planted.ONLY_ANSWERED,
    "another reader's skill": planted.STRONGER_READER,
}


@pytest.mark.parametrize("word", WORDS)
def test_what_was_planted_is_named(word):
    found = measured(WORDS[word].panel(7))
    assert one(found, "description_gain", CELL).verdict == word
    assert one(found, "description_gain_rethresholded", CELL).verdict == word


def test_grey_images_that_tell_the_label_are_a_leak():
    leaks = planted.LEAKS_FROM_ELSEWHERE.panel(7)
    assert one(measured(leaks), "description_gain", CELL).verdict == "gain is the leak"
    assert one(measured(without(leaks, "grey")), "description_gain", CELL).verdict == "carried by the description"


@pytest.mark.parametrize(
    ("plan", "left_out"),
    [(IN_DESCRIPTION, "masked"), (planted.ONLY_ANSWERED, "oracle"), (planted.PRIOR, "oracle")],
)
def test_without_the_control_it_takes_nothing_is_said(plan: Planted, left_out: str):
    assert one(measured(without(plan.panel(7), left_out)), "description_gain", CELL).verdict == "undetermined"


def test_a_guess_beats_a_model_that_leaves_questions_open_and_is_no_gain():
    found = measured(planted.PRIOR_AND_REFUSALS.panel(7))
    gain = one(found, "description_gain", CELL)
    assert gain.low > 0.1
    assert gain.verdict == "reader's prior alone"


def test_a_study_s_own_bounds_count():
    strict = MeasureSettings(seed=0, thresholds=Thresholds(description_gain=0.49))
    assert one(measured(IN_DESCRIPTION.panel(7), strict), "description_gain", CELL).verdict != "carried by the description"


def test_the_gain_says_what_it_would_have_found(found):
    e = one(found, "description_gain", CELL)
    assert e.mde == pytest.approx((e.high - e.low) / 2 / 1.99 * 2.83, rel=0.05)  # t at 5 % and 80 % power


def test_one_reader_that_reads_alone_stands_by_itself(found):
    values = [one(found, "description_gain", {**CELL, "reader": r}).value for r in ("reader", "own")]
    assert one(found, "description_gain", CELL).value == pytest.approx(np.mean(values))


def test_the_spread_is_that_of_the_columns_less_noise():
    half = measured(planted.STRONGER_READER.panel(5))
    assert one(half, "description_spread", CELL).value > 0.1  # one reader reads, the other guesses
    assert one(measured(planted.NOTHING_IN_IT.panel(5)), "description_spread", CELL).value < 0.03
