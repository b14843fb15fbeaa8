"""Images for workers that cannot open them: as pixels, put into the cluster's object store once each.

A worker opens the study's own files wherever it finds them. Only what it does not find, or finds changed, is sent: each image
once, however many models, perturbations and prompts look at it, as long as the store keeps it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from palpate.nouns import Block, Case
from palpate.parts import MaskedImage

if TYPE_CHECKING:
    from PIL.Image import Image

KEPT = 2 * 2**30
"""Bytes of pixels that the driver keeps in the object store: what goes beyond is let go, the longest unused first."""
Pixels = NDArray[np.uint8]


class _Masked(Protocol):
    def mask(self) -> NDArray[np.bool_]: ...


@dataclass(frozen=True, slots=True)
class Opened:
    """An ``ImageRef`` whose image is here already."""

    image: Image

    def open(self) -> Image:
        """The image."""
        return self.image


@dataclass(frozen=True, slots=True)
class OpenedMasked(Opened):
    """The same, with whatever knows where its lesion is."""

    of: _Masked

    def mask(self) -> NDArray[np.bool_]:
        """True where the lesion is."""
        return self.of.mask()


@dataclass(frozen=True, slots=True)
class Shipped:
    """What the driver sends of an image: its pixels (height × width × 3), and its mask where it has one.

    ``fault``: the driver could not open it either, and the name of the error it met.
    """

    pixels: Pixels | None = None
    lesion: NDArray[np.bool_] | None = None
    fault: str = ""

    def open(self) -> Image:
        """The image as the driver opened it. Raises the error the driver met, by name."""
        from PIL import Image

        if self.pixels is None:
            raise type(self.fault, (OSError,), {})()
        return Image.fromarray(self.pixels)

    def mask(self) -> NDArray[np.bool_]:
        """The mask as the driver read it."""
        assert self.lesion is not None  # only asked of images that came with one
        return self.lesion


def shipped(case: Case) -> Shipped:
    """The image of a case, opened here."""
    try:
        pixels = np.asarray(case.image.open())
        lesion = case.image.mask() if isinstance(case.image, MaskedImage) else None
    except (OSError, ValueError) as fault:
        return Shipped(fault=type(fault).__name__)
    return Shipped(pixels, lesion)


def opened(blocks: Sequence[Block], sent: Sequence[Shipped | None]) -> tuple[list[Block], list[int]]:
    """The Blocks with their images open, and the places of those whose image is neither sent nor to be opened here."""
    ready: list[Block] = []
    missing: list[int] = []
    for i, (block, given) in enumerate(zip(blocks, sent, strict=True)):
        ref: Any = block.case.image
        if given is not None:
            masked = given.lesion is not None
            image: Any = OpenedMasked(given.open(), given) if masked else given
        else:
            try:
                image = OpenedMasked(ref.open(), ref) if isinstance(ref, MaskedImage) else Opened(ref.open())
            except (OSError, ValueError):
                missing.append(i)
                continue
        ready.append(replace(block, case=replace(block.case, image=image)))
    return ready, missing


class Shipping:
    """The driver's side: images put into the object store, once each. ``put`` stores a value and gives a reference to it."""

    def __init__(self, put: Callable[[Shipped], Any], kept: int = KEPT) -> None:
        self._put, self._kept = put, kept
        self._there: OrderedDict[tuple[Any, ...], tuple[Any, int]] = OrderedDict()
        self._bytes = 0

    def reference(self, case: Case) -> Any:
        """A reference to the case's image; it is opened and put where it is not there."""
        key = (case.digest, *sorted(case.decode.items()), isinstance(case.image, MaskedImage))
        if key in self._there:
            self._there.move_to_end(key)
            return self._there[key][0]
        sent = shipped(case)
        size = 0 if sent.pixels is None else sent.pixels.nbytes
        reference = self._put(sent)
        if sent.pixels is None:
            return reference  # not kept: the file may be back the next time
        self._there[key] = reference, size
        self._bytes += size
        while self._bytes > self._kept and len(self._there) > 1:
            _, (_, gone) = self._there.popitem(last=False)
            self._bytes -= gone
        return reference

    def forget(self) -> None:
        """Images that were put may be gone with the machine that held them: put them anew."""
        self._there.clear()
        self._bytes = 0
