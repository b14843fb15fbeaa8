"""A picture that is no image of the task's kind: what a model says of it, it does not say of the patient."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from palpate.perturbations._reference import NULL, picture, pixels_of

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from palpate.perturbations._reference import Pixels

GREY_SPREAD = 8.0
"""Mean difference of an image's largest and smallest channel, of 255, below which it counts as grey."""


class OtherModality:
    """``other_modality``: a drawn image of another modality, at the same size, that depends on the generator alone.

    A grey image (radiograph, CT, MRI, ultrasound) is replaced by a colour photograph of an eye's fundus, a colour image
    (dermatoscopy, histology, fundus, endoscopy) by an ultrasound sector: so it is never of the image's own kind. Both are drawn
    without any lesion.
    """

    name: ClassVar[str] = "other_modality"
    severities: ClassVar[tuple[int, ...]] = (0,)
    version: ClassVar[int] = 1
    sets: ClassVar[tuple[str, ...]] = (NULL,)

    def apply(self, image: Image, severity: int, rng: np.random.Generator) -> Image | None:
        """A fundus in place of a grey image, an ultrasound sector in place of a coloured one."""
        import numpy as np

        pixels = pixels_of(image)
        grey = float(np.mean(pixels.max(axis=2) - pixels.min(axis=2))) < GREY_SPREAD
        return picture((_fundus if grey else _ultrasound)(image.width, image.height, rng))


def _plane(width: int, height: int) -> tuple[Pixels, Pixels]:
    """x and y from −1 to 1 on the largest square in the middle, more beyond it."""
    import numpy as np

    shorter = min(width, height)
    x = (np.arange(width) + 0.5 - width / 2) * (2 / shorter)
    y = (np.arange(height) + 0.5 - height / 2) * (2 / shorter)
    across, down = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    return across, down


def _smooth(rng: np.random.Generator, shape: tuple[int, int], cells: float) -> Pixels:
    """Noise of unit variance that varies over ``cells`` cells across the shorter side."""
    import numpy as np
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(rng.standard_normal(shape), min(shape) / cells, mode="wrap")
    return np.asarray(noise / max(float(noise.std()), 1e-9), np.float32)


def _within(distance: Pixels, limit: float, steepness: float) -> Pixels:
    """1 inside, 0 outside, with a soft edge."""
    import numpy as np
    from scipy.special import expit

    return np.asarray(expit((limit - distance) * steepness), np.float32)


def _fundus(width: int, height: int, rng: np.random.Generator) -> Pixels:
    """Orange retina in a round field, a bright optic disc, a darker macula and vessels that branch from the disc."""
    import numpy as np

    x, y = _plane(width, height)
    side = 1.0 if rng.random() < 0.5 else -1.0
    radius = np.hypot(x, y)
    mottle = 0.04 * _smooth(rng, x.shape, 14)
    light = (1.05 - 0.35 * radius**2 + mottle)[..., None]
    image = np.array([196.0, 92.0, 42.0], np.float32) * light
    image = image * (1 - 0.35 * np.exp(-(((x + 0.12 * side) ** 2 + y**2) / 0.035)))[..., None]
    for number in range(10):
        start = rng.uniform(0, 2 * np.pi)
        bend, spread = rng.normal(0, 0.9), rng.uniform(0.006, 0.018)
        off_x, off_y = x - 0.48 * side, y
        distance, angle = np.hypot(off_x, off_y), np.arctan2(off_y, off_x)
        away = np.abs(np.angle(np.exp(1j * (angle - start - bend * distance)))) * distance
        vessel = np.exp(-((away / spread) ** 2)) * np.clip(1.4 - distance, 0, 1)
        dark = np.array([0.35, 0.55, 0.55] if number % 2 else [0.20, 0.42, 0.42], np.float32)
        image = image * (1 - vessel[..., None] * dark)
    disc = _within(np.hypot(x - 0.48 * side, y * 0.9), 0.14, 60)
    image = image * (1 - disc[..., None]) + np.array([250.0, 214.0, 150.0], np.float32) * disc[..., None]
    field = _within(radius, 0.95, 80)
    return np.asarray(image * field[..., None], np.float32)


def _ultrasound(width: int, height: int, rng: np.random.Generator) -> Pixels:
    """A fan of speckle in layers with one dark vessel, on black."""
    import numpy as np

    x, y = _plane(width, height)
    depth, angle = np.hypot(x, y + 1.25), np.arctan2(x, y + 1.25)
    layers = 95 + 45 * np.sin(depth * rng.uniform(9, 14) + 0.6 * _smooth(rng, x.shape, 5) + rng.uniform(0, 6))
    tissue = layers * (1.25 - 0.4 * depth) * (1 + 0.25 * _smooth(rng, x.shape, 10))
    speckle = np.hypot(rng.standard_normal(x.shape), rng.standard_normal(x.shape)) / 1.2533  # Rayleigh, mean 1
    centre, reach = (rng.uniform(-0.2, 0.2), rng.uniform(-0.2, 0.4)), rng.uniform(0.08, 0.13)
    vessel = _within(np.hypot(x - centre[0], (y - centre[1]) * 1.4), reach, 50)
    fan = (np.abs(angle) < 0.62) & (depth > 0.45) & (depth < 2.1)
    plane = np.where(fan, tissue * speckle * (1 - 0.9 * vessel), 0.0)
    return np.asarray(np.repeat(plane[..., None], 3, axis=2), np.float32)


PARTS = (OtherModality(),)
