"""The one command: draw the phantoms, train the five models, measure them, write folders, cards and logs.

    python -m training.train_all --out build/models

Everything is seeded. The two pairs and the reader train side by side on one GPU; see README.md for times and versions.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from training.measure import measure
from training.pictures import draw_all, scratch
from training.recipe import RECIPES, Recipe


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the model folders and logs/")
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="full")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--only", nargs="*", choices=("llava", "gemma", "reader"), default=("llava", "gemma", "reader"))
    parser.add_argument("--bases", type=Path, help="folder that holds trained base models: train only the tuned ones")
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # many small processes: threads inside each would only queue
    plan = Plan(RECIPES[options.recipe], options.out, options.seed, options.device, tuple(options.only), options.bases)
    run(plan)


@dataclass(frozen=True, slots=True)
class Plan:
    """One training run, as the command line gives it."""

    recipe: Recipe
    out: Path
    seed: int
    device: str
    families: tuple[str, ...]
    bases: Path | None = None


def run(plan: Plan) -> None:
    """Draw, train, measure and write."""
    start = time.time()
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        drawn = Path(folder)
        draw_all(plan.recipe.orders(), drawn, plan.seed, cores)
        print(f"drawn in {time.time() - start:.0f} s", flush=True)
        train_together(plan, drawn)
        print(f"trained in {time.time() - start:.0f} s", flush=True)
        measure(plan.out, plan.recipe, drawn, plan.device, workers=min(8, cores))
        print(f"measured in {time.time() - start:.0f} s", flush=True)


def train_together(plan: Plan, drawn: Path) -> None:
    """One process per family: each leaves most of the GPU idle alone. Raises RuntimeError if one fails."""
    # Imported here: the drawing processes import this module too, and need no torch.
    from training.pair import train_pair
    from training.reader import train_reader

    context = multiprocessing.get_context("spawn")
    processes = {}
    for family in plan.families:
        if family == "reader":
            process = context.Process(target=train_reader, args=(plan.recipe, plan.out, plan.seed, plan.device))
        else:
            settings = (family, plan.recipe, drawn, plan.out, plan.seed, plan.device, plan.bases)
            process = context.Process(target=train_pair, args=settings)
        process.start()
        processes[family] = process
    for process in processes.values():
        process.join()
    failed = [family for family, process in processes.items() if process.exitcode]
    if failed:
        raise RuntimeError(f"training failed for {', '.join(failed)}: see the trace above")


if __name__ == "__main__":
    main()
