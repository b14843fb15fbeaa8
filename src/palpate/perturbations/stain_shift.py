"""Another laboratory's stain: haematoxylin and eosin taken up more or less."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from palpate.perturbations._reference import FIVE, HISTOLOGY, picture, pixels_of

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

SHIFT = {1: 0.25, 2: 0.5, 3: 0.9, 4: 1.5, 5: 2.5}
"""Severity → natural logarithm of the factor on one stain's density, and of its inverse on the other's."""
STAINS = ((0.650, 0.704, 0.286), (0.072, 0.990, 0.105), (0.268, 0.570, 0.776))
"""Optical density of haematoxylin, eosin and DAB in red, green and blue (Ruifrok & Johnston 2001)."""


class StainShift:
    """``stain_shift``: colour deconvolution into haematoxylin, eosin and a rest; one stain grows denser and the other paler.

    Which of the two is left to chance, so that colours shift rather than the whole image's density.
    """

    name: ClassVar[str] = "stain_shift"
    severities: ClassVar[tuple[int, ...]] = FIVE
    version: ClassVar[int] = 1
    sets: ClassVar[tuple[str, ...]] = (HISTOLOGY,)

    def apply(self, image: Image, severity: int, rng: np.random.Generator) -> Image | None:
        """The recoloured image. Raises KeyError for a severity outside 1–5."""
        import numpy as np

        stains = np.array(STAINS)
        stains /= np.linalg.norm(stains, axis=1, keepdims=True)
        density = -np.log((pixels_of(image).astype(np.float64) + 1.0) / 256.0)
        amount = density @ np.linalg.inv(stains)
        step = SHIFT[severity] * (1 if rng.random() < 0.5 else -1)
        amount *= np.exp([step, -step, 0.0])
        return picture((256.0 * np.exp(-amount @ stains) - 1.0).astype(np.float32))


PARTS = (StainShift(),)
