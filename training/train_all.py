"""The one command: draw the phantoms, train the five models, measure them, write folders, cards and logs.

    python -m training.train_all --out build/models

Everything is seeded. The two pairs and the reader train side by side on one GPU; see README.md for times and versions.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

from training.cards import write_cards, write_logs
from training.pictures import draw_all
from training.recipe import RECIPES, Recipe


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the model folders and logs/")
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="full")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--only", nargs="*", choices=("llava", "gemma", "reader"), default=("llava", "gemma", "reader"))
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # many small processes: threads inside each would only queue
    run(RECIPES[options.recipe], options.out, options.seed, options.device, tuple(options.only))


def run(recipe: Recipe, out: Path, seed: int, device: str, families: tuple[str, ...]) -> None:
    """Draw, train, measure and write."""
    start = time.time()
    out.mkdir(parents=True, exist_ok=True)
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder)
        draw_all(recipe.orders(), drawn, seed, cores)
        drawing = time.time() - start
        print(f"drawn in {drawing:.0f} s", flush=True)
        train_together(families, recipe, drawn, out, seed, device)
    run_facts = {
        "seed": seed,
        "recipe": {name: getattr(recipe, name) for name in Recipe.__dataclass_fields__},
        "drawing_seconds": round(drawing, 1),
        "total_seconds": round(time.time() - start, 1),
        "cores": cores,
        **versions(device),
    }
    write_logs(out, run_facts)
    write_cards(out)
    print(json.dumps(run_facts), flush=True)


def train_together(families: tuple[str, ...], recipe: Recipe, drawn: Path, out: Path, seed: int, device: str) -> None:
    """One process per family: each leaves most of the GPU idle alone. Raises RuntimeError if one fails."""
    # Imported here: the drawing processes import this module too, and need no torch.
    from training.pair import train_pair
    from training.reader import train_reader

    context = multiprocessing.get_context("spawn")
    processes = {}
    for family in families:
        if family == "reader":
            process = context.Process(target=train_reader, args=(recipe, out, seed, device))
        else:
            process = context.Process(target=train_pair, args=(family, recipe, drawn, out, seed, device))
        process.start()
        processes[family] = process
    for process in processes.values():
        process.join()
    failed = [family for family, process in processes.items() if process.exitcode]
    if failed:
        raise RuntimeError(f"training failed for {', '.join(failed)}: see the trace above")


def versions(device: str) -> dict[str, Any]:
    """What the training ran on."""
    import numpy
    import scipy
    import tokenizers
    import torch
    import transformers

    from palpate.cases import phantom

    return {
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU",
        "generator_version": getattr(phantom, "GENERATOR_VERSION", None),
    }


if __name__ == "__main__":
    main()
