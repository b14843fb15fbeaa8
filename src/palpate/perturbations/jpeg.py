"""JPEG compression, in five qualities."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, ClassVar

from palpate.perturbations._reference import EVERY, FIVE, at_reference

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

QUALITY = {1: 35, 2: 18, 3: 10, 4: 5, 5: 1}
"""Severity → libjpeg's quality, 1 to 100."""


class Jpeg:
    """``jpeg``: compressed at the reference side and decoded, so that a block is 8 of 224 pixels whatever the file's size."""

    name: ClassVar[str] = "jpeg"
    severities: ClassVar[tuple[int, ...]] = FIVE
    version: ClassVar[int] = 1
    sets: ClassVar[tuple[str, ...]] = EVERY

    def apply(self, image: Image, severity: int, rng: np.random.Generator) -> Image | None:
        """The compressed image. Raises KeyError for a severity outside 1–5."""
        quality = QUALITY[severity]

        def compressed(small: Image) -> Image:
            from PIL import Image as PillowImage

            buffer = io.BytesIO()
            small.save(buffer, "JPEG", quality=quality)
            with PillowImage.open(io.BytesIO(buffer.getvalue())) as found:
                return found.convert("RGB")

        return at_reference(image.convert("RGB"), compressed)


PARTS = (Jpeg(),)
