"""The noise of counting photons (X-ray, light) and of the magnitude of a complex signal (MRI), in five strengths."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from palpate.perturbations._reference import EVERY, FIVE, MRI, as_rgb, pixels_of, planes_of, scale_of

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

PHOTONS = {1: 130.0, 2: 55.0, 3: 24.0, 4: 10.0, 5: 4.0}
"""Severity → photons counted in a white pixel at the reference side."""
STANDARD_DEVIATION = {1: 10.0, 2: 20.0, 3: 35.0, 4: 55.0, 5: 80.0}
"""Severity → standard deviation of either part of the complex signal, on the 0–255 scale at the reference side."""


class PoissonNoise:
    """``poisson_noise``: each pixel counts photons in proportion to its brightness, fewer with each severity.

    A larger image counts fewer in each of its pixels, so that as many reach what the model sees. Grey images stay grey.
    """

    name: ClassVar[str] = "poisson_noise"
    severities: ClassVar[tuple[int, ...]] = FIVE
    version: ClassVar[int] = 1
    sets: ClassVar[tuple[str, ...]] = tuple(m for m in EVERY if m != MRI)

    def apply(self, image: Image, severity: int, rng: np.random.Generator) -> Image | None:
        """The noisy image. Raises KeyError for a severity outside 1–5."""
        import numpy as np

        photons = PHOTONS[severity] / max(1.0, scale_of(image)) ** 2
        counted = rng.poisson(planes_of(pixels_of(image)).astype(np.float64) * (photons / 255.0))
        return as_rgb((counted * (255.0 / photons)).astype(np.float32))


class RicianNoise:
    """``rician_noise``: the magnitude of the signal with normal noise in its real and imaginary part (Gudbjartsson & Patz 1995).

    Dark regions grow brighter, as the background of a noisy MR image does. Standard deviations grow with the image's side like
    those of ``gaussian_noise``; grey images stay grey.
    """

    name: ClassVar[str] = "rician_noise"
    severities: ClassVar[tuple[int, ...]] = FIVE
    version: ClassVar[int] = 1
    sets: ClassVar[tuple[str, ...]] = (MRI,)

    def apply(self, image: Image, severity: int, rng: np.random.Generator) -> Image | None:
        """The noisy image. Raises KeyError for a severity outside 1–5."""
        import numpy as np

        signal = planes_of(pixels_of(image))
        sd = np.float32(STANDARD_DEVIATION[severity] * max(1.0, scale_of(image)))
        real, imaginary = (rng.standard_normal(signal.shape, dtype=np.float32) * sd for _ in range(2))
        return as_rgb(np.hypot(signal + real, imaginary))


PARTS = (PoissonNoise(), RicianNoise())
