"""Linear probes: what a linear reader can tell from a stage's features, out of fold, fast enough for sixty layers.

Features are scaled to unit variance (a step that knows no label) and enter only through their Gram matrix. In each training fold
they are centred and projected on their leading principal components; on these a ridge regression of the label is solved in
closed form for all penalties at once, and the penalty with the smallest leave-one-out error is taken. For two classes that
direction is regularised linear discriminant analysis; its held-out AUROC is that of an L2 logistic regression on the same
components to within noise (tested), at one eigendecomposition per fold instead of dozens of fits. Leave-one-out scores of the
training cases, never fitted ones, set the threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from palpate.stats.folds import grouped_folds
from palpate.stats.resampling import Array, generator
from palpate.stats.roc import auroc
from palpate.stats.threshold import best_thresholds

COMPONENTS = 64
PENALTIES = np.logspace(-4, 3, 15)
"""Ridge penalties, in units of the components' mean variance."""

Labels = NDArray[np.int8]
Folds = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Probed:
    """What a probe says of n cases in R repeats of F folds, each case scored by probes that saw neither it nor its group.

    ``score`` (R, n) in standard deviations of the training cases' scores; ``right`` (R, n) 1 on the right side of the threshold of
    the training cases; ``training`` (R, F) AUROC of the training cases' leave-one-out scores, by which a layer may be chosen;
    ``control`` (R,) out-of-fold AUROC of the same probe on labels permuted over groups.
    """

    score: Array
    right: Array
    training: Array
    control: Array

    @property
    def mean_score(self) -> Array:
        """(n,) over the repeats."""
        return np.asarray(self.score.mean(axis=0))

    @property
    def mean_right(self) -> Array:
        """(n,) share of the repeats in which the case was on its side of the threshold."""
        return np.asarray(self.right.mean(axis=0))


def repeated_folds(label: Labels, cluster: NDArray[np.int64], repeats: int, folds: int, rng: np.random.Generator) -> Folds:
    """(repeats, n) fold of each case: whole clusters, classes even."""
    return np.stack([grouped_folds(label, cluster, folds, rng) for _ in range(repeats)])


REPEATS, FOLDS = 5, 5


def ladder_folds(label: Labels, cluster: NDArray[np.int64], seed: int, task: str) -> Folds:
    """The folds of all rungs of a task: they depend on the study's seed, the task and its cases alone, so rungs are paired."""
    return repeated_folds(label, cluster, REPEATS, FOLDS, generator(seed, task, "ladder", "folds"))


def permuted_labels(label: Labels, cluster: NDArray[np.int64], rng: np.random.Generator) -> Labels:
    """(n,) every cluster takes another cluster's majority label: labels a probe can know only by heart (Hewitt & Liang 2019)."""
    size = np.maximum(np.bincount(cluster), 1)
    majority = (np.bincount(cluster, weights=label) / size >= 0.5).astype(np.int8)
    return np.asarray(majority[rng.permutation(majority.size)][cluster])


LARGEST_BASIS = 512
"""With more cases than 700 and as many features, the leading directions of all cases together stand for the features: the
components of a fold lie in them but for what is far below its 64th."""


def scaled(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """(n, d) features of unit variance, centred, divided by √d; constant columns are 0."""
    x = np.asarray(features, np.float32)
    x = x - x.mean(axis=0)
    scale = np.sqrt(np.einsum("ij,ij->j", x, x) / max(x.shape[0], 1))
    x *= np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 1e-6) / np.sqrt(max(x.shape[1], 1))
    return np.asarray(x, np.float32)


def gram(features: NDArray[np.floating]) -> Array:
    """(n, n) inner products of the scaled features."""
    x = scaled(features)
    return np.asarray(x @ x.T, np.float64)


def directions(features: NDArray[np.floating]) -> float:
    """How many directions share the variance of features (n, d): (Σλ)²/Σλ² over their principal components, 0 where nothing varies.

    The participation ratio: k where k components are equal, about n where d is far above n and nothing is common.
    """
    x = scaled(features)
    product = x @ x.T if x.shape[0] < x.shape[1] else x.T @ x
    total, squares = float(np.trace(product, dtype=np.float64)), float((product.astype(np.float64) ** 2).sum())
    return total**2 / squares if squares > 0 else 0.0


def _spaces(features: NDArray[np.floating], components: int) -> Callable[[NDArray[np.int64], NDArray[np.int64]], _Space]:
    """(training, held-out places) → the fold's components: from the features where they are few, else from their products."""
    from scipy.linalg import eigh

    n, d = features.shape
    if d < n // 2:
        x = np.asarray(scaled(features), np.float64)
        return lambda seen, out: _Space.of_features(x, seen, out, components)
    kernel = gram(features)
    if n <= 700:
        return lambda seen, out: _Space(kernel, seen, out, components)
    values, vectors = eigh(kernel, subset_by_index=[n - LARGEST_BASIS, n - 1])
    basis = vectors * np.sqrt(np.maximum(values, 0.0))
    return lambda seen, out: _Space.of_features(basis, seen, out, components)


