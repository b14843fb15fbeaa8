"""The lesion covered, and as much of the same image covered elsewhere: does the answer rest on the right place?"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from palpate.perturbations._reference import OCCLUSION, picture, pixels_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from palpate.perturbations._reference import Pixels

    Mask = NDArray[np.bool_]

MARGIN = 0.02
"""By how much of the shorter side the covered region is larger than the mask: a lesion's rim would give it away."""
RING = 0.05  # of the shorter side: how wide the surroundings are whose median colour covers the region
COARSE = 24  # cells across: how finely a place for the matched region is looked for


class OccludeLesion:
    """``occlude_lesion``: the masked lesion, and a little around it, in the median colour of its surroundings.

    An image in which nothing is masked stays as it is. Needs masks: the phantoms have them.
    """

    name: ClassVar[str] = "occlude_lesion"
    severities: ClassVar[tuple[int, ...]] = (0,)
    version: ClassVar[int] = 1
    sets: ClassVar[tuple[str, ...]] = (OCCLUSION,)
    needs_mask: ClassVar[bool] = True

    def apply(self, image: Image, severity: int, rng: np.random.Generator, mask: Mask | None = None) -> Image | None:
        """The covered image; ``mask`` (height, width), True on the lesion. Without one, the same image."""
        if mask is None or not mask.any():
            return picture(pixels_of(image))
        return picture(_covered(pixels_of(image), _grown(mask, image.size, MARGIN)))


class OccludeMatched:
    """``occlude_matched``: as many pixels, in the same shape where there is room, covered by the same rule away from the lesion.

    Of the places where the region fits beside the lesion, that whose pixels are nearest in brightness to the lesion's
    surroundings: tissue, not background. Where it fits nowhere, the same number of pixels nearest to a random point of the rest.
    """

    name: ClassVar[str] = "occlude_matched"
    severities: ClassVar[tuple[int, ...]] = (0,)
    version: ClassVar[int] = 1
    sets: ClassVar[tuple[str, ...]] = (OCCLUSION,)
    needs_mask: ClassVar[bool] = True

    def apply(self, image: Image, severity: int, rng: np.random.Generator, mask: Mask | None = None) -> Image | None:
        """The covered image; ``mask`` (height, width), True on the lesion. Without one, the same image."""
        pixels = pixels_of(image)
        if mask is None or not mask.any():
            return picture(pixels)
        lesion = _grown(mask, image.size, MARGIN)
        return picture(_covered(pixels, matched_region(pixels, lesion, rng)))


def matched_region(pixels: Pixels, lesion: Mask, rng: np.random.Generator) -> Mask:
    """(height, width) a region of the lesion's size that shares no pixel with it (fewer pixels where the rest has not as many)."""
    import numpy as np

    rows, columns = np.flatnonzero(lesion.any(axis=1)), np.flatnonzero(lesion.any(axis=0))
    shape = lesion[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = lesion.shape
    step = max(1, min(height, width) // COARSE)
    grey = pixels.mean(axis=2)
    ring = grey[_ring(lesion)]
    wanted = float(np.median(ring if ring.size else grey))
    coarse, places = shape[::step, ::step], []
    for top in range(0, height - shape.shape[0] + 1, step):
        for left in range(0, width - shape.shape[1] + 1, step):
            window = (slice(top, top + shape.shape[0], step), slice(left, left + shape.shape[1], step))
            if coarse.any() and not (lesion[window] & coarse).any():
                places.append((float(np.abs(grey[window][coarse] - wanted).mean()), top, left))
    region = np.zeros_like(lesion)
    for _, top, left in sorted(places):
        window = (slice(top, top + shape.shape[0]), slice(left, left + shape.shape[1]))
        if not (lesion[window] & shape).any():  # what the coarse look may have missed
            region[window] = shape
            return region
    free = np.flatnonzero(~lesion)
    if not free.size:
        return region
    anchor = divmod(int(rng.choice(free)), width)
    y, x = np.divmod(free, width)
    near = np.argsort((y - anchor[0]) ** 2 + (x - anchor[1]) ** 2, kind="stable")[: int(lesion.sum())]
    region.flat[free[near]] = True
    return region


def _grown(mask: Mask, size: tuple[int, int], margin: float) -> Mask:
    """The mask at the image's (width, height), grown by ``margin`` of the shorter side."""
    import numpy as np
    from PIL import Image as PillowImage
    from scipy.ndimage import distance_transform_edt

    if mask.shape != (size[1], size[0]):
        resized = PillowImage.fromarray(mask.astype(np.uint8) * 255).resize(size, PillowImage.Resampling.NEAREST)
        mask = np.asarray(resized) > 127
        if not mask.any():
            return mask
    return np.asarray(distance_transform_edt(~mask) <= margin * min(size))


def _ring(region: Mask) -> Mask:
    return _grown(region, (region.shape[1], region.shape[0]), RING) & ~region


def _covered(pixels: Pixels, region: Mask) -> Pixels:
    """The region in the median colour of its surroundings (of the whole image where it has none)."""
    import numpy as np

    ring = _ring(region) if region.any() else region
    around = pixels[ring] if ring.any() else pixels.reshape(-1, 3)
    covered = pixels.copy()
    covered[region] = np.median(around, axis=0)
    return covered


PARTS = (OccludeLesion(), OccludeMatched())
