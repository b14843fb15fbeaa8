"""What Palpate itself costs: a scripted model through plan, ask, store and read, and memory at 200 and at 2,000 images.

Repeat: ``OMP_NUM_THREADS=1 python -m benchmarks.overhead``. Every figure is of a process of its own. Processor time is what
the process used; wall time is that and whatever else the machine was doing.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from palpate import pipeline
from palpate.stages.plan import plan
from palpate.stages.read import read
from palpate.store.folder import RunFolder
from palpate.study import Study

T = TypeVar("T")

SIZES = (200, 2000)  # images; twelve questions on each
SIDE = 64  # pixels
STUDY = """
name = "overhead"
seed = 3
[[models]]
name = "scripted"
kind = "scripted"
accuracy = 0.7
refusal_rate = 0.05
[[tasks]]
name = "pneumonia_cxr"
source = { kind = "folder", path = "images", group_regex = "(person\\\\d+)" }
[data]
inspect = false
"""
"""The look at the images before the first question is left out: it is done once a study, whatever is asked."""


def one(images: int) -> dict[str, float]:
    """Figures of one study: seconds of processor and of wall per stage, responses a second, peak memory in MB."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        _draw(folder / "images", images)
        (folder / "study.toml").write_text(STUDY, encoding="utf-8")
        study = Study.load(folder / "study.toml")
        run = RunFolder(folder / "run")
        figures: dict[str, float] = {}
        planned = _timed(figures, "plan", lambda: plan(study))
        _timed(figures, "ask and store", lambda: pipeline.ask(planned, run))
        count = _timed(figures, "read and store", lambda: _read(study, run))
        if count != planned.n_trials:
            raise SystemExit(f"{count} of {planned.n_trials} answers were read")
        for kind in ("processor", "wall"):
            seconds = sum(value for name, value in figures.items() if name.endswith(f"{kind} s"))
            figures[f"responses/s of {kind} time"] = count / seconds
        figures["peak memory, MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return figures


def _draw(folder: Path, images: int) -> None:
    for k, label in enumerate(("pneumonia", "normal")):
        (folder / label).mkdir(parents=True)
        for i in range(images // 2):
            pixels = np.random.default_rng([k, i]).integers(0, 255, (SIDE, SIDE), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"person{k}{i // 2:05d}_{i}.png")


def _read(study: Study, run: RunFolder) -> int:
    with run.writing(study.name, study.to_toml()) as ledger:
        return read(study, ledger)


def _timed(figures: dict[str, float], stage: str, work: Callable[[], T]) -> T:
    wall, processor = time.perf_counter(), time.process_time()
    found = work()
    figures[f"{stage}, processor s"] = time.process_time() - processor
    figures[f"{stage}, wall s"] = time.perf_counter() - wall
    return found


def measure() -> dict[str, float]:
    """Figure → value, for both sizes."""
    found: dict[str, float] = {}
    for images in SIZES:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.overhead", str(images)], capture_output=True, text=True, check=True
        )
        figures: dict[str, Any] = json.loads(done.stdout)
        found |= {f"{images:,} images: {name}": value for name, value in figures.items()}
    return found


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(one(int(sys.argv[1]))))
    else:
        for name, value in measure().items():
            print(f"{name:48} {value:10.2f}")
