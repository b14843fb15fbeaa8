"""The readings against people: planted errors come back, the corrected accuracy is the true one, and poor agreement blocks it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from figures_found import record
from palpate.measures.reading_quality import GROUPS, NOBODY, ReadingQuality
from palpate.nouns import OUTCOME_CODE, Outcome, Panel
from palpate.parts import MeasureSettings, Thresholds
from planted import NEGATIVE, POSITIVE, REFUSED, Planted

SETTINGS = MeasureSettings(seed=1, draws=300)
OTHER = OUTCOME_CODE[Outcome.UNPARSED]


def misread(panel: Panel, error: float, labels: int, seed: int, *, by_verdict: bool = True) -> Panel:
    """The panel as a reading that errs makes it, with ``labels`` of its answers read by a person, drawn by what was read."""
    rng = np.random.default_rng(seed)
    truth = panel.outcome
    flipped = np.select([truth == POSITIVE, truth == NEGATIVE], [NEGATIVE, POSITIVE], truth)
    read = np.where(rng.random(truth.shape) < error, flipped, truth).astype(np.int8)
    human = np.full(truth.shape, -1, np.int8)
    flat = human.reshape(-1)
    kinds = np.unique(read) if by_verdict else [None]
    for kind in kinds:
        members = np.flatnonzero(read.reshape(-1) == kind) if by_verdict else np.arange(flat.size)
        taken = rng.choice(members, min(members.size, labels // len(kinds)), replace=False)
        flat[taken] = truth.reshape(-1)[taken]
    return replace(panel, outcome=read, human=human)


def measured(*panels: Panel, settings: MeasureSettings = SETTINGS) -> dict[tuple[str, ...], object]:
    found = {}
    for e in ReadingQuality().measure(panels, settings):
        found[(e.measure, *[v for k, v in sorted(e.by.items()) if k not in ("model", "reading")])] = e
    return found


def true_accuracy(panel: Panel) -> float:
    said = np.where(panel.label == 1, POSITIVE, NEGATIVE)[:, None, None]
    return float((panel.outcome == said).mean())


PLAN = Planted(100, 2, 4, 0.8, refusal=(0.1, 0.1))


def test_without_people_everything_is_undefined_and_says_what_to_do():
    found = list(ReadingQuality().measure([PLAN.panel()], SETTINGS))
    assert [e.measure for e in found] == list(ReadingQuality.estimates)
    assert {e.reason for e in found} == {NOBODY}


def test_a_reading_that_agrees_with_people_changes_nothing():
    panel = misread(PLAN.panel(seed=2), 0.0, 240, seed=1)
    found = measured(panel)
    for name in ("reading_kappa", "reading_agreement", "reading_sensitivity", "reading_specificity"):
        assert found[(name,)].value == pytest.approx(1.0)
        assert found[(name,)].low < 1.0  # 240 labels without an error are no proof that there is none
    assert found[("reading_kappa",)].verdict == "reliable"
    corrected = found[("accuracy_corrected", "target", "t")]
    assert corrected.value == pytest.approx(true_accuracy(panel), abs=0.002)
    assert corrected.low < corrected.value < corrected.high


def test_labels_of_everything_give_the_plain_numbers():
    truth = PLAN.panel(seed=3)
    panel = replace(misread(truth, 0.07, 10, seed=2), human=truth.outcome)
    found = measured(panel)
    person, read = (GROUPS[p.outcome.reshape(-1)] for p in (truth, panel))
    assert found[("reading_kappa",)].value == pytest.approx(cohen_kappa_score(person, read))
    right = np.where(panel.label == 1, POSITIVE, NEGATIVE)[:, None, None]
    true, said = truth.outcome == right, panel.outcome == right
    assert found[("reading_sensitivity",)].value == pytest.approx((true & said).sum() / true.sum())
    assert found[("reading_specificity",)].value == pytest.approx((~true & ~said).sum() / (~true).sum())
    assert found[("accuracy_corrected", "target", "t")].value == pytest.approx(true.mean(), abs=0.002)


def labelled(read: list[int], said: list[int]) -> Panel:
    """A panel of which so many answers were read by a person too, as given."""
    panel = PLAN.panel(seed=5)
    outcome, human = panel.outcome.copy(), np.full(panel.outcome.shape, -1, np.int8)
    outcome.reshape(-1)[: len(read)] = read
    human.reshape(-1)[: len(said)] = said
    return replace(panel, outcome=outcome, human=human)


def test_few_labels_give_agreement_and_no_kappa():
    """Nine of ten alike is κ 0 where the person said yes ten times: neither a verdict nor a number to show anyone."""
    few = measured(labelled([POSITIVE] * 9 + [NEGATIVE], [POSITIVE] * 10))
    kappa = few[("reading_kappa",)]
    assert (kappa.value, kappa.verdict) == (None, None)
    assert kappa.reason == "10 labelled answers cannot tell: κ is given from 20 on; `palpate label RUN` goes on"
    assert 0 < few[("reading_agreement",)].value < 1
    assert few[("accuracy_corrected", "target", "t")].reason == kappa.reason


def test_kappa_of_one_kind_has_no_meaning():
    found = measured(labelled([POSITIVE] * 29 + [NEGATIVE], [POSITIVE] * 30))
    assert "of one kind to the person" in found[("reading_kappa",)].reason
    found = measured(labelled([POSITIVE] * 30, [POSITIVE] * 20 + [NEGATIVE] * 10))
    assert "of one kind to the reading" in found[("reading_kappa",)].reason
    assert "agreement 0.67, below 0.8" in found[("accuracy_corrected", "target", "t")].reason


def test_a_stratified_sample_counts_for_what_it_stands_for():
    """One answer in ten is a refusal, and one label in three: unweighted, agreement would be far off."""
    truth = Planted(200, 2, 4, 0.8, refusal=(0.1, 0.1)).panel(seed=4)
    rng = np.random.default_rng(0)
    lost = (truth.outcome == REFUSED) & (rng.random(truth.outcome.shape) < 0.5)
    read = replace(truth, outcome=np.where(lost, OTHER, truth.outcome).astype(np.int8))
    human = np.full(truth.outcome.shape, -1, np.int8)
    for code in np.unique(read.outcome):
        at = np.flatnonzero(read.outcome.reshape(-1) == code)[:60]
        human.reshape(-1)[at] = truth.outcome.reshape(-1)[at]
    found = measured(replace(read, human=human))
    agreement = (GROUPS[truth.outcome] == GROUPS[read.outcome]).mean()
    assert found[("reading_agreement",)].value == pytest.approx(agreement, abs=1e-9)


@pytest.mark.parametrize("labels", [80, 400])
def test_the_corrected_accuracy_comes_back(labels):
    """Below 100 labels by Rogan–Gladen, above by PPI; the reading turns .8 into .75."""
    values, truths, seen = [], [], []
    for seed in range(40):
        truth = PLAN.panel(seed=seed)
        panel = misread(truth, 0.07, labels, seed)
        e = measured(panel, settings=replace(SETTINGS, draws=100, thresholds=Thresholds(kappa=0.0)))[
            ("accuracy_corrected", "target", "t")
        ]
        assert ("PPI" in e.method) is (labels >= 100)
        values.append(e.value)
        truths.append(true_accuracy(truth))
        seen.append(true_accuracy(panel))
    assert np.mean(seen) < np.mean(truths) - 0.03
    assert np.mean(values) == pytest.approx(np.mean(truths), abs=0.012)


def test_labels_of_a_few_patients_say_less_than_as_many_of_many():
    """Answers of one patient tend to be misread together: the error rates count for no more than the patients they come from."""
    widths = []
    for per_case in (1, 4):
        panel = misread(PLAN.panel(seed=3), 0.07, 0, 3)
        human = np.full(panel.outcome.shape, -1, np.int8)
        if per_case == 1:
            human[:40, 0] = PLAN.panel(seed=3).outcome[:40, 0]
        else:
            human[:10] = PLAN.panel(seed=3).outcome[:10]
        settings = replace(SETTINGS, thresholds=Thresholds(kappa=0.0))
        e = measured(replace(panel, human=human), settings=settings)[("accuracy_corrected", "target", "t")]
        assert "Rogan–Gladen by 40 labelled" in e.method
        widths.append(e.high - e.low)
    assert widths[1] > 1.15 * widths[0]


def test_below_the_studys_bound_nothing_is_corrected_and_it_says_why():
    panel = misread(PLAN.panel(seed=5), 0.25, 300, seed=1)
    found = measured(panel)
    e = found[("accuracy_corrected", "target", "t")]
    assert e.value is None
    assert "below 0.8" in e.reason
    assert "κ 0." in e.reason
    assert found[("reading_kappa",)].verdict == "not reliable"
    lower = measured(panel, settings=replace(SETTINGS, thresholds=Thresholds(kappa=0.3)))
    assert lower[("accuracy_corrected", "target", "t")].value is not None


def test_people_who_find_nothing_wrong_leave_the_rest_undefined():
    panel = Planted(60, 2, 2, 1.0).panel(seed=1)
    found = measured(
        replace(
            panel,
            human=np.where(np.arange(panel.outcome.size).reshape(panel.outcome.shape) % 5 == 0, panel.outcome, -1).astype(np.int8),
        )
    )
    assert found[("reading_sensitivity",)].value == 1
    assert "none of the labelled answers as not right" in found[("reading_specificity",)].reason
    assert "not right" in found[("accuracy_corrected", "target", "t")].reason


def test_a_judge_is_measured_beside_the_rules():
    truth = PLAN.panel(seed=6)
    panel = misread(truth, 0.1, 300, seed=1)
    panel = replace(panel, others={"judge": truth.outcome})
    found = {
        (e.measure, e.by["reading"]): e for e in ReadingQuality().measure([panel], SETTINGS) if set(e.by) == {"model", "reading"}
    }
    assert found["reading_kappa", "judge"].value == pytest.approx(1.0)
    assert found["reading_kappa", "rules"].value < 0.95


def test_tasks_of_one_model_share_their_labels():
    one = misread(PLAN.panel(seed=7, task="a"), 0.03, 60, seed=1)
    two = replace(misread(PLAN.panel(seed=8, task="b"), 0.03, 60, seed=2), human=None)
    found = measured(one, two)
    assert found[("accuracy_corrected", "target", "b")].value is not None
    assert "60 labelled answers of the model" in found[("accuracy_corrected", "target", "b")].method


def coverage(labels: int, error: float, studies: int) -> float:
    """How often the interval of the corrected accuracy holds the accuracy of the population."""
    held = 0
    for seed in range(studies):
        truth = Planted(100, 2, 4, 0.8, within_case=0.3, refusal=(0.05, 0.05)).panel(seed=seed)
        panel = misread(truth, error, labels, seed + 10_000)
        settings = replace(SETTINGS, seed=seed, draws=400, thresholds=Thresholds(kappa=0.0))
        e = measured(panel, settings=settings)[("accuracy_corrected", "target", "t")]
        held += e.low <= 0.8 * 0.95 <= e.high
    return held / studies


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("labels", "error"), [(40, 0.1), (60, 0.05), (90, 0.05), (90, 0.02), (150, 0.05), (400, 0.1), (200, 0.0)])
def test_the_intervals_hold_the_truth_as_often_as_they_say(labels, error):
    # Few labels and hardly an error (two in a hundred): the interval is wider than it need be (.986), never narrower.
    found = coverage(labels, error, 600)
    record("Accuracy corrected for the reading's errors", f"{labels} labels, the reading errs in {100 * error:g} %", coverage=found)
    assert 0.93 <= found <= (0.995 if error == 0.02 else 0.98)
