"""How many closed questions a second a model answers: the plain path against the shared image prefix.

    python benchmarks/prompts_per_second.py [--path CHECKPOINT] [--images 16] [--threads 1] [--repeats 3]

Twelve closed prompts per image (the reference protocol), greedy, on the bundled LLaVA unless a checkpoint is given. All ways
run interleaved in one process and the best of the repeats counts, so that other load on the machine spoils the ratios least.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

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


def seconds(model: Model, asked: Sequence[Stimulus]) -> float:
    """Wall time of one pass over all images."""
    started = time.perf_counter()
    answers = model.ask(asked)
    taken = time.perf_counter() - started
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
    given = parser.parse_args()
    asked = stimuli(given.images)
    ways = {
        "plain": {"inference": "plain", "images_at_once": 1},
        "prefix, one image at a time": {"inference": "prefix", "images_at_once": 1},
        f"prefix, {given.at_once} images at a time": {"inference": "prefix", "images_at_once": given.at_once},
    }
    models = {
        way: HFKind().build(ModelSpec("m", "hf", {"path": given.path, "threads": given.threads, **options}))
        for way, options in ways.items()
    }
    for model in models.values():
        model.ask(asked[: given.at_once])  # load and warm up
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(given.repeats):
        for way, model in models.items():
            best[way] = min(best[way], seconds(model, asked))
    total = len(asked) * len(PROMPTS)
    print(f"{given.path}: {len(asked)} images x {len(PROMPTS)} closed prompts, {given.threads} thread(s), best of {given.repeats}")
    for way, taken in best.items():
        print(f"  {way:<32} {total / taken:8.0f} answers/s   x{best['plain'] / taken:.1f}")


if __name__ == "__main__":
    main()
