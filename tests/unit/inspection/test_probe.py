"""Stage 0 in detail: what its features are, how labels are permuted, and what is said of what was found."""

from __future__ import annotations

import numpy as np
import pytest

from palpate.inspection.card import FAULT, NOTE, Probe
from palpate.inspection.pixels import ImageFacts
from palpate.inspection.probe import (
    FILE,
    LEVELS_PROBE,
    _shuffled,
    auroc,
    cross_validated,
    file_features,
    folds,
    level_features,
    probes,
    shortcuts,
)


def fact(i: int, label: int, *, width: int = 64, group: str = "", mean: float = 100.0, **file: object) -> ImageFacts:
    rng = np.random.default_rng(i)
    return ImageFacts(
        case=f"c-{i}",
        label=label,
        group=group or f"g-{i}",
        width=width,
        height=64,
        pixels=f"{i}",
        hash=i,
        thumb=rng.normal(mean, 5, (32, 32, 3)).astype(np.float32),
        histogram=rng.dirichlet(np.ones(16)),
        contrast=float(rng.uniform(20, 60)),
        colour=0.0,
        white=0.0,
        file=file,
    )


def test_features_of_the_file_and_no_others():
    facts = [fact(i, i % 2, width=60 + i, format="PNG" if i % 3 else "JPEG", mode="L", quantisation=i) for i in range(9)]
    names, matrix = file_features(facts)
    assert names == ("width", "shape", "JPEG quantisation", "format png")
    assert matrix.shape == (9, 4)
    assert matrix[:, 0] == pytest.approx(np.log([60 + i for i in range(9)]))


def test_features_of_grey_levels():
    names, matrix = level_features([fact(i, i % 2) for i in range(9)])
    assert len(names) == matrix.shape[1] == 16 + 1 + 3  # levels, contrast, mean colours; colour is constant here
    assert "colour" not in names
    assert np.isfinite(matrix).all()


def test_no_images():
    assert file_features([])[1].shape == (0, 0)
    assert all(p.auroc is None for p in probes([], 0))


def test_a_width_that_goes_with_the_label_is_found_and_one_that_does_not_is_not():
    rng = np.random.default_rng(0)
    told = [fact(i, i % 2, width=64 + 16 * (i % 2) + int(rng.integers(0, 8))) for i in range(60)]
    found = probes(told, 0, permutations=99)
    assert found[0].name == FILE
    assert found[0].auroc > 0.95
    assert found[0].p == 0.01
    chance = [fact(i, i % 2, width=64 + int(rng.integers(0, 24))) for i in range(60)]
    assert probes(chance, 0, permutations=99)[0].p > 0.025


def test_grey_levels_that_go_with_the_label():
    facts = [fact(i, i % 2, mean=100.0 + 30 * (i % 2)) for i in range(60)]
    assert probes(facts, 0, permutations=99)[1].auroc > 0.95


def test_the_same_seed_gives_the_same_probe():
    facts = [fact(i, i % 2, width=64 + i % 5) for i in range(40)]
    assert probes(facts, 3, permutations=49) == probes(facts, 3, permutations=49)


def test_many_cases_are_sampled(monkeypatch):
    monkeypatch.setattr("palpate.inspection.probe.MOST_CASES", 30)
    facts = [fact(i, i % 2, width=64 + i % 5) for i in range(80)]
    assert probes(facts, 0, permutations=9)[0].n_cases == 30


def test_auroc_counts_pairs():
    rng = np.random.default_rng(0)
    labels = np.stack([rng.permutation(np.repeat([0, 1], 10)) for _ in range(3)], axis=1)
    scores = rng.integers(0, 5, (20, 3)).astype(float)  # with ties
    expected = []
    for column, score in zip(labels.T, scores.T, strict=True):
        pairs = score[column == 1][:, None] - score[column == 0][None, :]
        expected.append((pairs > 0).mean() + 0.5 * (pairs == 0).mean())
    assert auroc(labels, scores) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
def test_whole_groups_change_their_label(seed):
    group = np.repeat(np.arange(12), 4)
    label = np.repeat(np.arange(12) % 2, 4)
    shuffled = _shuffled(label, group, np.random.default_rng(seed))
    assert all(len(set(shuffled[group == g])) == 1 for g in range(12))
    assert shuffled.sum() == label.sum()


def test_images_change_theirs_where_groups_have_both():
    group = np.repeat(np.arange(12), 4)
    label = np.tile([0, 1, 0, 1], 12)
    assert _shuffled(label, group, np.random.default_rng(0)).sum() == 24


def test_scores_do_not_know_the_held_out_label():
    """Turning the labels of one fold round leaves that fold's scores alone: else AUROC would turn with them exactly."""
    rng = np.random.default_rng(2)
    matrix, label = rng.normal(size=(50, 2)), np.repeat([0, 1], 25)
    fold = folds(np.arange(50), rng)
    turned = np.where(fold == 0, 1 - label, label)
    both = cross_validated(matrix, np.stack([label, label], axis=1), fold)
    assert both[0] == both[1]
    assert cross_validated(matrix, turned[:, None], fold)[0] != both[0]


@pytest.mark.parametrize(
    ("name", "auroc_", "p", "kind", "severity"),
    [
        (FILE, 0.8, 0.001, "shortcut", FAULT),
        (LEVELS_PROBE, 0.8, 0.001, "levels", NOTE),
        (FILE, 0.8, 0.026, None, None),
        (FILE, 0.4, 0.001, None, None),
        (FILE, None, None, None, None),
    ],
)
def test_what_is_said_of_a_probe(name, auroc_, p, kind, severity):
    found = list(shortcuts([Probe(name, ("width",), auroc_, p, 100, 100, 999)]))
    assert [(f.kind, f.severity) for f in found] == ([(kind, severity)] if kind else [])
    assert all("AUROC 0.80, p = 0.001" in f.text for f in found)
