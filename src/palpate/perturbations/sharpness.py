"""Loss of sharpness: out of focus, moved while exposed, too few pixels. Lengths are at a shorter side of 224 pixels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from palpate.perturbations._reference import EVERY, FIVE, REFERENCE_SIDE, as_rgb, picture, pixels_of, planes_of, scale_of

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from palpate.perturbations._reference import Pixels

BLUR_SD = {1: 1.0, 2: 2.0, 3: 3.5, 4: 5.5, 5: 8.0}
"""Severity → standard deviation of the Gaussian, pixels at the reference side."""
MOTION_LENGTH = {1: 6.0, 2: 12.0, 3: 20.0, 4: 30.0, 5: 44.0}
"""Severity → length of the path, pixels at the reference side."""
SHRINKING = {1: 2.0, 2: 3.5, 3: 5.5, 4: 8.0, 5: 12.0}
"""Severity → how many times fewer pixels a side."""


class Blur:
    """``blur``: a Gaussian, as of a lens out of focus."""

    name: ClassVar[str] = "blur"
    severities: ClassVar[tuple[int, ...]] = FIVE
    version: ClassVar[int] = 1
    sets: ClassVar[tuple[str, ...]] = EVERY

    def apply(self, image: Image, severity: int, rng: np.random.Generator) -> Image | None:
        """The blurred image. Raises KeyError for a severity outside 1–5."""
        from scipy.ndimage import gaussian_filter

        sd = BLUR_SD[severity] * scale_of(image)
        return as_rgb(gaussian_filter(planes_of(pixels_of(image)), (sd, sd, 0), mode="nearest"))


class Motion:
    """``motion``: the mean along a straight path in a random direction, as of a patient or camera that moved."""

    name: ClassVar[str] = "motion"
    severities: ClassVar[tuple[int, ...]] = FIVE
    version: ClassVar[int] = 1
    sets: ClassVar[tuple[str, ...]] = EVERY

    def apply(self, image: Image, severity: int, rng: np.random.Generator) -> Image | None:
        """The smeared image. Raises KeyError for a severity outside 1–5."""
        import numpy as np
        from scipy.signal import fftconvolve

        kernel = _path(MOTION_LENGTH[severity] * scale_of(image), rng.uniform(0, math.pi))
        reach = kernel.shape[0] // 2
        planes = np.pad(planes_of(pixels_of(image)), ((reach, reach), (reach, reach), (0, 0)), mode="edge")
        return as_rgb(fftconvolve(planes, kernel[..., None], mode="valid", axes=(0, 1)).astype(np.float32))


def _path(length: float, angle: float) -> Pixels:
    """(2r + 1, 2r + 1) weights, of sum 1, of a straight path through the middle, each point shared among its four pixels."""
    import numpy as np

    reach = math.ceil(length / 2) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    along = np.linspace(-0.5, 0.5, max(3, 4 * math.ceil(length))) * length
    y, x = reach + along * math.sin(angle), reach + along * math.cos(angle)
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    for down in (0, 1):
        for right in (0, 1):
            share = np.abs(1 - down - (y - top)) * np.abs(1 - right - (x - left))
            np.add.at(kernel, (top + down, left + right), share)
    return np.asarray(kernel / kernel.sum(), np.float32)


class Downsampling:
    """``downsampling``: fewer pixels, enlarged again. An image larger than the reference side is shrunk from that side on."""

    name: ClassVar[str] = "downsampling"
    severities: ClassVar[tuple[int, ...]] = FIVE
    version: ClassVar[int] = 1
    sets: ClassVar[tuple[str, ...]] = EVERY

    def apply(self, image: Image, severity: int, rng: np.random.Generator) -> Image | None:
        """The coarse image. Raises KeyError for a severity outside 1–5."""
        from PIL import Image as PillowImage

        shorter = min(image.size)
        factor = SHRINKING[severity] * max(1.0, shorter / REFERENCE_SIDE)
        small = image.convert("RGB").resize(
            (max(1, round(image.width / factor)), max(1, round(image.height / factor))), PillowImage.Resampling.BOX
        )
        return picture(pixels_of(small.resize(image.size, PillowImage.Resampling.BICUBIC)))


PARTS = (Blur(), Downsampling(), Motion())
