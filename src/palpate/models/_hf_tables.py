"""A family's own preprocessing with less work: what it gives for 256 grey values is looked up, what it gave for a text remembered.

Nothing is computed in another way: the tables are made by the processor's own functions, so every value is theirs, bit for bit.
This matters where images are prepared while the model is at work, for Python stops the thread that feeds the GPU.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np

TEXTS = 64
"""Tokenised texts kept: the first question of every image size."""
Mean = float | Iterable[float] | None


def hasten(processor: Any) -> Any:
    """The processor itself, which from now on looks up and remembers. One that is not transformers' PIL kind stays as it is."""
    images, tokenizer = processor.image_processor, processor.tokenizer
    backend = _pil()
    if backend is not None and isinstance(images, backend) and not isinstance(images, LookedUp):
        # Between the family's class and PilBackend: what the family itself defines stays the family's.
        images.__class__ = _named_as(type(images), _looked_up(backend), tables={})
    if not isinstance(tokenizer, Remembering):
        tokenizer.__class__ = _named_as(type(tokenizer), None, first=Remembering, remembered={})
    return processor


class Scaled(np.ndarray):
    """An image divided by 255, say, that still knows the bytes it was made from. What is made from it does not."""

    source: np.ndarray | None
    scale: float

    def __array_finalize__(self, made_from: Any) -> None:
        self.source = None


class LookedUp:
    """PilBackend's three passes over an image: one look-up each where the image is bytes, none where nothing would change."""

    tables: dict[Any, np.ndarray]

    def rescale(self, image: np.ndarray, scale: float, **kwargs: Any) -> np.ndarray:
        """PilBackend's, of an image (C, H, W)."""
        if not _bytes(image) or kwargs:
            return super().rescale(image, scale, **kwargs)  # type: ignore[misc, no-any-return]
        key = scale
        if key not in self.tables:
            self.tables[key] = super().rescale(_values(1), scale)[0, 0]  # type: ignore[misc]
        found = np.take(self.tables[key], image, mode="clip").view(Scaled)
        found.source, found.scale = image, scale
        found.flags.writeable = False  # changed in place it would no longer be what its source says
        return found

    def normalize(self, image: np.ndarray, mean: Mean, std: Mean, **kwargs: Any) -> np.ndarray:
        """PilBackend's, of an image (C, H, W); of bytes, or of what ``rescale`` made of them, in one look-up."""
        source = getattr(image, "source", None) if isinstance(image, Scaled) else image
        if source is None or not _bytes(source) or kwargs:
            return super().normalize(np.asarray(image), mean, std, **kwargs)  # type: ignore[misc, no-any-return]
        scale = image.scale if isinstance(image, Scaled) else None
        key = scale, _hashable(mean), _hashable(std), len(source)
        if key not in self.tables:
            values = _values(len(source))
            values = values if scale is None else super().rescale(values, scale)  # type: ignore[misc]
            self.tables[key] = np.ascontiguousarray(super().normalize(values, mean, std)[:, 0])  # type: ignore[misc]
        table = self.tables[key]
        found = np.empty(source.shape, table.dtype)
        for channel, own in enumerate(table):
            np.take(own, source[channel], mode="clip", out=found[channel])  # "raise" would copy the result once more
        return found

    def resize(self, image: np.ndarray, size: Any, resample: Any = None, reducing_gap: Any = None, **kwargs: Any) -> np.ndarray:
        """PilBackend's, of an image (C, H, W); the image itself where it has the size already."""
        if reducing_gap is None and not kwargs and _bytes(image) and len(image) in (1, 3, 4) and _fits(image.shape[1:], size):
            return image  # Pillow would hand back a copy
        return super().resize(image, size, resample, reducing_gap, **kwargs)  # type: ignore[misc, no-any-return]


class Remembering:
    """A tokenizer that is asked about the same text again and again, once for every image of one size."""

    remembered: dict[Any, Any]

    def __call__(self, text: Any = None, *args: Any, **kwargs: Any) -> Any:
        if args or not isinstance(text, str | list):
            return super().__call__(text, *args, **kwargs)  # type: ignore[misc]
        key = text if isinstance(text, str) else tuple(text), repr(sorted(kwargs.items()))
        if key not in self.remembered:
            if len(self.remembered) >= TEXTS:
                self.remembered.clear()
            self.remembered[key] = super().__call__(text, **kwargs)  # type: ignore[misc]
        given = copy.copy(self.remembered[key])
        for name, value in given.items():
            given[name] = value.clone() if hasattr(value, "clone") else copy.deepcopy(value)
        return given


def _named_as(own: type, base: type | None, *, first: type | None = None, **extra: Any) -> type:
    """A class of the same name, for messages and checks go by names, with one more in its order of methods."""
    bases = tuple(one for one in (first, own, base) if one is not None)
    return type(own.__name__, bases, {"__module__": own.__module__, "__qualname__": own.__qualname__, **extra})


def _pil() -> type | None:
    try:
        from transformers.image_processing_backends import PilBackend
    except ImportError:  # an older transformers
        return None
    return PilBackend  # type: ignore[no-any-return]


def _looked_up(backend: type) -> type:
    return type("LookedUp", (LookedUp, backend), {})


def _bytes(image: Any) -> bool:
    return isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.size > 0


def _values(channels: int) -> np.ndarray:
    """Every byte in every channel, as an image one pixel high."""
    return np.tile(np.arange(256, dtype=np.uint8), (channels, 1, 1))


def _hashable(several: Mean) -> Any:
    return tuple(several) if isinstance(several, Iterable) else several


def _fits(shape: tuple[int, ...], size: Any) -> bool:
    """Whether PilBackend would resize to the size the image has."""
    names = ("height", "width", "shortest_edge", "longest_edge", "max_height", "max_width")
    asked = {name: getattr(size, name, None) for name in names}
    asked = {name: value for name, value in asked.items() if value}
    return asked == {"height": shape[0], "width": shape[1]} or asked == {"shortest_edge": min(shape)}
