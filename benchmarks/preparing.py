"""How much preparing images takes from the thread that feeds a GPU, without a GPU.

    OMP_NUM_THREADS=1 python -m benchmarks.preparing [--folder build/preparing] [--images 500] [llava gemma]

The real processors of LLaVA-1.6 (512 × 512 pixels) and Gemma-3 (896 × 896 pixels), noise images with 12 questions each. The thread
that would launch kernels runs tiny tensor operations while images are prepared as fast as they can be. Three ways: the family's own
code in eight threads, the same looked up in two (``_hf_tables``), and other processes (``_hf_apart``).

Linux, and the right to set real-time priorities, so that what else the machine does counts little: the thread goes before all
others and was held up for its wall time less what it ran, less the share the system keeps for others (measured first, alone).
"""

from __future__ import annotations

import argparse
import os
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import torch
from PIL import Image

from benchmarks.gpu_checkpoints import MAKERS
from palpate.models import _hf_ahead, _hf_load
from palpate.models._hf_ahead import Ahead
from palpate.models._hf_encode import Encoder

SIDES = {"llava": 512, "gemma": 896}
NEEDED = {"llava": 10, "gemma": 33}
"""Images a second at the speed aimed at: 115 and 400 responses, 12 to an image."""
AT_ONCE = 8
WAYS = {"own code, 8 threads": (8, 0, False), "looked up, 2 threads": (2, 0, True), "2 processes": (2, 2, True)}


def encoder_of(name: str, folder: Path) -> Encoder:
    """The processor of a checkpoint of real size, without its weights."""
    if not folder.exists():
        MAKERS[name](folder)
    settings = SimpleNamespace(trust_remote_code=False, image_backend="pil", path=str(folder))
    processor = _hf_load._processor(SimpleNamespace(folder=folder), settings, causal=False)  # type: ignore[arg-type]
    processor.tokenizer.padding_side = "left"
    template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    pad = processor.tokenizer.pad_token_id
    facts = (processor.tokenizer, "cpu", "bfloat16", False, name, template, frozenset[int](), pad, True)
    return Encoder(_hf_load.Loaded(SimpleNamespace(dtype=torch.bfloat16), processor, *facts), None)


@contextmanager
def preparing(encoder: Encoder, threads: int, processes: int, looked_up: bool) -> Iterator[Ahead]:
    """Prepared in this way, with all processes ready."""
    with mock.patch.object(_hf_ahead, "THREADS", threads):
        if looked_up:
            ahead = Ahead(encoder, processes)
        else:
            with mock.patch.object(_hf_ahead, "hasten", lambda processor: processor):
                ahead = Ahead(encoder, processes)
    ready = [ahead._free.get(timeout=300) for _ in range(processes)]
    for one in ready:
        ahead._free.put(one)
    try:
        yield ahead
    finally:
        ahead.close()


@contextmanager
def ahead_of_others() -> Iterator[None]:
    """The calling thread first, those that prepare images next: none of them waits for a core while it may run Python."""
    own = [0, *(one.native_id for one in threading.enumerate() if one.name.startswith("palpate-images"))]
    for one in own:
        os.sched_setscheduler(one or 0, os.SCHED_FIFO, os.sched_param(1 if one else 2))
    try:
        yield
    finally:
        for one in own:
            os.sched_setscheduler(one or 0, os.SCHED_OTHER, os.sched_param(0))


def at_work(finished: Callable[[], bool]) -> tuple[float, float]:
    """(wall time, time it ran) in seconds of this thread, which launches until that is finished."""
    x = torch.ones(4)
    with ahead_of_others():
        ran, started = time.thread_time(), time.perf_counter()
        while not finished():
            for _ in range(20):
                x = x * 1.0 + 0.0
        return time.perf_counter() - started, time.thread_time() - ran


def kept_for_others() -> float:
    """The share of its time a thread does not run though nothing holds it up."""
    end = time.perf_counter() + 5
    wall, ran = at_work(lambda: time.perf_counter() > end)
    return 1 - ran / wall


def held_up(ahead: Ahead, questions: list[str], images: list[Image.Image], count: int, kept: float) -> float:
    """Seconds for every of ``count`` images for which this thread could not go on, while others are prepared one after another."""
    waiting, left = deque(ahead._submitted([questions] * len(images), images)), count

    def finished() -> bool:
        nonlocal left
        while left and waiting[0].done():
            waiting.popleft()
            left -= 1
            waiting.extend(ahead._submitted([questions], [images[left % len(images)]]))
        return not left

    wall, ran = at_work(finished)
    for one in waiting:
        one.result()
    return (wall * (1 - kept) - ran) / count


def first(ahead: Ahead, questions: list[str], images: list[Image.Image]) -> float:
    """Seconds until the first part of a batch is there, with as many images to come after it."""
    later = list(images)
    later.reverse()
    ahead.begin([questions] * len(later), later)
    started = time.perf_counter()
    parts = ahead.parts([questions] * len(images), images)
    next(parts)
    taken = time.perf_counter() - started
    list(parts)
    for _, waiting in ahead._begun.values():
        for one in waiting:
            one.result()
    ahead.forget()
    return taken


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("models", nargs="*", default=list(SIDES))
    parser.add_argument("--folder", type=Path, default=Path("build/preparing"))
    parser.add_argument("--images", type=int, default=500)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    kept = kept_for_others()
    rng = np.random.default_rng(0)
    print(f"{'':28} {'held up, ms an image':>22} {'at the speed aimed at':>22} {'first part of 8, ms':>20}")
    for name in chosen.models:
        side = SIDES[name]
        images = [Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)) for _ in range(AT_ONCE)]
        encoder = encoder_of(name, chosen.folder / name)
        questions = [encoder.render(f"Is there evidence of finding {i} in this image?", image=True) for i in range(12)]
        for way, (threads, processes, looked_up) in WAYS.items():
            with preparing(encoder, threads, processes, looked_up) as ahead:
                held_up(ahead, questions, images, AT_ONCE, kept)
                held = held_up(ahead, questions, images, chosen.images, kept)
                waited = statistics.median(first(ahead, questions, images) for _ in range(12))
            print(f"{name}, {way:21} {held * 1e3:22.2f} {held * NEEDED[name]:21.1%} {waited * 1e3:20.0f}", flush=True)


if __name__ == "__main__":
    main()
