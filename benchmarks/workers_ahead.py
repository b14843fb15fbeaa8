"""What it gives that worker processes open the next images while the model is asked: batches handed one at a time against now.

Repeat: ``python -m benchmarks.workers_ahead [--ray] [2 4 8]`` (numbers of workers). A scripted model that takes 0.2 s a batch,
as for a GPU, and images that take a known time to open; both wait without computing, so two cores are enough for eight workers.
Workers are there before the clock starts. "One at a time" is the same executor with one batch a worker: it opens what it is given,
then asks. "Of the bound": of what is possible where a first batch must be opened before it is asked.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image

from palpate.executors import _flow
from palpate.executors.local import LocalExecutor
from palpate.executors.ray_pool import RayExecutor, RaySettings
from palpate.nouns import Block, ImageRef
from palpate.parts import ModelSpec
from palpate.stages.plan import plan
from palpate.study import Study

ASKING = 0.2  # seconds a batch
OPENING = (0.02, 0.1, 0.2, 0.4)  # seconds a batch
IMAGES, PROMPTS = 2, 12  # of a batch
BATCHES = 15  # a worker
SPEC = ModelSpec("scripted", "scripted", {"latency": ASKING / (IMAGES * PROMPTS)})
STUDY = """
name = "ahead"
seed = 3
[[models]]
name = "scripted"
kind = "scripted"
[[tasks]]
name = "pneumonia_cxr"
source = { kind = "folder", path = "images" }
"""


@dataclass(frozen=True)
class Slow:
    """An image that takes its time to open."""

    ref: ImageRef
    seconds: float

    def open(self) -> Image.Image:
        """The image, after a while."""
        time.sleep(self.seconds)
        return self.ref.open()


def blocks(folder: Path, count: int) -> list[Block]:
    """As many images with their questions."""
    for i in range(count):
        path = folder / "images" / ("pneumonia", "normal")[i % 2] / f"{i:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (32, 32), dtype=np.uint8)).save(path)
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    study = Study.load(folder / "study.toml")
    return list(plan(study).blocks(study.models[0]))


def batches(given: list[Block], seconds: float) -> list[list[Block]]:
    """Cut into batches that take so long to open."""
    slow = [replace(b, case=replace(b.case, image=Slow(b.case.image, seconds / IMAGES))) for b in given]
    return [slow[i : i + IMAGES] for i in range(0, len(slow), IMAGES)]


@contextmanager
def handed(at_once: int) -> Iterator[None]:
    """With so many batches a worker."""
    with mock.patch.object(_flow, "AT_ONCE", at_once):
        yield


def timed(executor: LocalExecutor | RayExecutor, given: list[list[Block]]) -> float:
    """Seconds a batch of one worker, the first batch's opening and the end included."""
    begun = time.perf_counter()
    answered = sum(1 for _ in executor.run(SPEC, given))
    assert answered == len(given)
    return time.perf_counter() - begun


def measure(workers: int, *, ray: bool) -> Iterator[tuple[float, float, float]]:
    """(seconds a batch to open, seconds a batch one at a time, seconds a batch now)."""
    with tempfile.TemporaryDirectory() as text:
        given = blocks(Path(text), workers * BATCHES * IMAGES)
        executor = RayExecutor(RaySettings(workers=workers), 3) if ray else LocalExecutor(workers, 3)
        try:
            timed(executor, batches(given, 0.0))  # until all workers are there
            for opening in OPENING:
                slow = batches(given, opening)
                with handed(1):
                    before = timed(executor, slow) / BATCHES
                yield opening, before, timed(executor, slow) / BATCHES
        finally:
            executor.close()


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("workers", nargs="*", type=int, default=[2, 8])
    parser.add_argument("--ray", action="store_true")
    chosen = parser.parse_args()
    print(f"asking takes {ASKING} s a batch")
    print(f"{'workers':>8} {'opening, s':>11} {'one at a time, s':>17} {'ahead, s':>9} {'ratio':>6}  {'of the bound':>12}")
    for workers in chosen.workers:
        for opening, before, now in measure(workers, ray=chosen.ray):
            bound = max(ASKING, opening) + min(ASKING, opening) / BATCHES
            row = f"{workers:8} {opening:11} {before:17.3f} {now:9.3f} {before / now:6.2f} {bound / now:13.0%}"
            print(row, flush=True)


if __name__ == "__main__":
    main()
