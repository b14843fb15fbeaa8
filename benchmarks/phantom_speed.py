"""Phantoms drawn per second on one core at 96 pixels. Repeat: ``OMP_NUM_THREADS=1 python -m benchmarks.phantom_speed``."""

from __future__ import annotations

import time

from palpate.cases.phantom import MODALITIES, draw

WARM_UP, COUNT = 20, 300


def measure() -> dict[str, float]:
    """Modality → images per second."""
    figures = {}
    for modality in MODALITIES:
        for i in range(WARM_UP):
            draw(modality, i)
        started = time.perf_counter()
        for i in range(COUNT):
            draw(modality, 1000 + i)
        figures[f"{modality}, images/s"] = COUNT / (time.perf_counter() - started)
    return figures


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:30} {value:8.0f}")
