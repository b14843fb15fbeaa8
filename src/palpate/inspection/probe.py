"""Stage 0: are the classes told apart by what no finding is in? By the files themselves, and by grey levels and colour alone.

A model that scores well on such a set may have learnt the camera. The permutation repeats the whole cross-validation, which is the
only valid form; the folds never saw the labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from palpate.inspection.card import FAULT, NOTE, DataFinding, Probe
from palpate.inspection.pixels import LEVELS, ImageFacts

Matrix = NDArray[np.float64]

LEAST_GROUPS = 10
"""Groups of each label from which on a probe is fitted: fewer leave nothing to learn from."""
MOST_CASES = 1000
FOLDS = 5
PERMUTATIONS = 999
RIDGE = 0.1
"""Penalty, as a share of the cases fitted: moderate, since features are many and alike."""
LEVEL = 0.025
"""Two probes are fitted: 5 % in all."""
FILE, LEVELS_PROBE = "file", "grey levels and colour"


def probes(facts: Sequence[ImageFacts], seed: int, permutations: int = PERMUTATIONS) -> tuple[Probe, ...]:
    """What tells the classes apart without looking: size, format and storage of the files; grey levels and colour."""
    return tuple(
        _probe(name, names, matrix, facts, seed, permutations)
        for name, (names, matrix) in ((FILE, file_features(facts)), (LEVELS_PROBE, level_features(facts)))
    )


def shortcuts(found: Sequence[Probe]) -> Iterator[DataFinding]:
    """The probes that beat chance, in words."""
    for probe in found:
        if probe.auroc is None or probe.p is None or probe.p > LEVEL or probe.auroc <= 0.5:
            continue
        shown = f"AUROC {probe.auroc:.2f}, p = {probe.p:.3f}"
        if probe.name == FILE:
            text = (
                f"the classes can be told by their files alone ({', '.join(probe.features)}; {shown}): "
                "the data set has a shortcut, and a good score need not come from the finding"
            )
            yield DataFinding("shortcut", FAULT, text)
        else:
            text = (
                f"grey levels and colour alone tell the classes apart ({shown}): the disease may do that, "
                "and so may the scanner; a score near this one shows no more"
            )
            yield DataFinding("levels", NOTE, text)


def file_features(facts: Sequence[ImageFacts]) -> tuple[tuple[str, ...], Matrix]:
    """Width, height, shape, format, mode and JPEG quality: what is the file's and not the patient's. Constant ones are left out."""
    columns = {
        "width": np.log([f.width for f in facts]),
        "height": np.log([f.height for f in facts]),
        "shape": np.log([f.width / f.height for f in facts]),
        "JPEG quantisation": np.array([float(f.file.get("quantisation", 0)) for f in facts]),
    }
    for key in ("format", "mode", "suffix"):
        values = [str(f.file.get(key, "")).lower() for f in facts]
        for value in sorted(set(values))[1:]:
            columns[f"{key} {value}"] = np.array([float(v == value) for v in values])
    return _varying(columns, len(facts))


def level_features(facts: Sequence[ImageFacts]) -> tuple[tuple[str, ...], Matrix]:
    """The grey histogram (square roots of shares), contrast, colour and mean colour."""
    columns = {f"level {i}": np.sqrt([f.histogram[i] for f in facts]) for i in range(LEVELS)}
    columns |= {"contrast": np.array([f.contrast for f in facts]), "colour": np.array([f.colour for f in facts])}
    means = np.array([f.thumb.mean(axis=(0, 1)) for f in facts]).reshape(-1, 3)
    columns |= {name: means[:, i].astype(np.float64) for i, name in enumerate(("red", "green", "blue"))}
    return _varying(columns, len(facts))


def _varying(columns: dict[str, Matrix], n: int) -> tuple[tuple[str, ...], Matrix]:
    kept = {name: values for name, values in columns.items() if n and np.ptp(values) > 1e-9}
    return tuple(kept), np.stack(list(kept.values()), axis=1) if kept else np.empty((n, 0))


def _probe(
    name: str, features: tuple[str, ...], matrix: Matrix, facts: Sequence[ImageFacts], seed: int, permutations: int
) -> Probe:
    label = np.array([f.label for f in facts], dtype=np.int64)
    group = np.unique([f.group for f in facts], return_inverse=True)[1] if facts else np.empty(0, dtype=np.int64)
    by_label = [len(set(group[label == value].tolist())) for value in (0, 1)]
    n_groups = len(set(group.tolist()))
    if min(by_label) < LEAST_GROUPS:
        reason = f"fewer than {LEAST_GROUPS} patients, slides or images of one label"
        return Probe(name, features, None, None, len(facts), n_groups, reason=reason)
    if not features:
        return Probe(name, features, None, None, len(facts), n_groups, reason="all files are alike")
    rng = np.random.default_rng(seed)
    if len(facts) > MOST_CASES:
        kept = np.sort(rng.choice(len(facts), MOST_CASES, replace=False))
        matrix, label, group = matrix[kept], label[kept], np.unique(group[kept], return_inverse=True)[1]
    labels = np.stack([label, *(_shuffled(label, group, rng) for _ in range(permutations))], axis=1)
    observed, *null = cross_validated(matrix, labels, folds(group, rng)).tolist()
    p = (1 + sum(value >= observed - 1e-12 for value in null)) / (1 + permutations)
    return Probe(name, features, observed, p, len(label), len(set(group.tolist())), permutations)


def folds(group: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """(n,) which of five folds each case is in: whole groups, of about the same number of cases, without a look at the labels."""
    sizes = np.bincount(group)
    filled, of_group = np.zeros(FOLDS), np.empty(len(sizes), dtype=np.int64)
    for g in rng.permutation(len(sizes)):
        of_group[g] = int(np.argmin(filled))
        filled[of_group[g]] += sizes[g]
    return of_group[group]


def cross_validated(matrix: Matrix, labels: NDArray[np.int64], fold: NDArray[np.int64]) -> Matrix:
    """(k,) AUROC of out-of-fold scores for each column of ``labels`` (n, k), 0 or 1.

    The classifier is ridge regression on the labels, features standardised in the training folds, without its intercept, since
    a fold's base rate is no evidence. Its scores are linear in the labels, so that one solution serves all permutations.
    """
    scores = np.zeros(labels.shape)
    for held in range(FOLDS):
        train, test = fold != held, fold == held
        if not train.any() or not test.any():
            continue
        centre, scale = matrix[train].mean(axis=0), matrix[train].std(axis=0)
        scale = np.where(scale > 1e-12, scale, 1.0)
        x, held_out = (matrix[train] - centre) / scale, (matrix[test] - centre) / scale
        y = labels[train] - labels[train].mean(axis=0)
        scores[test] = held_out @ np.linalg.solve(x.T @ x + RIDGE * len(x) * np.eye(x.shape[1]), x.T @ y)
    return auroc(labels, scores)


def auroc(labels: NDArray[np.int64], scores: Matrix) -> Matrix:
    """Column by column: the share of pairs, one of each label, in which the positive scores higher, ties half (Mann–Whitney)."""
    from scipy.stats import rankdata

    ranks = rankdata(scores, axis=0)
    positive = labels.sum(axis=0)
    negative = len(labels) - positive
    return np.asarray(((ranks * labels).sum(axis=0) - positive * (positive + 1) / 2) / (positive * negative))


def _shuffled(label: NDArray[np.int64], group: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Labels permuted as patients have them: whole groups change theirs where each has one, single images do where not."""
    of_group = label[np.unique(group, return_index=True)[1]]
    return rng.permutation(of_group)[group] if np.array_equal(of_group[group], label) else rng.permutation(label)
