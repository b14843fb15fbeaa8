"""What lies on the skin in a dermatoscopic image: hair, and a ruler along one edge."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from palpate.perturbations._reference import DERMATOSCOPY, FIVE, picture, pixels_of, scale_of

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

HAIRS = {1: 5, 2: 14, 3: 30, 4: 60, 5: 120}
"""Severity → how many hairs."""
HAIR_WIDTH = 2.0  # pixels at the reference side
RULER_HEIGHT = {1: 0.07, 2: 0.13, 3: 0.20, 4: 0.28, 5: 0.37}
"""Severity → share of the shorter side the ruler covers."""
OVERSAMPLING = 3  # drawn larger and shrunk: smooth edges at any size


class Hair:
    """``hair``: dark, slightly curved strands across the image."""

    name: ClassVar[str] = "hair"
    severities: ClassVar[tuple[int, ...]] = FIVE
    version: ClassVar[int] = 1
    sets: ClassVar[tuple[str, ...]] = (DERMATOSCOPY,)

    def apply(self, image: Image, severity: int, rng: np.random.Generator) -> Image | None:
        """The hairy image. Raises KeyError for a severity outside 1–5."""
        import numpy as np
        from PIL import Image as PillowImage
        from PIL import ImageDraw

        size = (image.width * OVERSAMPLING, image.height * OVERSAMPLING)
        cover = PillowImage.new("L", size)
        pen = ImageDraw.Draw(cover)
        width = max(1, round(HAIR_WIDTH * scale_of(image) * OVERSAMPLING))
        for _ in range(HAIRS[severity]):
            pen.line(_strand(rng, size), fill=round(255 * rng.uniform(0.75, 1.0)), width=width)
        share = np.asarray(cover.resize(image.size, PillowImage.Resampling.BOX), np.float32)[..., None] / 255.0
        colour = np.array([45.0, 30.0, 24.0], np.float32) * np.float32(rng.uniform(0.5, 1.5))
        return picture(pixels_of(image) * (1 - share) + colour * share)


def _strand(rng: np.random.Generator, size: tuple[int, int]) -> list[tuple[float, float]]:
    """Points along one hair, a quadratic Bézier curve half to one and a half sides long."""
    x, y = rng.uniform(-0.1, 1.1, 2)
    angle, length, bend = rng.uniform(0, 2 * math.pi), rng.uniform(0.5, 1.5), rng.normal(0, 0.15)
    dx, dy = length * math.cos(angle), length * math.sin(angle)
    points = []
    for t in (i / 24 for i in range(25)):
        off = 2 * t * (1 - t) * bend
        points.append(((x + dx * t - dy * off) * size[0], (y + dy * t + dx * off) * size[1]))
    return points


class Ruler:
    """``ruler``: a white strip with ticks along a random edge, covering more of the image with each severity."""

    name: ClassVar[str] = "ruler"
    severities: ClassVar[tuple[int, ...]] = FIVE
    version: ClassVar[int] = 1
    sets: ClassVar[tuple[str, ...]] = (DERMATOSCOPY,)

    def apply(self, image: Image, severity: int, rng: np.random.Generator) -> Image | None:
        """The image under a ruler. Raises KeyError for a severity outside 1–5."""
        import numpy as np

        turns = int(rng.integers(4))
        pixels = np.rot90(pixels_of(image), turns).copy()
        height, width = pixels.shape[:2]
        deep = max(1, round(RULER_HEIGHT[severity] * min(height, width)))
        tick = max(1, round(1.5 * scale_of(image)))
        pixels[:deep] = 236.0
        for number, at in enumerate(np.arange(0, width, max(2.0, min(height, width) / 32))):
            long = deep if number % 5 == 0 else deep // 2
            pixels[: max(1, round(0.7 * long)), int(at) : int(at) + tick] = 25.0
        return picture(np.rot90(pixels, -turns))


PARTS = (Hair(), Ruler())
