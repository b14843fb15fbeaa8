"""One image → the few numbers everything else is judged by. The image itself is not kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from palpate.nouns import Case

if TYPE_CHECKING:
    from PIL.Image import Image

THUMB = 32
"""Pixels a side of the thumbnail that hashes and comparisons rest on."""
LEVELS = 16
"""Bins of the grey histogram."""
GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as Pillow turns colour to grey
WHITE = 250


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What is known of one case's image.

    ``pixels``: digest of size and pixels. ``hash``: the perceptual hash, 63 bits. ``thumb``: (32, 32, 3) floats, 0–255.
    ``histogram``: (16,) shares of grey levels. ``contrast``: standard deviation of grey, ``colour``: mean |R−G| + |G−B|,
    both in levels of 0–255. ``white``: share of pixels at 250 or above. ``file``: what the source says of the file.
    """

    case: str
    label: int
    group: str
    width: int
    height: int
    pixels: str
    hash: int
    thumb: NDArray[np.float32]
    histogram: NDArray[np.float64]
    contrast: float
    colour: float
    white: float
    file: Mapping[str, Any] = field(default_factory=dict)


def look(case: Case, file: Mapping[str, Any]) -> ImageFacts:
    """Open a case's image once. Raises OSError or ValueError where it cannot be decoded any more."""
    image = case.image.open()
    pixels = np.asarray(image)
    grey = pixels @ GREY
    wide = pixels.astype(np.int16)
    thumb = thumbnail(image)
    return ImageFacts(
        case=case.id,
        label=case.label,
        group=case.group,
        width=image.width,
        height=image.height,
        pixels=hashlib.blake2b(f"{image.size}".encode() + pixels.tobytes(), digest_size=16).hexdigest(),
        hash=perceptual_hash(thumb),
        thumb=thumb,
        histogram=np.histogram(grey, bins=LEVELS, range=(0, 256))[0] / grey.size,
        contrast=float(grey.std()),
        colour=float((np.abs(wide[..., 0] - wide[..., 1]) + np.abs(wide[..., 1] - wide[..., 2])).mean()),
        white=float((grey >= WHITE).mean()),
        file=file,
    )


def thumbnail(image: Image) -> NDArray[np.float32]:
    """(32, 32, 3): each pixel the mean of those it stands for."""
    from PIL.Image import Resampling

    return np.asarray(image.resize((THUMB, THUMB), Resampling.BOX), dtype=np.float32)


def perceptual_hash(thumb: NDArray[np.float32]) -> int:
    """pHash: the signs, about their median, of the 63 lowest frequencies of the grey thumbnail's cosine transform.

    (C. Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010, section 3.2.1.)
    """
    low = _COSINES @ (thumb @ GREY) @ _COSINES.T
    values = low.ravel()[1:]  # without the mean: brightness is no content
    bits = values > np.median(values)
    return int("".join("1" if bit else "0" for bit in bits), 2)


def _cosines(n: int, kept: int) -> NDArray[np.float64]:
    """(kept, n) rows of the cosine transform DCT-II."""
    return np.cos(np.pi * np.arange(kept)[:, None] * (2 * np.arange(n)[None, :] + 1) / (2 * n))


_COSINES = _cosines(THUMB, 8)
