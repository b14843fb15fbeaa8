"""What Ray on one machine makes of N workers: answers a second against N times those of one, and how long it takes to start.

Repeat: ``python -m benchmarks.ray_speed``. The scripted model waits 20 ms for each answer, as it would for a GPU, so two cores are
enough for eight workers. Answers go through the ledger; a rate is taken from the first stored batch to the last.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from palpate import pipeline
from palpate.nouns import Tally
from palpate.stages.plan import plan
from palpate.store.folder import RunFolder
from palpate.study import Study

LATENCY = 0.02  # seconds an answer
SECONDS = 30  # that each measurement is to take
PROMPTS = 12
STUDY = f"""
name = "ray"
seed = 3
[[models]]
name = "scripted"
kind = "scripted"
latency = {LATENCY}
blocks_at_once = 1
[[tasks]]
name = "pneumonia_cxr"
source = {{ kind = "folder", path = "images" }}
[data]
inspect = false
[ask]
"""


def one(workers: int, executor: str) -> dict[str, float]:
    """Answers a second, and seconds until the first batch is stored."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        images = round(workers * SECONDS / (LATENCY * PROMPTS) / 2) * 2
        for i in range(images):
            path = folder / "images" / ("pneumonia", "normal")[i % 2] / f"{i:05}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.random.default_rng(i).integers(0, 255, (32, 32), dtype=np.uint8)).save(path)
        (folder / "study.toml").write_text(f'{STUDY}executor = "{executor}"\nworkers = {workers}\n', encoding="utf-8")
        planned = plan(Study.load(folder / "study.toml"))
        stored: list[tuple[float, int]] = []

        def tell(tally: Tally) -> None:
            stored.append((time.perf_counter(), tally.done))

        begun, processor = time.perf_counter(), time.process_time()
        pipeline.ask(planned, RunFolder(folder / "run"), tell)
        (first, before), (last, after) = stored[0], stored[-1]
        return {
            "answers/s": (after - before) / (last - first),
            "first after s": first - begun,
            "driver's processor, ms an answer": 1000 * (time.process_time() - processor) / planned.n_trials,
        }


def measure(counts: tuple[int, ...] = (1, 8)) -> dict[str, float]:
    """Figure → value; the share is that of ``counts[-1]`` times one worker."""
    found: dict[str, float] = {}
    rates = []
    for workers in counts:
        figures = one(workers, "ray")
        rates.append(figures["answers/s"])
        found |= {f"{workers} workers: {name}": value for name, value in figures.items()}
    found[f"share of {counts[-1]} times one worker"] = rates[-1] / (rates[0] * counts[-1] / counts[0])
    return found


if __name__ == "__main__":
    for name, value in measure(tuple(map(int, sys.argv[1:])) or (1, 8)).items():
        print(f"{name:48} {value:10.3f}", flush=True)
