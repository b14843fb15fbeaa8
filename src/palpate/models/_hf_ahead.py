"""Images into tensors ahead of the model: while the GPU works on some, the next are prepared, each image by itself.

On a GPU processes of their own do it (``_hf_apart``), for Python in a thread stops the one that feeds the GPU. Until they are
ready, and where there are none, threads do.

A batch of images goes through the model in parts, one after another; only the first part is waited for, so it is small. The keys
and values of all parts are then continued together, for decoding pays with many rows and preparing does not.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from palpate.models._hf_apart import LOST, Apart, Prepared, memory, rounded, start
from palpate.models._hf_encode import PER_TOKEN, Encoder, Shared
from palpate.models._hf_tables import hasten

if TYPE_CHECKING:
    from PIL.Image import Image

FIRST, FEWEST, MOST = 2, 8, 32
"""Images in the first part, and in any later one. Part of what shapes a batch: changing them raises BATCHES."""
TOKENS_AT_ONCE = 24_576
"""Tokens a later part has at most, where that is more than FEWEST images: fewer leave a GPU idle, more only take memory."""
PROCESSES, CORES = 4, 4
"""At most so many processes prepare images for a model on a GPU, one for so many cores. Each has half a gigabyte of its own.

Two keep up with a GPU. More shorten the wait for a batch that was not begun ahead.
"""
THREADS = 2
"""More are ready no sooner, for Python lets one run at a time, and each of them stops the thread that feeds the GPU."""


class Ahead:
    """Prepares images in threads. Every thread has a processor of its own: tokenizers cannot be shared while they pad."""

    def __init__(self, encoder: Encoder, processes: int | None = None) -> None:
        """``processes``: how many to start beside the threads; None: as many as the device deserves."""
        self.encoder, cuda = encoder, encoder.loaded.device.startswith("cuda")
        self._spare: SimpleQueue[Encoder] = SimpleQueue()
        self._noted: dict[tuple[int, ...], tuple[Sequence[Sequence[str]], Sequence[Image]]] = {}
        self._begun: dict[tuple[int, ...], list[Future[Shared | Prepared]]] = {}
        self._free: SimpleQueue[Apart] = SimpleQueue()
        self._apart = start(encoder, (_processes() if cuda else 0) if processes is None else processes, self._free)
        self._pool = ThreadPoolExecutor(max(THREADS, len(self._apart)), thread_name_prefix="palpate-images")
        for _ in range(THREADS):
            self._spare.put(_own(encoder))

    def begin(self, questions: Sequence[Sequence[str]], images: Sequence[Image]) -> None:
        """What comes next: it is begun as soon as all that is asked for before is."""
        self._noted[_names(images)] = questions, images

    def parts(self, questions: Sequence[Sequence[str]], images: Sequence[Image]) -> Iterator[Shared]:
        """``encoder.shared`` of every part, in order, in the model's number format, the pixels on its device."""
        self._noted.pop(_names(images), None)
        waiting = self._begun.pop(_names(images), None) or self._submitted(questions, images)
        self._begun |= {names: self._submitted(*later) for names, later in self._noted.items()}
        self._noted.clear()
        start, count = 0, FIRST
        try:
            while start < len(images):
                some = slice(start, start + count)
                part = joined([_shared(one.result()) for one in waiting[some]], self.encoder.loaded)
                part = self.encoder.shared(questions[some], images[some]) if part is None else part
                yield part
                start, count = start + count, part_size(part)
        finally:
            _drop(waiting)

    def forget(self) -> None:
        """What was begun and not asked for after all."""
        for waiting in self._begun.values():
            _drop(waiting)
        self._begun.clear()
        self._noted.clear()

    def close(self) -> None:
        """Ends the threads and processes."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for one in self._apart:  # a thread that waits for one goes on
            one.close()
        self._pool.shutdown()

    def _submitted(self, questions: Sequence[Sequence[str]], images: Sequence[Image]) -> list[Future[Shared | Prepared]]:
        return [self._pool.submit(self._one, asked, image) for asked, image in zip(questions, images, strict=True)]

    def _one(self, questions: Sequence[str], image: Image) -> Shared | Prepared:
        """One image, in the model's number format, in pinned memory where the device is a GPU."""
        pinned = self.encoder.loaded.device.startswith("cuda")
        prepared = self._one_apart(questions, image, pinned=pinned)
        if prepared is not None:
            return prepared
        with self._taken() as encoder:
            shared = rounded(encoder.shared([questions], [image]), self.encoder.loaded.model.dtype)
        if not pinned:
            return shared
        inputs = shared.inputs.items()
        ready = {n: value.pin_memory() if n not in PER_TOKEN and hasattr(value, "to") else value for n, value in inputs}
        return Shared(ready, shared.ids)

    def _one_apart(self, questions: Sequence[str], image: Image, *, pinned: bool) -> Prepared | None:
        """The same from another process; None where none is free or this image is not for it. A dead one is not asked again."""
        try:
            apart = self._free.get_nowait()
        except Empty:
            return None
        try:
            prepared = apart.prepare(questions, image, partial(memory, pinned=pinned))
        except LOST:
            apart.close()
            return None
        self._free.put(apart)
        return prepared

    @contextmanager
    def _taken(self) -> Iterator[Encoder]:
        encoder = self._spare.get()
        try:
            yield encoder
        finally:
            self._spare.put(encoder)


def part_size(part: Shared) -> int:
    """Images in the next part, from how many tokens the images of this one have."""
    tokens = int(part.inputs["input_ids"].shape[1])
    return max(FEWEST, min(MOST, TOKENS_AT_ONCE // tokens))


def joined(ones: Sequence[Shared], loaded: Any) -> Shared | None:
    """Images prepared apart as the processor would have prepared them together, pixels on the device.

    None where it would not just have put them one after another: images of unlike size that it pads to one shape.
    """
    import torch
    from torch.nn.functional import pad

    width = max(one.inputs["input_ids"].shape[1] for one in ones)
    inputs = {}
    for name in ones[0].inputs:
        values = [one.inputs[name] for one in ones]
        if name in PER_TOKEN:
            fill = loaded.pad if name == "input_ids" else 0
            inputs[name] = torch.cat([pad(value, (width - value.shape[1], 0), value=fill) for value in values])
        elif all(hasattr(value, "to") for value in values) and len({value.shape[1:] for value in values}) == 1:
            inputs[name] = torch.cat([value.to(loaded.device, non_blocking=True) for value in values])
        else:
            return None
    return Shared(inputs, [ids for one in ones for ids in one.ids])


def _shared(one: Shared | Prepared) -> Shared:
    return one if isinstance(one, Shared) else one.shared()


def _drop(waiting: Sequence[Future[Shared | Prepared]]) -> None:
    for one in waiting:
        one.cancel()


def _names(images: Sequence[Image]) -> tuple[int, ...]:
    """Which images these are: the objects, which live as long as the questions about them are asked."""
    return tuple(map(id, images))


def _processes() -> int:
    """How many prepare images: fewer where cores are few."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(PROCESSES, cores // CORES))


def _own(encoder: Encoder) -> Encoder:
    """An encoder with a processor and tokenizer of its own, and the same weights."""
    processor = hasten(copy.deepcopy(encoder.loaded.processor))
    tokenizer = getattr(processor, "tokenizer", processor)
    return Encoder(replace(encoder.loaded, processor=processor, tokenizer=tokenizer), encoder.system)
