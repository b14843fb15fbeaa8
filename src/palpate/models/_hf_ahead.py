"""Images into tensors ahead of the model: while the GPU works on some, other processes prepare the next, each image by itself.

A batch of images goes through the model in parts, one after another; only the first part is waited for, so it is small. The keys
and values of all parts are then continued together, for decoding pays with many rows and preparing does not.

Processes, not threads: an image processor holds Python's lock and the memory map for much of its work, and eight threads did not
keep up with one GPU. Where the model runs on the CPU one thread does it, since nothing is won by more.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from palpate.models._hf_encode import PER_TOKEN, Encoder, Shared

if TYPE_CHECKING:
    from PIL.Image import Image

FIRST, FEWEST, MOST = 2, 8, 32
"""Images in the first part, and in any later one. Part of what shapes a batch: changing them raises ADAPTER_VERSION."""
TOKENS_AT_ONCE = 24_576
"""Tokens a later part has at most, where that is more than FEWEST images: fewer leave a GPU idle, more only take memory."""
PROCESSES = 8
"""At most; half the processors there are, so that the model's own process and a second GPU's have theirs."""


class Ahead:
    """Prepares images with copies of the model's processor: tokenizers cannot be shared while they pad."""

    def __init__(self, encoder: Encoder, *, processes: int | None = None) -> None:
        """``processes`` None: as many as fit the machine for a model on a GPU; 0: a thread."""
        self.encoder = encoder
        fitting = min(PROCESSES, (os.cpu_count() or 1) // 2) if encoder.loaded.device.startswith("cuda") else 0
        several = fitting if processes is None else processes
        self._own = _without_weights(encoder), encoder.loaded.dtype
        self._pool: Executor = ThreadPoolExecutor(1, "palpate-images")
        self._prepare: Any = partial(prepare, *self._own)
        if several:
            self._pool, self._prepare = ProcessPoolExecutor(several, get_context("spawn"), _begin, self._own), _prepare_here
        self._begun: dict[tuple[int, ...], list[Future[Shared]]] = {}

    def begin(self, questions: Sequence[Sequence[str]], images: Sequence[Image]) -> None:
        """Start on a batch that comes next, before it is asked for."""
        self._begun[_names(images)] = self._submitted(questions, images)

    def parts(self, questions: Sequence[Sequence[str]], images: Sequence[Image]) -> Iterator[Shared]:
        """``encoder.shared`` of every part, in order, in the model's number format, the pixels on its device."""
        waiting = self._begun.pop(_names(images), None) or self._submitted(questions, images)
        start, count = 0, FIRST
        try:
            while start < len(images):
                some = slice(start, start + count)
                part = self._joined(waiting[some])
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

    def close(self) -> None:
        """Ends the processes, or the thread."""
        self._pool.shutdown(cancel_futures=True)

    def _submitted(self, questions: Sequence[Sequence[str]], images: Sequence[Image]) -> list[Future[Shared]]:
        pairs = [(list(asked), image) for asked, image in zip(questions, images, strict=True)]
        try:
            return [self._pool.submit(self._prepare, *pair) for pair in pairs]
        except BrokenExecutor:
            self._in_a_thread()
            return [self._pool.submit(self._prepare, *pair) for pair in pairs]

    def _joined(self, waiting: Sequence[Future[Shared]]) -> Shared | None:
        """None where they cannot be put together, or the processes have died: the model's own process then does it."""
        try:
            return joined([one.result() for one in waiting], self.encoder.loaded)
        except BrokenExecutor:
            return None

    def _in_a_thread(self) -> None:
        self._pool.shutdown(wait=False)
        self._pool = ThreadPoolExecutor(1, "palpate-images")
        self._prepare = partial(prepare, *self._own)


def prepare(encoder: Encoder, dtype: str, questions: list[str], image: Image) -> Shared:
    """One image and the questions on it, pixels in the model's number format (rounded as its device would)."""
    import torch

    shared, wanted = encoder.shared([questions], [image]), getattr(torch, dtype)
    pixels = {
        n: v.to(wanted) for n, v in shared.inputs.items() if n not in PER_TOKEN and hasattr(v, "to") and v.is_floating_point()
    }
    return Shared(shared.inputs | pixels, shared.ids)


_here: list[tuple[Encoder, str]] = []
"""In a process that prepares: what with, and in which number format."""


def _begin(encoder: Encoder, dtype: str) -> None:
    import torch

    torch.set_num_threads(1)
    _here.append((encoder, dtype))


def _prepare_here(questions: list[str], image: Image) -> Shared:
    return prepare(*_here[-1], questions, image)


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
            inputs[name] = torch.cat([_sent(value, loaded.device) for value in values])
        else:
            return None
    return Shared(inputs, [ids for one in ones for ids in one.ids])


def _drop(waiting: Sequence[Future[Shared]]) -> None:
    for one in waiting:
        one.cancel()


def _names(images: Sequence[Image]) -> tuple[int, ...]:
    """Which images these are: the objects, which live as long as the questions about them are asked."""
    return tuple(map(id, images))


def _sent(value: Any, device: str) -> Any:
    """On its way to the device: from pinned memory a copy does not wait for what the GPU was given before."""
    return value.pin_memory().to(device, non_blocking=True) if device.startswith("cuda") else value.to(device)


def _without_weights(encoder: Encoder) -> Encoder:
    """An encoder with a processor and tokenizer of its own, which can be sent to another process."""
    processor = copy.deepcopy(encoder.loaded.processor)
    tokenizer = getattr(processor, "tokenizer", processor)
    return Encoder(replace(encoder.loaded, model=None, fused=None, processor=processor, tokenizer=tokenizer), encoder.system)
