"""Measures trained folders on the test phantoms and writes ``logs/final.json`` and the model cards.

    python -m training.measure --out build/bundled --device cpu

Part of ``training.train_all``; alone, it measures again what is there.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from training.cards import trained_models, write_cards, write_final
from training.pictures import draw_all, scratch
from training.provenance import provenance
from training.recipe import FULL, Recipe


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder with the model folders and logs/")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--workers", type=int, default=min(8, os.cpu_count() or 1))
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        drawn = Path(folder)
        draw_all({name: order for name, order in FULL.orders().items() if name.startswith("test")}, drawn, 0, os.cpu_count() or 1)
        measure(options.out, FULL, drawn, options.device, options.workers)


def measure(out: Path, recipe: Recipe, drawn: Path, device: str, workers: int) -> None:
    """Measure every vision-language model trained in ``out`` on the drawn test sets; write figures and cards."""
    from training.evaluate import measure_all

    trained = trained_models(out)
    names = [name for name, facts in trained.items() if facts["family"] != "reader"]
    figures = measure_all(names, recipe, drawn, out, device, workers) if names else {}
    write_final(out, trained, figures, provenance(device, 0))
    write_cards(out)


if __name__ == "__main__":
    main()
