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
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

from palpate.models._hf_apart import LOST, Apart, Prepared, memory, rounded, start
from palpate.models._hf_encode import ON_HOST, PER_TOKEN, Encoder, Shared, sent
from palpate.models._hf_tables import hasten

if TYPE_CHECKING:
    from PIL.Image import Image

FIRST, FEWEST, MOST = 32, 8, 128
"""Images in the first part at most, in a part at least, and at most. Part of what shapes a batch: changing them raises BATCHES."""
TOKENS_AT_ONCE = 24_576
"""Tokens a part has at most, where that is more than FEWEST images: fewer leave a GPU idle, more only take memory."""
PROCESSES, CORES = 4, 4
"""At most so many processes prepare images for a model on a GPU, one for so many cores. Each has half a gigabyte of its own.

Two keep up with a GPU. More shorten the wait for a batch that was not begun ahead.
"""
THREADS = 2
"""More are ready no sooner, for Python lets one run at a time, and each of them stops the thread that feeds the GPU."""


Asked = tuple[Sequence[Sequence[str]], "Sequence[Image]"]
"""The questions on every image, and the images."""
Begun = tuple[Asked, "list[Future[Shared | Prepared]]"]


class Ahead:
    """Prepares images, in processes where there are some, else in threads.

    Each has a processor of its own: tokenizers cannot be shared while they pad.
    """

    def __init__(self, encoder: Encoder, processes: int | None = None) -> None:
        """``processes``: how many to start beside the threads; None: as many as the device deserves."""
        self.encoder, cuda = encoder, encoder.loaded.device.startswith("cuda")
        self._spare: SimpleQueue[Encoder] = SimpleQueue()
        self._noted: dict[tuple[int, ...], Asked] = {}
        # With the images themselves: while an entry is there no other image can lie where one of them lies.
        self._begun: dict[tuple[int, ...], Begun] = {}
        self._lock, self._beside = Lock(), cast("Any", None)
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
        begun = self._begun.pop(_names(images), None)
        if begun is not None and list(map(list, begun[0][0])) != list(map(list, questions)):
            _drop(begun[1])  # the same images, but something else is asked
            begun = None
        waiting = self._submitted(questions, images) if begun is None else begun[1]
        self._begun |= {names: (later, self._submitted(*later)) for names, later in self._noted.items()}
        self._noted.clear()
        start = 0
        try:
            while start < len(images):
                count = part_size(_shared(waiting[start].result()))
                some = slice(start, start + (min(FIRST, count) if start == 0 else count))
                part = joined([_shared(one.result()) for one in waiting[some]], self.encoder.loaded)
                part = self.encoder.shared(questions[some], images[some]) if part is None else part
                yield part
                start = some.stop
        finally:
            _drop(waiting)

    def forget(self, but: Sequence[Image] = ()) -> None:
        """What was begun and not asked for after all, ``but`` what was begun on these images."""
        kept = self._begun.pop(_names(but), None)
        noted = self._noted.pop(_names(but), None)
        for _, waiting in self._begun.values():
            _drop(waiting)
        self._begun = {} if kept is None else {_names(but): kept}
        self._noted = {} if noted is None else {_names(but): noted}

    def close(self) -> None:
        """Ends the threads and processes."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for one in self._apart:  # a thread that waits for one goes on
            one.close()
        self._pool.shutdown()

    def _submitted(self, questions: Sequence[Sequence[str]], images: Sequence[Image]) -> list[Future[Shared | Prepared]]:
        return [self._pool.submit(self._one, asked, image) for asked, image in zip(questions, images, strict=True)]

    def _one(self, questions: Sequence[str], image: Image) -> Shared | Prepared:
        """One image, in the model's number format, on the device if that is a GPU."""
        with self.encoder.loaded.current():
            return self._prepared(questions, image)

    def _prepared(self, questions: Sequence[str], image: Image) -> Shared | Prepared:
        cuda = self.encoder.loaded.device.startswith("cuda")
        prepared = self._one_apart(questions, image, pinned=cuda)
        if prepared is not None:
            return replace(prepared, memory=self._sent([prepared.memory])[0]) if cuda else prepared
        with self._taken() as encoder:
            shared = rounded(encoder.shared([questions], [image]), self.encoder.loaded.model.dtype)
        if not cuda:
            return shared
        names = [name for name, value in shared.inputs.items() if name not in PER_TOKEN | ON_HOST and hasattr(value, "to")]
        there = dict(zip(names, self._sent([shared.inputs[name] for name in names]), strict=True))
        return Shared({**shared.inputs, **there}, shared.ids)

    def _sent(self, tensors: Sequence[Any]) -> list[Any]:
        """On the GPU, beside what it is at. The thread waits, so that pinned memory can be used again for the next image."""
        import torch

        device = self.encoder.loaded.device
        with self._lock:
            if self._beside is None:
                self._beside = torch.cuda.Stream(device)
        with torch.cuda.stream(self._beside):
            given = [sent(tensor, device) for tensor in tensors]
            there = torch.cuda.Event(blocking=True)
            there.record()
        for tensor in given:
            tensor.record_stream(torch.cuda.default_stream(device))
        there.synchronize()
        return given

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


def part_size(first: Shared) -> int:
    """Images in a part, from how many tokens its first one has."""
    return images_of(int(first.inputs["input_ids"].shape[1]))


def images_of(tokens: int) -> int:
    """Images in a part, where one has so many tokens."""
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
            inputs[name] = torch.cat([value if name in ON_HOST else sent(value, loaded.device) for value in values])
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
    """How many prepare images: fewer where cores are few, or shared with other workers on this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(PROCESSES, cores // int(os.environ.get("PALPATE_WORKERS", "1")) // CORES))


def _own(encoder: Encoder) -> Encoder:
    """An encoder with a processor and tokenizer of its own, and the same weights."""
    processor = hasten(copy.deepcopy(encoder.loaded.processor))
    tokenizer = getattr(processor, "tokenizer", processor)
    return Encoder(replace(encoder.loaded, processor=processor, tokenizer=tokenizer), encoder.system)
