"""Probes of one model: 60 layers × 500 cases × d = 4,096, 5 × 5 grouped folds, with the control on permuted labels.

``python benchmarks/probe_speed.py`` prints the seconds; the goal is 120 on two cores.
"""

from __future__ import annotations

import time

import numpy as np

from palpate.stats.probes import permuted_labels, probe, repeated_folds

LAYERS, CASES, WIDTH, REPEATS, FOLDS = 60, 500, 4096, 5, 5


def seconds(layers: int = LAYERS) -> float:
    """Wall time of probing that many layers, drawing them left out."""
    rng = np.random.default_rng(0)
    cluster = np.arange(CASES) // 2
    label = (cluster % 2).astype(np.int8)
    fold = repeated_folds(label, cluster, REPEATS, FOLDS, rng)
    permuted = np.stack([permuted_labels(label, cluster, rng) for _ in range(REPEATS)])
    spent = 0.0
    for _ in range(layers):
        states = (rng.standard_normal((CASES, WIDTH)) + 0.02 * label[:, None]).astype(np.float16)
        start = time.perf_counter()
        probe(states, label, fold, permuted)
        spent += time.perf_counter() - start
    return spent


if __name__ == "__main__":
    print(f"{LAYERS} layers × {CASES} cases × {WIDTH}, {REPEATS} × {FOLDS} folds: {seconds():.1f} s")
