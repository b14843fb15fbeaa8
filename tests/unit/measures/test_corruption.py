"""Corruption: drops and slopes of a planted fall, against the definition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import linregress
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from palpate.measures.corruption import Corruption
from palpate.nouns import Panel, Perturbation
from palpate.parts import Measure, MeasureSettings
from planted import Planted
from planted_margins import Seen


def falling(loss: float = 0.4, levels: int = 5, seed: int = 0, clusters: int = 100, name: str = "blur") -> list[Panel]:
    """Noise is added to the same evidence, more at each level; ``loss`` is the noise's growth per level."""
    plan = Seen(clusters, 2, 4, 2.5)
    rng = np.random.default_rng([seed, 3])
    label, cluster = plan.cases(rng)
    x = plan.evidence(label, cluster, rng)
    found = [plan.of(x, label, cluster)]
    for k in range(1, levels + 1):
        worse = x + loss * k * rng.standard_normal(x.shape)
        found.append(plan.of(worse, label, cluster, perturbation=Perturbation(name, k)))
    return found


def of(panels: list[Panel], **by: str) -> dict:
    found = Corruption().measure(panels, MeasureSettings())
    return {e.measure: e for e in found if all(e.by.get(k) == v for k, v in by.items())}


def scores(one: Panel) -> float:
    said = one.outcome[:, :, 0] == 0
    return float(np.mean([balanced_accuracy_score(one.label, said[:, p]) for p in range(said.shape[1])]))


def test_it_is_a_measure_and_gives_what_it_announces():
    assert isinstance(Corruption(), Measure)
    assert {e.measure for e in Corruption().measure(falling(), MeasureSettings())} == set(Corruption.estimates)


def test_drop_and_slope_are_those_of_the_definition():
    panels = falling(levels=3)
    values = [scores(p) for p in panels]
    areas = [roc_auc_score(p.label, p.margin.mean(axis=(1, 2))) for p in panels]
    drop = of(panels, perturbation="blur-3")
    assert drop["corruption_drop"].value == pytest.approx(values[0] - values[3])
    assert drop["corruption_drop_auroc"].value == pytest.approx(areas[0] - areas[3])
    slope = of(panels, family="blur")
    assert slope["corruption_slope"].value == pytest.approx(linregress(range(4), values).slope)
    assert slope["corruption_slope_auroc"].value == pytest.approx(linregress(range(4), areas).slope)
    changed = panels[0].outcome != panels[1].outcome
    assert slope["corruption_flips"].value == pytest.approx(changed.mean())
    assert "blur-1" in slope["corruption_flips"].method


def test_a_fall_is_named_and_a_harmless_change_is_robust():
    assert of(falling(0.6), family="blur")["corruption_slope"].verdict == "falls"
    harmless = of(falling(0.01), family="blur")["corruption_slope"]
    assert harmless.verdict == "robust"
    assert harmless.low < 0 < harmless.high


def test_pairing_makes_the_interval_narrower_than_two_samples_would():
    panels = falling(0.1, 1)
    found = of(panels, perturbation="blur-1")["corruption_drop"]
    apart = falling(0.1, 1, seed=9)
    assert found.high - found.low < 0.7 * 2 * 1.96 * (2 * 0.85 * 0.15 / 200) ** 0.5
    assert scores(apart[0]) != scores(panels[0])


def test_trials_missing_at_one_level_are_left_out_at_all():
    panels = falling(levels=2)
    panels[1].outcome[:20] = -1
    panels[2].outcome[20:30, 0] = -1
    found = of(panels, family="blur")["corruption_slope"]
    kept = np.ones((200, 4), bool)
    kept[:20] = False
    kept[20:30, 0] = False
    values = []
    for p in panels:
        said = p.outcome[:, :, 0] == 0
        values.append(np.mean([balanced_accuracy_score(p.label[kept[:, k]], said[kept[:, k], k]) for k in range(4)]))
    assert found.value == pytest.approx(linregress(range(3), values).slope)


def test_reruns_that_differ_anyway_are_taken_off_the_flips():
    plan = Seen(100, 2, 3, 1.5, repeats=3, repeat_noise=0.8)
    rng = np.random.default_rng(0)
    label, cluster = plan.cases(rng)
    state = np.random.default_rng(1)
    base = plan.evidence(label, cluster, state)
    again = base + 0  # the same evidence, other reruns: shuffle the repeats' noise
    shuffled = again[:, :, ::-1]
    panels = [plan.of(base, label, cluster), plan.of(shuffled, label, cluster, perturbation=Perturbation("blur", 1))]
    found = of(panels, family="blur")["corruption_flips"]
    assert found.value < 0
    assert "taken off" in found.method


def test_null_images_and_occlusions_are_no_corruption():
    one = Planted(20, 2, 2).panel()
    others = [replace(one, perturbation=Perturbation(n, s)) for n, s in (("blank", 0), ("occlude_lesion", 1), ("noise", 0))]
    assert of([one, *others]) == {}


def test_holm_holds_over_the_families():
    weak = falling(0.18, 3, seed=4, clusters=60)
    alone = of(weak, family="blur")["corruption_slope"]
    many = [
        replace(p, perturbation=Perturbation(f"other{k}", p.perturbation.severity))
        for k in range(15)
        for p in (replace(weak[0], perturbation=Perturbation("x", 1)),)
    ]
    among = of([*weak, *many], family="blur")["corruption_slope"]
    assert (alone.value, alone.low) == (among.value, among.low)


def test_without_margins_the_areas_have_a_reason():
    panels = [replace(p, margin=np.full(p.margin.shape, np.nan)) for p in falling(levels=2)]
    found = of(panels, family="blur")
    assert found["corruption_slope"].value is not None
    assert "no probabilities" in found["corruption_slope_auroc"].reason
