"""White Gaussian noise, as of a sensor or a low dose, in five strengths."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from palpate.perturbations._reference import EVERY, FIVE, REFERENCE_SIDE

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

STANDARD_DEVIATION = {1: 10.0, 2: 20.0, 3: 35.0, 4: 55.0, 5: 80.0}
"""Severity → standard deviation on the 0–255 scale, for an image whose shorter side has 224 pixels."""


class GaussianNoise:
    """``gaussian_noise``: independent normal noise added to each channel of each pixel, clipped to 0–255.

    Strength is defined at a shorter side of 224 pixels, the size most vision towers see. A larger image is shrunk to such a
    size before it is looked at, which averages noise away in proportion to the side; so the standard deviation grows in that
    proportion, and the noise that arrives is the same. Smaller images get the standard deviation as it is: enlarging
    them does not average.
    """

    name: ClassVar[str] = "gaussian_noise"
    severities: ClassVar[tuple[int, ...]] = FIVE
    version: ClassVar[int] = 1
    sets: ClassVar[tuple[str, ...]] = EVERY

    def apply(self, image: Image, severity: int, rng: np.random.Generator) -> Image | None:
        """The noisy image. Raises KeyError for a severity outside 1–5."""
        import numpy as np
        from PIL import Image as PillowImage

        pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
        scale = max(1.0, min(image.size) / REFERENCE_SIDE)
        noise = rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(STANDARD_DEVIATION[severity] * scale)
        return PillowImage.fromarray(np.rint(np.clip(pixels + noise, 0.0, 255.0)).astype(np.uint8))


PARTS = (GaussianNoise(),)
