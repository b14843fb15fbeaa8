"""What probes of inner states said of each case: one file per model, task and labels, written once.

    RUN/probes/<digest>.npz    scores, thresholded scores and controls of every stage

The digest names the inner states, the labels, the groups and the seed: a corrected label is another file, the old one stays.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from palpate.errors import RunError
from palpate.nouns import Panel
from palpate.rung import Rung
from palpate.store.keys import digest

FORMAT_VERSION = 3


class ProbeStore:
    """The probes of a run folder. Reading needs neither features nor images."""

    def __init__(self, run_folder: Path) -> None:
        self.folder = run_folder / "probes"
        self._states = run_folder / "features" / "current.json"

    def path(self, panel: Panel, seed: int) -> Path | None:
        """Where the probes of a panel's model and task are, or belong; None where no inner states were kept of them."""
        if not self._states.exists():
            return None
        current: Mapping[str, Mapping[str, str]] = json.loads(self._states.read_text(encoding="utf-8"))
        states = current.get(panel.model, {}).get(panel.task)
        if states is None:
            return None
        labels = [panel.cases, panel.label.tolist(), panel.cluster.tolist()]
        return self.file(digest([FORMAT_VERSION, states, labels, seed]))

    def rungs(self, panel: Panel, seed: int) -> dict[str, tuple[Rung, ...]]:
        """Cell → rungs from the first stage to the last; empty where nothing was probed. Raises RunError for a broken file."""
        file = self.path(panel, seed)
        return {} if file is None or not file.exists() else self.read(file)

    def file(self, name: str) -> Path:
        """Where probes are, or belong, whose digest is ``name``."""
        return self.folder / f"{name}.npz"

    def read(self, file: Path) -> dict[str, tuple[Rung, ...]]:
        """What ``write`` kept there. Raises RunError for a broken file."""
        try:
            with np.load(file, allow_pickle=False) as held:
                score, right, control, twin = (held[name] for name in ("score", "right", "control", "twin"))
                width = held["width"]
                repeats = np.where(held["repeats"] < 0, np.nan, held["repeats"])
                cells: dict[str, list[int]] = json.loads(str(held["cells"]))
                stages: list[str] = json.loads(str(held["stages"]))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as fault:
            raise RunError(f"cannot be read: {fault}", where=str(file), hint="delete it and run again") from None
        every = [
            Rung(
                stage,
                score[i].astype(np.float64),
                right[i].astype(np.float64),
                float(control[i]) if np.isfinite(control[i]) else None,
                twin[i].astype(np.float64) if np.isfinite(twin[i]).any() else None,
                repeats[i] if np.isfinite(repeats[i]).any() else None,
                float(width[i]) if np.isfinite(width[i]) else None,
            )
            for i, stage in enumerate(stages)
        ]
        return {cell: tuple(every[i] for i in at) for cell, at in cells.items()}

    def write(self, file: Path, rungs: Mapping[str, Sequence[Rung]]) -> None:
        """Keep what was probed, whole or not at all; a rung that cells share is written once."""
        every: list[Rung] = []
        cells: dict[str, list[int]] = {}
        place: dict[int, int] = {}
        for cell, of_cell in rungs.items():
            for rung in of_cell:
                if id(rung) not in place:
                    place[id(rung)] = len(every)
                    every.append(rung)
            cells[cell] = [place[id(rung)] for rung in of_cell]
        n = every[0].score.size
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f".{file.stem}.new.npz")
        np.savez_compressed(
            fresh,
            score=np.array([r.score for r in every], np.float32),
            right=np.array([r.right for r in every], np.float32),
            control=np.array([np.nan if r.control is None else r.control for r in every]),
            twin=np.array([np.full(n, np.nan) if r.twin is None else r.twin for r in every], np.float32),
            repeats=_sides(every, n),
            width=np.array([np.nan if r.width is None else r.width for r in every]),
            cells=json.dumps(cells),
            stages=json.dumps([r.stage for r in every]),
        )
        fresh.replace(file)


def _sides(every: Sequence[Rung], n: int) -> NDArray[np.int8]:
    """(stages, R, n) 1 on the right side, 0 on the wrong, −1 where nothing was kept."""
    count = max((r.repeats.shape[0] for r in every if r.repeats is not None), default=1)
    sides = [np.full((count, n), np.nan) if r.repeats is None else r.repeats for r in every]
    return np.where(np.isfinite(sides), sides, -1).astype(np.int8)
