"""Images into tensors ahead of the model: while the GPU works on some, threads prepare the next.

A batch of images is cut into parts that go through the model one after another; only the first part is waited for, so it is small.
The keys and values of all parts are then continued together, for decoding pays with many rows and preparing does not.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from palpate.models._hf_encode import Encoder, Shared

if TYPE_CHECKING:
    from PIL.Image import Image

FIRST, AT_ONCE = 2, 8
"""Images in the first part, and most in any. Part of what shapes a batch: changing them raises ADAPTER_VERSION."""
THREADS = 4


def parts_of(count: int) -> list[slice]:
    """The parts of a batch of ``count`` images, in order."""
    bounds = [0, *range(min(FIRST, count), count, AT_ONCE), count]
    return [slice(start, end) for start, end in pairwise(bounds) if end > start]


class Ahead:
    """Prepares parts in threads. Every thread has a processor of its own: tokenizers cannot be shared while they pad."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="palpate-images")
        self._spare: SimpleQueue[Encoder] = SimpleQueue()
        self._begun: dict[tuple[int, ...], list[Future[Shared]]] = {}
        for _ in range(THREADS):
            self._spare.put(_own(encoder))

    def begin(self, questions: Sequence[Sequence[str]], images: Sequence[Image]) -> None:
        """Start on a batch that comes next, before it is asked for."""
        self._begun[_names(images)] = self._submitted(questions, images)

    def parts(self, questions: Sequence[Sequence[str]], images: Sequence[Image]) -> Iterator[Shared]:
        """``encoder.shared`` of every part, in order, in the model's number format and ready to be copied to its device."""
        waiting = self._begun.pop(_names(images), None) or self._submitted(questions, images)
        try:
            for one in waiting:
                yield one.result()
        finally:
            self._drop(waiting)

    def forget(self) -> None:
        """What was begun and not asked for after all."""
        for waiting in self._begun.values():
            self._drop(waiting)
        self._begun.clear()

    def _submitted(self, questions: Sequence[Sequence[str]], images: Sequence[Image]) -> list[Future[Shared]]:
        return [self._pool.submit(self._part, questions[part], images[part]) for part in parts_of(len(images))]

    @staticmethod
    def _drop(waiting: Sequence[Future[Shared]]) -> None:
        for one in waiting:
            one.cancel()

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown(cancel_futures=True)

    def _part(self, questions: Sequence[Sequence[str]], images: Sequence[Image]) -> Shared:
        with self._taken() as encoder:
            shared = encoder.shared(questions, images)
        return Shared({name: self._ready(value) for name, value in shared.inputs.items()}, shared.ids)

    def _ready(self, value: Any) -> Any:
        """In the model's number format (rounded as the device would), in pinned memory where the device is a GPU."""
        if not hasattr(value, "to"):
            return value
        value = value.to(self.encoder.loaded.model.dtype) if value.is_floating_point() else value
        return value.pin_memory() if self.encoder.loaded.device.startswith("cuda") else value

    @contextmanager
    def _taken(self) -> Iterator[Encoder]:
        encoder = self._spare.get()
        try:
            yield encoder
        finally:
            self._spare.put(encoder)


def _names(images: Sequence[Image]) -> tuple[int, ...]:
    """Which images these are: the objects, which live as long as the questions about them are asked."""
    return tuple(map(id, images))


def _own(encoder: Encoder) -> Encoder:
    """An encoder with a processor and tokenizer of its own, and the same weights."""
    processor = copy.deepcopy(encoder.loaded.processor)
    tokenizer = getattr(processor, "tokenizer", processor)
    return Encoder(replace(encoder.loaded, processor=processor, tokenizer=tokenizer), encoder.system)
