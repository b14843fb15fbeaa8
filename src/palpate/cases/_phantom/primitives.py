"""Drawing in float32 on the square [−1, 1]²: smooth noise, soft-edged shapes, mixing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
F = np.float32


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawn phantom: ``image`` (size, size, 3) float in [0, 1], ``lesion`` (size, size) how much of each pixel is lesion,
    and what was drawn (``facts``)."""

    image: Plane
    lesion: Plane
    facts: dict[str, str | int | float | bool | None]


@lru_cache(maxsize=8)
def grid(size: int) -> tuple[Plane, Plane]:
    """(size, size) x to the right and y downwards, pixel centres."""
    line = ((np.arange(size) + 0.5) / size * 2 - 1).astype(F)
    x, y = np.meshgrid(line, line)
    return x, y


@lru_cache(maxsize=64)
def _spline(size: int, cells: int) -> Plane:
    """(size, cells + 3) cubic B-spline interpolation: noise is two small matrix products instead of a filter."""
    t = (np.arange(size) + 0.5) / size * cells
    at = np.floor(t).astype(int)
    f = t - at
    weights = ((1 - f) ** 3 / 6, (3 * f**3 - 6 * f**2 + 4) / 6, (-3 * f**3 + 3 * f**2 + 3 * f + 1) / 6, f**3 / 6)
    matrix = np.zeros((size, cells + 3), F)
    for step, weight in enumerate(weights):
        matrix[np.arange(size), at + step] += weight.astype(F)
    return matrix


def smooth_noise(rng: np.random.Generator, size: int, cells: int) -> Plane:
    """(size, size) value noise of about unit variance with ``cells`` cells across."""
    spline = _spline(size, cells)
    knots = rng.standard_normal((cells + 3, cells + 3), dtype=F)
    return np.asarray((spline @ knots @ spline.T) * F(1.9), F)


def layered_noise(rng: np.random.Generator, size: int, cells: int, layers: int = 3, gain: float = 0.6) -> Plane:
    """Noise of several scales, each twice as fine and ``gain`` times as strong as the last."""
    total = smooth_noise(rng, size, cells)
    for layer in range(1, layers):
        total = total + F(gain**layer) * smooth_noise(rng, size, cells * 2**layer)
    return total


def inside(distance: Plane, width: float) -> Plane:
    """0 to 1 across a soft edge of half-width ``width`` where ``distance`` turns positive."""
    t = np.clip(distance * F(0.5 / width) + F(0.5), 0, 1)
    soft: Plane = t * t * (3 - 2 * t)
    return soft


def radius(x: Plane, y: Plane, centre: tuple[float, float], axes: tuple[float, float], turn: float = 0.0) -> Plane:
    """Elliptic radius: 1 on the ellipse, less inside."""
    c, s = F(math.cos(turn)), F(math.sin(turn))
    dx, dy = x - F(centre[0]), y - F(centre[1])
    u, v = (c * dx + s * dy) * F(1 / axes[0]), (c * dy - s * dx) * F(1 / axes[1])
    distance: Plane = np.sqrt(u * u + v * v)
    return distance


def mix(under: Plane | F, over: Plane | F, share: Plane | F) -> Plane:
    """``over`` laid on ``under``, opaque where ``share`` is 1."""
    mixed: Plane = np.asarray(under + (np.asarray(over, F) - under) * share, F)
    return mixed


def grey(image: Plane) -> Plane:
    """(size, size) → (size, size, 3)."""
    return np.repeat(image[..., None], 3, axis=2)


def laterality(x: float) -> str:
    """Radiological convention: the patient's right is on the image's left."""
    return "right" if x < 0 else "left"


def size_word(value: float, small: float, large: float) -> str:
    """small, medium or large."""
    return "small" if value < small else "large" if value > large else "medium"
