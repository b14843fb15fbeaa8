"""How bright and how contrasty the image is shown: level, contrast, window and gamma. Grey images stay grey."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from palpate.perturbations._reference import EVERY, FIVE, MRI, XRAY, picture, pixels_of

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

BRIGHTNESS = {1: 20.0, 2: 45.0, 3: 75.0, 4: 110.0, 5: 150.0}
"""Severity → by how much every value rises or falls, of 255."""
CONTRAST = {1: 0.7, 2: 0.5, 3: 0.33, 4: 0.2, 5: 0.1}
"""Severity → what is left of every value's distance from the image's mean."""
WINDOW = {1: 0.8, 2: 0.6, 3: 0.42, 4: 0.27, 5: 0.15}
"""Severity → share of the scale of values that is still told apart; below it is black, above it white."""
GAMMA = {1: 1.3, 2: 1.7, 3: 2.4, 4: 3.5, 5: 5.5}
"""Severity → exponent of the values as shares of 255."""


class Brightness:
    """``brightness``: everything brighter or darker (by chance), what leaves the scale is lost."""

    name: ClassVar[str] = "brightness"
    severities: ClassVar[tuple[int, ...]] = FIVE
    version: ClassVar[int] = 1
    sets: ClassVar[tuple[str, ...]] = EVERY

    def apply(self, image: Image, severity: int, rng: np.random.Generator) -> Image | None:
        """The shifted image. Raises KeyError for a severity outside 1–5."""
        return picture(pixels_of(image) + (1 if rng.random() < 0.5 else -1) * BRIGHTNESS[severity])


class Contrast:
    """``contrast``: values drawn towards the image's mean brightness."""

    name: ClassVar[str] = "contrast"
    severities: ClassVar[tuple[int, ...]] = FIVE
    version: ClassVar[int] = 1
    sets: ClassVar[tuple[str, ...]] = EVERY

    def apply(self, image: Image, severity: int, rng: np.random.Generator) -> Image | None:
        """The flat image. Raises KeyError for a severity outside 1–5."""
        pixels = pixels_of(image)
        mean = pixels.mean()
        return picture(mean + (pixels - mean) * CONTRAST[severity])


class Window:
    """``window``: a narrower display window, mis-set: its level is near the median of what is not background, give or take."""

    name: ClassVar[str] = "window"
    severities: ClassVar[tuple[int, ...]] = FIVE
    version: ClassVar[int] = 1
    sets: ClassVar[tuple[str, ...]] = (MRI, XRAY)

    def apply(self, image: Image, severity: int, rng: np.random.Generator) -> Image | None:
        """The windowed image. Raises KeyError for a severity outside 1–5."""
        import numpy as np

        pixels = pixels_of(image)
        shown = pixels[pixels > BACKGROUND]
        wanted = (float(np.median(shown)) if shown.size else MIDDLE) + rng.uniform(-OFF_LEVEL, OFF_LEVEL)
        # The wider the window, the nearer its level to the middle: the full one is the image as it is.
        level, width = MIDDLE + (1 - WINDOW[severity]) * (wanted - MIDDLE), 255.0 * WINDOW[severity]
        return picture((pixels - (level - width / 2)) * np.float32(255.0 / width))


class Gamma:
    """``gamma``: a curved display: dark parts crushed, bright ones spread."""

    name: ClassVar[str] = "gamma"
    severities: ClassVar[tuple[int, ...]] = FIVE
    version: ClassVar[int] = 1
    sets: ClassVar[tuple[str, ...]] = EVERY

    def apply(self, image: Image, severity: int, rng: np.random.Generator) -> Image | None:
        """The curved image. Raises KeyError for a severity outside 1–5."""
        import numpy as np

        return picture(255.0 * np.power(pixels_of(image) / 255.0, np.float32(GAMMA[severity])))


BACKGROUND = 20.0  # values up to this are air, or the frame
OFF_LEVEL = 25.0  # of 255
MIDDLE = 127.5

PARTS = (Brightness(), Contrast(), Gamma(), Window())
