"""Draws the training images on all cores, into memory-mapped arrays that every training process shares."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.answers import Facts
from training.scenes import SIZE, draw_scene, scene_facts

SCENE = "scene"
SCRATCH_BYTES = 8_000_000_000
GRID = 12
"""Lesion masks are kept as a 12 × 12 coverage map: one cell per patch of the vision towers."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to draw: ``count`` images of one modality ("scene" for general drawings) from one split, at one difficulty."""

    modality: str
    split: str
    count: int
    d_prime: float | None = None  # None: the modality's own


@dataclass(frozen=True)
class Pictures:
    """Drawn images, (n, 96, 96, 3) uint8, lesion maps (n, 12, 12) uint8, and one record each."""

    images: NDArray[np.uint8]
    lesions: NDArray[np.uint8]
    records: tuple[Mapping[str, Any], ...]

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def facts(self) -> tuple[Facts, ...]:
        """What question writers need to know. A scene has label −1."""
        return tuple(Facts(r["modality"], r["label"], r["evidence"], r["conspicuity"], r["metadata"]) for r in self.records)


def draw_all(orders: Mapping[str, tuple[Order, ...]], folder: Path, seed: int, workers: int) -> None:
    """Draw each named set into ``folder``/name.{images.npy, lesions.npy, json}."""
    folder.mkdir(parents=True, exist_ok=True)
    # Spawned, so that each process reads the thread limits from the environment before it loads numpy.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for name, parts in orders.items():
            chunks = [chunk for order in parts for chunk in _chunks(order)]
            total = sum(order.count for order in parts)
            images = np.lib.format.open_memmap(folder / f"{name}.images.npy", "w+", np.uint8, (total, SIZE, SIZE, 3))
            lesions = np.lib.format.open_memmap(folder / f"{name}.lesions.npy", "w+", np.uint8, (total, GRID, GRID))
            records: list[dict[str, Any]] = []
            for pixels, maps, facts in pool.map(partial(_draw_chunk, seed=seed), chunks):
                images[len(records) : len(records) + len(facts)] = pixels
                lesions[len(records) : len(records) + len(facts)] = maps
                records += facts
            (folder / f"{name}.json").write_text(json.dumps(records), encoding="utf-8")


def scratch() -> str | None:
    """Where to keep drawn images: memory, where there is plenty (a slow disk costs minutes), else the usual place (None)."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > SCRATCH_BYTES else None


def load(folder: Path, name: str) -> Pictures:
    """A set drawn before, memory-mapped."""
    records = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    images, lesions = (np.load(folder / f"{name}.{kind}.npy", mmap_mode="r") for kind in ("images", "lesions"))
    return Pictures(images, lesions, tuple(records))


def _chunks(order: Order, size: int = 200) -> Iterator[tuple[Order, int, int]]:
    for start in range(0, order.count, size):
        yield order, start, min(start + size, order.count)


def _draw_chunk(chunk: tuple[Order, int, int], seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], list[dict[str, Any]]]:
    order, start, stop = chunk
    drawn = [_draw(order, index, seed) for index in range(start, stop)]
    return np.stack([d[0] for d in drawn]), np.stack([d[1] for d in drawn]), [d[2] for d in drawn]


def _draw(order: Order, index: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], dict[str, Any]]:
    if order.modality == SCENE:
        pixels, scene = draw_scene(index, order.split, seed)
        facts = {"scene": scene, **scene_facts(scene)}
        blank = np.zeros((GRID, GRID), np.uint8)
        return (
            pixels,
            blank,
            {"modality": SCENE, "patient": f"scene-{index}", "label": -1, "evidence": 0.0, "conspicuity": 0.0, "metadata": facts},
        )
    from palpate.cases.phantom import draw

    phantom = draw(order.modality, index, split=order.split, seed=seed, size=SIZE, d_prime=order.d_prime)
    metadata = {key: _plain(value) for key, value in phantom.metadata.items()}
    cell = SIZE // GRID
    coverage = phantom.mask.reshape(GRID, cell, GRID, cell).mean((1, 3))
    record = {
        "modality": order.modality,
        "patient": phantom.patient,
        "label": int(phantom.label),
        "evidence": float(phantom.evidence),
        "conspicuity": float(metadata["conspicuity"]),
        "metadata": metadata,
    }
    return phantom.image, (coverage * 255).astype(np.uint8), record


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
