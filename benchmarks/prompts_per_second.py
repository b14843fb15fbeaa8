"""How many closed questions a second a model answers: one prompt at a time against the shared image prefix.

    python benchmarks/prompts_per_second.py [--path CHECKPOINT] [--images 16] [--threads 1] [--repeats 3]

Twelve closed prompts per image (the reference protocol), greedy, on the bundled LLaVA unless a checkpoint is given. All ways
run interleaved in one process and the best of the repeats counts, in wall time and in processor time: the second hardly depends on
what else the machine does, and is what the ratios are taken from. Prints a table; --json also writes it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from palpate.models.bundled import FOLDER
from palpate.models.hf import HFKind
from palpate.nouns import Block, Case, Perturbation, Stimulus, Trial
from palpate.parts import Model, ModelSpec
from palpate.prompts import Wording, reference_prompts

WORDS = Wording("image", "pneumonia", "consolidation, air bronchograms, and silhouettes", "Pneumonia", "No pneumonia", "pneumonia")
PROMPTS = tuple(prompt for prompt in reference_prompts(WORDS) if prompt.form.closed)


class NoSource:
    """The images are made here."""

    def open(self) -> Image.Image:
        """Never asked for."""
        raise OSError("made in the benchmark")


def stimuli(count: int, size: int = 96) -> list[Stimulus]:
    """Noise images with the twelve prompts each."""
    rng, plain, found = np.random.default_rng(0), Perturbation(), []
    for index in range(count):
        case = Case(f"c{index}", index % 2, f"g{index}", f"d{index}", NoSource())
        trials = tuple(Trial(f"{index}|{p.name}", "m", "t", case.id, plain, p) for p in PROMPTS)
        image = Image.fromarray(rng.integers(0, 255, (size, size, 3), dtype=np.uint8))
        found.append(Stimulus(Block("m", "t", case, plain, trials), image))
    return found


def seconds(model: Model, asked: Sequence[Stimulus]) -> tuple[float, float]:
    """(wall time, processor time of all threads) of one pass over all images."""
    started, busy = time.perf_counter(), time.process_time()
    answers = model.ask(asked)
    taken = time.perf_counter() - started, time.process_time() - busy
    failed = [answer.error for row in answers for answer in row if answer.error]
    if failed:
        raise SystemExit(f"{len(failed)} answers failed: {failed[0]}")
    return taken


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", default=str(FOLDER / "phantom-llava"))
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--at-once", type=int, default=8, help="images per batch in the last way")
    parser.add_argument("--json", help="also write the table here")
    given = parser.parse_args()
    asked = stimuli(given.images)
    ways: dict[str, dict[str, object]] = {
        "one prompt at a time": {"inference": "single"},
        "an image's prompts as one batch": {"inference": "plain"},
        "prefix, one image at a time": {"inference": "prefix", "images_at_once": 1},
        f"prefix, {given.at_once} images at a time": {"inference": "prefix", "images_at_once": given.at_once},
        f"prefix unrepeated, {given.at_once} images": {
            "inference": "prefix",
            "images_at_once": given.at_once,
            "attend": "unrepeated",
        },
    }
    models = {
        way: HFKind().build(ModelSpec("m", "hf", {"path": given.path, "threads": given.threads, **options}))
        for way, options in ways.items()
    }
    for model in models.values():
        model.ask(asked[: given.at_once])  # load and warm up
    best = {way: (float("inf"), float("inf")) for way in ways}
    for _ in range(given.repeats):
        for way, model in models.items():
            wall, busy = seconds(model, asked)
            best[way] = min(best[way][0], wall), min(best[way][1], busy)
    report(given, best, len(asked) * len(PROMPTS))


def report(given: argparse.Namespace, best: dict[str, tuple[float, float]], total: int) -> None:
    """The table, and the same as JSON where a file is named."""
    reference = best["one prompt at a time"]
    print(f"{Path(given.path).name}: {given.images} images x {len(PROMPTS)} closed prompts, {given.threads} thread(s)")
    print(f"  {'':<34} {'answers/s':>10} {'x':>6} {'ms of processor each':>22} {'x':>6}")
    rows = []
    for way, (wall, busy) in best.items():
        row = {"way": way, "answers_per_second": total / wall, "processor_ms": 1000 * busy / total}
        row |= {"times": reference[0] / wall, "times_processor": reference[1] / busy}
        rows.append(row)
        print(f"  {way:<34} {total / wall:>10.0f} {row['times']:>6.1f} {row['processor_ms']:>22.2f} {row['times_processor']:>6.1f}")
    if given.json:
        Path(given.json).write_text(json.dumps({"path": Path(given.path).name, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
