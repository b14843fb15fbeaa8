"""The image as it is, and three ways of showing nothing: what the answers to them say about image use is the measures' matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from palpate.perturbations._reference import NULL

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

MID_GREY = 128


class Unchanged:
    """``none``: the image as it is."""

    name: ClassVar[str] = "none"
    severities: ClassVar[tuple[int, ...]] = (0,)
    version: ClassVar[int] = 1

    def apply(self, image: Image, severity: int, rng: np.random.Generator) -> Image | None:
        """The same pixels."""
        return image


class Blank:
    """``blank``: one mid-grey (128) image of the same size."""

    name: ClassVar[str] = "blank"
    severities: ClassVar[tuple[int, ...]] = (0,)
    version: ClassVar[int] = 1
    sets: ClassVar[tuple[str, ...]] = (NULL,)

    def apply(self, image: Image, severity: int, rng: np.random.Generator) -> Image | None:
        """Grey, whatever the image."""
        from PIL import Image as PillowImage

        return PillowImage.new("RGB", image.size, (MID_GREY,) * 3)


class Noise:
    """``noise``: every channel of every pixel drawn uniformly from 0 to 255, at the same size."""

    name: ClassVar[str] = "noise"
    severities: ClassVar[tuple[int, ...]] = (0,)
    version: ClassVar[int] = 1
    sets: ClassVar[tuple[str, ...]] = (NULL,)

    def apply(self, image: Image, severity: int, rng: np.random.Generator) -> Image | None:
        """Noise that depends on the generator alone."""
        import numpy as np
        from PIL import Image as PillowImage

        width, height = image.size
        return PillowImage.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


class NoImage:
    """``no_image``: the question goes without an image."""

    name: ClassVar[str] = "no_image"
    severities: ClassVar[tuple[int, ...]] = (0,)
    version: ClassVar[int] = 1
    sets: ClassVar[tuple[str, ...]] = (NULL,)

    def apply(self, image: Image, severity: int, rng: np.random.Generator) -> Image | None:
        """None."""
        return None


PARTS = (Unchanged(), Blank(), Noise(), NoImage())
