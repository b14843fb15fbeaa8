"""What the families share: strengths are defined at a shorter side of 224 pixels, the size most vision towers see."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    Pixels = NDArray[np.float32]

REFERENCE_SIDE = 224
FIVE = (1, 2, 3, 4, 5)

MRI, XRAY, DERMATOSCOPY, HISTOLOGY = "mri", "xray", "dermatoscopy", "histology"
EVERY = (MRI, XRAY, DERMATOSCOPY, HISTOLOGY)
NULL, OCCLUSION = "null", "occlusion"


def scale_of(image: Image) -> float:
    """Pixels of the image per pixel at the reference side: what a length at 224 pixels is multiplied with."""
    return min(image.size) / REFERENCE_SIDE


def pixels_of(image: Image) -> Pixels:
    """(height, width, 3) float32, 0 to 255."""
    import numpy as np

    return np.asarray(image.convert("RGB"), dtype=np.float32)


def picture(pixels: Pixels) -> Image:
    """The nearest 8-bit RGB image; values outside 0–255 are clipped."""
    import numpy as np
    from PIL import Image as PillowImage

    return PillowImage.fromarray(np.rint(np.clip(pixels, 0.0, 255.0)).astype(np.uint8))


def planes_of(pixels: Pixels) -> Pixels:
    """The channels that differ: (height, width, 1) of a grey image, so that it stays grey, else all three."""
    grey = bool((pixels[..., :1] == pixels).all())
    return pixels[..., :1] if grey else pixels


def as_rgb(planes: Pixels) -> Image:
    """The picture of one or three planes."""
    import numpy as np

    return picture(np.broadcast_to(planes, (*planes.shape[:2], 3)))


def at_reference(image: Image, change: Callable[[Image], Image]) -> Image:
    """``change`` made to the image at the reference side, and what it changed carried back to the image's own size.

    So an artefact made of pixels (a compression block) is as large in what a model sees whatever the size of the file, and the
    detail of a large file stays.
    """
    from PIL import Image as PillowImage

    width, height = image.size
    scale = scale_of(image)
    if scale == 1.0:
        return change(image)
    small = image.resize((max(1, round(width / scale)), max(1, round(height / scale))), PillowImage.Resampling.BICUBIC)
    difference = pixels_of(change(small)) - pixels_of(small)
    grown = [
        PillowImage.fromarray(difference[..., channel]).resize((width, height), PillowImage.Resampling.BICUBIC)
        for channel in range(3)
    ]
    import numpy as np

    return picture(pixels_of(image) + np.stack([np.asarray(plane) for plane in grown], axis=-1))