def probe(
    features: NDArray[np.floating],
    label: Labels,
    fold: Folds,
    permuted: NDArray[np.int8] | None = None,
    *,
    components: int = COMPONENTS,
) -> Probed:
    """Probe features (n, d) under the folds (R, n). ``permuted`` (R, n): labels of the control, one set a repeat.

    Needs both classes in the training cases of every fold: raises ValueError else.
    """
    spaces = _spaces(features, components)
    repeats, n = fold.shape
    count = int(fold.max()) + 1
    score, right, control = np.empty((repeats, n)), np.empty((repeats, n)), np.full((repeats, n), np.nan)
    training = np.empty((repeats, count))
    for r in range(repeats):
        for f in range(count):
            out = fold[r] == f
            seen = np.flatnonzero(~out)
            if not 0 < label[seen].sum() < seen.size:
                raise ValueError("a fold leaves only one class to learn from: too few groups for that many folds")
            space = spaces(seen, np.flatnonzero(out))
            found = space.fit(label)
            score[r, out], training[r, f] = found.held_out, auroc(found.own, label[seen], np.ones((1, seen.size)))[0]
            cut = best_thresholds(found.own, label[seen], np.ones((1, seen.size), bool))[0]
            right[r, out] = (found.held_out > cut) == (label[out] == 1)
            if permuted is not None and 0 < permuted[r, seen].sum() < seen.size:
                control[r, out] = space.fit(permuted[r]).held_out
    each = [_area(control[r], permuted[r]) for r in range(repeats)] if permuted is not None else [np.nan] * repeats
    return Probed(score, right, training, np.array(each))


def probe_score(score: Array, label: Labels, fold: Folds) -> Probed:
    """A score (n,) that needs no training, such as a margin, given the same threshold folds as a probe."""
    n, count = score.size, int(fold.max()) + 1
    right, training = np.empty(fold.shape), np.empty((fold.shape[0], count))
    for r in range(fold.shape[0]):
        others = fold[r][None, :] != np.arange(count)[:, None]
        cuts = best_thresholds(score, label, others)
        right[r] = (score > cuts[fold[r]]) == (label == 1)
        training[r] = auroc(score, label, others.astype(np.float64))
    return Probed(np.broadcast_to(score, (fold.shape[0], n)), right, training, np.full(fold.shape[0], np.nan))


def chosen(layers: Sequence[Probed], fold: Folds) -> tuple[Probed, NDArray[np.int64]]:
    """(the best layer of each fold, which it was (R, F)): chosen by training cases alone, so held-out values are not flattered."""
    training = np.stack([layer.training for layer in layers])  # (L, R, F)
    best = training.argmax(axis=0)
    at = np.take_along_axis(best, fold, axis=1)  # (R, n)

    def taken(values: list[Array]) -> Array:
        return np.asarray(np.take_along_axis(np.stack(values), at[None], axis=0)[0])

    picked = Probed(
        taken([layer.score for layer in layers]),
        taken([layer.right for layer in layers]),
        np.asarray(training.max(axis=0)),
        np.asarray(np.stack([layer.control for layer in layers]).mean(axis=0)),
    )
    return picked, best


@dataclass(frozen=True, slots=True)
class _Fit:
    own: Array  # leave-one-out scores of the training cases
    held_out: Array


class _Space:
    """The principal components of one training fold, and the held-out cases in them."""

    def __init__(self, kernel: Array, seen: NDArray[np.int64], out: NDArray[np.int64], components: int) -> None:
        from scipy.linalg import eigh

        self.seen = seen
        inside = kernel[np.ix_(seen, seen)]
        mean = inside.mean(axis=1)
        grand = float(mean.mean())
        centred = inside - mean[:, None] - mean[None, :] + grand
        top = min(components, seen.size - 1)
        values, vectors = eigh(centred, subset_by_index=[seen.size - top, seen.size - 1])
        kept = values > max(float(values[-1]), 1e-30) * 1e-7
        self.variance, self.vectors = values[kept], vectors[:, kept]
        across = kernel[np.ix_(out, seen)]
        self.out = (across - across.mean(axis=1)[:, None] - mean[None, :] + grand) @ self.vectors  # (m, k), times √variance

    @classmethod
    def of_features(cls, x: Array, seen: NDArray[np.int64], out: NDArray[np.int64], components: int) -> _Space:
        """The same from features (n, d), d below the number of training cases."""
        from scipy.linalg import eigh

        made = cls.__new__(cls)
        made.seen, mean = seen, x[seen].mean(axis=0)
        inside = x[seen] - mean
        d = x.shape[1]
        values, directions = eigh(inside.T @ inside, subset_by_index=[max(0, d - components), d - 1])
        kept = values > max(float(values[-1]), 1e-30) * 1e-7
        made.variance = values[kept]
        made.vectors = inside @ directions[:, kept] / np.sqrt(made.variance)
        made.out = (x[out] - mean) @ directions[:, kept] * np.sqrt(made.variance)
        return made

    def fit(self, label: Labels) -> _Fit:
        """Ridge of the label ±1 on the components; the penalty with the least squared leave-one-out error."""
        y = np.where(label[self.seen] == 1, 1.0, -1.0)
        level = y.mean()
        along = self.vectors.T @ (y - level)  # (k,)
        if not along.size:
            return _Fit(np.zeros(y.size), np.zeros(self.out.shape[0]))
        penalty = PENALTIES * float(self.variance.mean())
        kept = self.variance[:, None] / (self.variance[:, None] + penalty)  # (k, penalties)
        fitted = level + self.vectors @ (along[:, None] * kept)
        leverage = 1 / y.size + (self.vectors**2) @ kept
        missed = (y[:, None] - fitted) / np.maximum(1 - leverage, 1e-6)
        best = int((missed**2).mean(axis=0).argmin())
        own = y - missed[:, best]
        held_out = level + self.out @ (along / (self.variance + penalty[best]))
        spread = max(float(own.std()), 1e-12)
        return _Fit((own - own.mean()) / spread, (held_out - own.mean()) / spread)


def _area(score: Array, label: Labels) -> float:
    known = np.isfinite(score)
    return float(auroc(score[known], label[known], np.ones((1, int(known.sum()))))[0]) if known.any() else np.nan
