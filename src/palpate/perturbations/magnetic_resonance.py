"""Artefacts of magnetic resonance imaging: ghosts along the phase-encoding direction, and an uneven receive field."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from palpate.perturbations._reference import FIVE, MRI, as_rgb, pixels_of, planes_of

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

GHOST_STRENGTH = {1: 0.25, 2: 0.45, 3: 0.65, 4: 0.85, 5: 1.0}
"""Severity → by how much every n-th line of k-space is weakened; 1 leaves it out."""
FIELD_RANGE = {1: 0.5, 2: 1.0, 3: 1.6, 4: 2.4, 5: 3.4}
"""Severity → natural logarithm of the brightest over the darkest gain across the image."""
CENTRE = 0.02  # share of the lines round the centre of k-space that stays: without it the image's mean would go


class Ghosting:
    """``ghosting``: every n-th line of k-space is weakened, n from 2 to 4, so that faint copies lie over the image.

    What breathing and pulsation do to an MR image. Independent of the image's size: copies are fractions of it.
    """

    name: ClassVar[str] = "ghosting"
    severities: ClassVar[tuple[int, ...]] = FIVE
    version: ClassVar[int] = 1
    sets: ClassVar[tuple[str, ...]] = (MRI,)

    def apply(self, image: Image, severity: int, rng: np.random.Generator) -> Image | None:
        """The ghosted image. Raises KeyError for a severity outside 1–5."""
        import numpy as np

        planes = planes_of(pixels_of(image))
        axis, every = int(rng.integers(2)), int(rng.integers(2, 5))
        lines = np.arange(planes.shape[axis])
        weight = np.where(lines % every == every // 2, 1.0 - GHOST_STRENGTH[severity], 1.0)
        frequency = np.abs(np.fft.fftfreq(lines.size))
        weight[frequency <= CENTRE / 2] = 1.0
        spectrum = np.fft.fft(planes, axis=axis) * weight.reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        return as_rgb(np.abs(np.fft.ifft(spectrum, axis=axis)).astype(np.float32))


class BiasField:
    """``bias_field``: a smooth gain over the image, a random polynomial of third degree in the exponent, mean gain 1."""

    name: ClassVar[str] = "bias_field"
    severities: ClassVar[tuple[int, ...]] = FIVE
    version: ClassVar[int] = 1
    sets: ClassVar[tuple[str, ...]] = (MRI,)

    def apply(self, image: Image, severity: int, rng: np.random.Generator) -> Image | None:
        """The shaded image. Raises KeyError for a severity outside 1–5."""
        import numpy as np

        planes = planes_of(pixels_of(image))
        y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in planes.shape[:2]), indexing="ij")
        field = sum(rng.normal() * x**i * y**j for i in range(4) for j in range(4 - i) if i + j)
        field = np.asarray(field) * (FIELD_RANGE[severity] / max(float(np.ptp(field)), 1e-9))
        gain = np.exp(field)
        return as_rgb(planes * (gain / gain.mean()).astype(np.float32)[..., None])


PARTS = (BiasField(), Ghosting())
