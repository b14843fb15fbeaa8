"""Are the probabilities usable? Brier score, calibration line, Platt's map and the expected calibration error with its null."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from palpate.stats.influence import Linear, within
from palpate.stats.resampling import Array, cluster_sums

NEWTON_STEPS = 30
LARGEST_SLOPE = 1e3
"""In units of the score's standard deviation: beyond it the classes are taken as separated and the fit as undefined."""
FITTED_AT_ONCE = 250_000
"""Values of fits worked on together: few enough to stay in the processor's cache."""


def logistic(score: Array) -> Array:
    """1/(1 + e^−score), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * np.asarray(score, np.float64))))


def logit_fit(score: Array, target: Array, weight: Array) -> tuple[Array, Array]:
    """(K,) slope and intercept of logit P(y=1) = a + b · score, fitted K times with ``weight`` (K, n) by Newton's method.

    ``score`` (n,), or (K, n) one for each fit; ``target`` (K, n) in [0, 1]. NaN where a fit has no finite solution (classes
    separated, or one class only).
    """
    rows = np.broadcast_to(score, weight.shape)
    b, a, step = (np.full(weight.shape[0], np.nan) for _ in range(3))
    scale = np.array([float(row[own].std()) if own.any() else 0.0 for row, own in zip(rows, weight > 0, strict=True)])
    live = np.flatnonzero(
        scale > 1e-12 * np.abs(rows).max(axis=1, initial=0.0)
    )  # those still moving; equal scores differ by rounding
    b[live] = a[live] = 0.0
    x = np.where(weight[live] > 0, rows[live], 0.0) / scale[live, None]
    w, y = weight[live], target[live]
    for _ in range(NEWTON_STEPS):
        if not live.size:
            break
        p = logistic(a[live, None] + b[live, None] * x)
        residual, v = w * (y - p), w * p * (1 - p)
        g0, g1 = residual.sum(axis=1), (residual * x).sum(axis=1)
        vx = v * x
        h00, h01, h11 = v.sum(axis=1), vx.sum(axis=1), (vx * x).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            determinant = h00 * h11 - h01 * h01
            da, db = (h11 * g0 - h01 * g1) / determinant, (h00 * g1 - h01 * g0) / determinant
        a[live], b[live] = a[live] + np.clip(da, -4, 4), b[live] + np.clip(db, -4, 4)
        step[live] = np.abs(da) + np.abs(db)
        moving = (np.abs(da) > 1e-10) | (np.abs(db) > 1e-10)
        if not moving.all():
            live, x, w, y = live[moving], x[moving], w[moving], y[moving]
    with np.errstate(invalid="ignore", divide="ignore"):
        finite = np.isfinite(a) & np.isfinite(b) & (np.abs(b) < LARGEST_SLOPE) & (step < 1e-6)
        return np.where(finite, b / scale, np.nan), np.where(finite, a, np.nan)


def calibration_line(
    score: Array, label: NDArray[np.int8], used: NDArray[np.bool_], cluster: NDArray[np.int64], clusters: int
) -> tuple[Linear, Linear]:
    """(P,) slope and intercept of the calibration line of each column of log odds ``score`` (n, P), with influences (sandwich).

    Slope 1 and intercept 0: calibrated; slope below 1: overconfident (Cox 1958). NaN where the classes are separated, or all
    scores alike. The bias of maximum likelihood to first order, I⁻¹ Σ h (p − ½) x with h the leverage (Cordeiro & McCullagh
    1991), is taken off: at 100 cases slopes come out some 4 % too steep, and calibrated margins were called underconfident twice
    as often as they may be.
    """
    x, weight, y = np.where(used, score, 0.0), used.astype(np.float64), label.astype(np.float64)[:, None]
    slope, intercept = logit_fit(x.T, np.broadcast_to(y.T, x.T.shape), weight.T)
    mean = logistic(intercept + slope * x)
    v = weight * mean * (1 - mean)
    h11, h01, h00 = (v * x * x).sum(axis=0), (v * x).sum(axis=0), v.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        determinant = h11 * h00 - h01 * h01
        # One score for all cases, as on the same null image, is a line through a point.
        determinant = np.where(determinant > 1e-9 * h11 * h00, determinant, np.nan)
        inverse = np.array([[h00, -h01], [-h01, h11]]) / determinant  # (2, 2, P)
    leverage = v * (inverse[0, 0] * x * x + 2 * inverse[0, 1] * x + inverse[1, 1])
    pull = leverage * (mean - 0.5)
    bias = _through(inverse, np.stack([(pull * x).sum(axis=0), pull.sum(axis=0)]))
    residual = weight * (y - mean)
    gradient = np.stack([residual * x, residual], axis=1)  # (n, 2, P)
    gradient = within(gradient, label, used=used[:, None])  # how many of each class is no accident
    influence = _through(inverse, cluster_sums(gradient, cluster, clusters))
    return Linear(slope - bias[0], influence[:, 0]), Linear(intercept - bias[1], influence[:, 1])


def _through(matrix: Array, vectors: Array) -> Array:
    """(…, 2, P) products of a (2, 2, P) symmetric matrix with (…, 2, P) vectors."""
    return np.asarray(np.einsum("ijp,...jp->...ip", matrix, vectors))


def platt_out_of_fold(score: Array, label: NDArray[np.int8], used: NDArray[np.bool_], fold: NDArray[np.int64]) -> Array:
    """(n, P) probability of each case by Platt's map (1999) fitted on the other folds; NaN where not used or not fitted.

    Targets are Platt's (N₊+1)/(N₊+2) and 1/(N₋+2), so that separated classes still give a finite map.
    """
    folds = int(fold.max()) + 1 if fold.size else 0
    training = fold[None, :] != np.arange(folds)[:, None]  # (folds, n)
    block = max(1, FITTED_AT_ONCE // max(training.size, 1))
    columns = [slice(start, start + block) for start in range(0, score.shape[1], block)]
    return np.concatenate([_platt(score[:, c], label, used[:, c], fold, training) for c in columns], axis=1)


def _platt(
    score: Array, label: NDArray[np.int8], used: NDArray[np.bool_], fold: NDArray[np.int64], training: NDArray[np.bool_]
) -> Array:
    weight = (training[None] & used.T[:, None]).astype(np.float64)  # (P, folds, n)
    up, down = weight[..., label == 1].sum(axis=-1), weight[..., label == 0].sum(axis=-1)
    target = np.where(label == 1, ((up + 1) / (up + 2))[..., None], (1 / (down + 2))[..., None])
    weight *= ((up > 0) & (down > 0))[..., None]
    x = np.where(used, score, 0.0)
    flat = (up.size, score.shape[0])
    rows = np.broadcast_to(x.T[:, None], weight.shape)
    slope, intercept = (c.reshape(up.shape).T for c in logit_fit(rows.reshape(flat), target.reshape(flat), weight.reshape(flat)))
    return np.where(used, logistic(intercept[fold] + slope[fold] * x), np.nan)


@dataclass(frozen=True, slots=True)
class CalibrationError:
    """ECE, and what it would be were the probabilities right: mean and central 95 % of ``null``.

    ``signed`` (n,): each case's p − y, times the sign of its bin's sum; their mean is the ECE.
    """

    value: float
    null: float
    null_low: float
    null_high: float
    signed: Array


def ece(probability: Array, label: Array, bins: int = 10, *, equal: str = "mass") -> float:
    """Expected calibration error Σ_b |Σ_{i in b} (p_i − y_i)| / n, bins of ``equal`` "mass" (cases) or "width" (probability).

    Never 0 for finite data: a perfectly calibrated model has about √(2/π) · E√(p(1−p)) · √(bins/n).
    """
    gap, size = np.asarray(probability) - np.asarray(label), np.asarray(probability).size
    if size == 0:
        return float("nan")
    if equal == "mass":
        edges = np.linspace(0, size, min(bins, size) + 1).round().astype(int)[:-1]
        sums = np.add.reduceat(gap[np.argsort(probability, kind="stable")], edges)
    else:
        place = np.minimum((np.asarray(probability) * bins).astype(int), bins - 1)
        sums = np.bincount(place, weights=gap, minlength=bins)
    return float(np.abs(sums).sum() / size)


def equal_bins(probability: Array, used: NDArray[np.bool_], bins: int = 10) -> NDArray[np.int64]:
    """The bin of each value (any shape) among those used, from 0, lowest first, with about equally many in each; −1 where not used.

    Equal values are never parted, so that the order of the cases makes no curve: there may be fewer bins.
    """
    place = np.full(probability.shape, -1, np.int64)
    values = probability[used]
    if values.size:
        ordered = np.sort(values)
        inner = (np.arange(1, min(bins, values.size)) * values.size / min(bins, values.size)).astype(int)
        _, place[used] = np.unique(np.searchsorted(ordered[inner], values, side="right"), return_inverse=True)
    return place


def calibration_error(probability: Array, label: Array, draws: int, rng: np.random.Generator, bins: int = 10) -> CalibrationError:
    """ECE in equal-mass bins with its null y ~ Bernoulli(p), exact by case up to 50 cases a bin and normal by bin above."""
    size = probability.size
    order = np.argsort(probability, kind="stable")
    p, y = probability[order], label[order]
    edges = np.linspace(0, size, min(bins, size) + 1).round().astype(int)[:-1]
    if size <= 50 * bins:
        gaps = np.add.reduceat(p - (rng.random((draws, size)) < p), edges, axis=1)
    else:
        gaps = rng.standard_normal((draws, edges.size)) * np.sqrt(np.add.reduceat(p * (1 - p), edges))
    null = np.abs(gaps).sum(axis=1) / size
    low, high = np.quantile(null, [0.025, 0.975])
    sums = np.add.reduceat(p - y, edges)
    signed = np.empty(size)
    signed[order] = (p - y) * np.repeat(np.sign(sums), np.diff(np.append(edges, size)))
    return CalibrationError(float(np.abs(sums).sum() / size), float(null.mean()), float(low), float(high), signed)
