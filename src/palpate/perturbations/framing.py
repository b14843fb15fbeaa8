"""Where the image is cut and how it lies: crop, rotation and mirror image."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from palpate.perturbations._reference import DERMATOSCOPY, EVERY, FIVE, HISTOLOGY, MRI, pixels_of

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

KEPT = {1: 0.92, 2: 0.82, 3: 0.70, 4: 0.56, 5: 0.40}
"""Severity → share of either side that is kept."""
DEGREES = {1: 8.0, 2: 18.0, 3: 30.0, 4: 50.0, 5: 80.0}
"""Severity → angle, to either side by chance."""


class Crop:
    """``crop``: a random part of the image, enlarged to its size. A lesion at the edge may be cut away."""

    name: ClassVar[str] = "crop"
    severities: ClassVar[tuple[int, ...]] = FIVE
    version: ClassVar[int] = 1
    sets: ClassVar[tuple[str, ...]] = EVERY

    def apply(self, image: Image, severity: int, rng: np.random.Generator) -> Image | None:
        """The enlarged part. Raises KeyError for a severity outside 1–5."""
        from PIL import Image as PillowImage

        width, height = (KEPT[severity] * side for side in image.size)
        left, top = (image.width - width) * rng.random(), (image.height - height) * rng.random()
        box = (left, top, left + width, top + height)
        return image.convert("RGB").resize(image.size, PillowImage.Resampling.BICUBIC, box=box)


class Rotation:
    """``rotation``: turned about its centre; the corners take the median colour of the image's edge."""

    name: ClassVar[str] = "rotation"
    severities: ClassVar[tuple[int, ...]] = FIVE
    version: ClassVar[int] = 1
    sets: ClassVar[tuple[str, ...]] = EVERY

    def apply(self, image: Image, severity: int, rng: np.random.Generator) -> Image | None:
        """The turned image. Raises KeyError for a severity outside 1–5."""
        import numpy as np
        from PIL import Image as PillowImage

        pixels = pixels_of(image)
        edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        red, green, blue = (round(float(v)) for v in np.median(edge, axis=0))
        angle = DEGREES[severity] * (1 if rng.random() < 0.5 else -1)
        return image.convert("RGB").rotate(angle, PillowImage.Resampling.BICUBIC, fillcolor=(red, green, blue))


class Flip:
    """``flip``: the mirror image, left for right. For tasks whose label a mirror leaves alone, and images that have no own left.

    A study refuses it for a task that says ``mirror_changes_label = true``; it is in no set for radiographs, where the heart
    has its side.
    """

    name: ClassVar[str] = "flip"
    severities: ClassVar[tuple[int, ...]] = (0,)
    version: ClassVar[int] = 1
    sets: ClassVar[tuple[str, ...]] = (MRI, DERMATOSCOPY, HISTOLOGY)

    def apply(self, image: Image, severity: int, rng: np.random.Generator) -> Image | None:
        """The mirrored image."""
        from PIL.Image import Transpose

        return image.convert("RGB").transpose(Transpose.FLIP_LEFT_RIGHT)


PARTS = (Crop(), Flip(), Rotation())
