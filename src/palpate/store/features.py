"""Inner states of models, beside the ledger: one memory-mapped file per model and task, written row by row, never held whole.

    RUN/features/current.json       which folder holds what the last plan asks for
    RUN/features/<digest>/index.json    model, task, case ids, and the columns of every stage
                          states.f16    cases × columns, float16, one row per case
                          done.u8       one byte per case, written after its row is on the disk

A row whose byte is not set counts as absent, so a killed run leaves nothing half-written: the case is looked at again. A
stage's values are stored divided by its ``scale``, a power of two, because some models' states exceed float16.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from palpate.errors import RunError
from palpate.parts import Features, FeatureStage
from palpate.store.keys import digest

FORMAT_VERSION = 1
HEADROOM = 4096.0
"""A stage's first row is brought below this; later rows may exceed it sixteenfold before they are cut off."""
LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True, slots=True)
class StoredStage:
    """A stage with its columns: states[:, start:stop] × scale."""

    stage: FeatureStage
    start: int
    stop: int
    scale: float


@dataclass(frozen=True, slots=True)
class Index:
    """What a folder holds."""

    model: str
    task: str
    cases: tuple[str, ...]
    stages: tuple[StoredStage, ...]

    @property
    def width(self) -> int:
        """Columns in all."""
        return self.stages[-1].stop

    def to_json(self) -> str:
        """As it lies in ``index.json``."""
        stages = [{**asdict(s.stage), "start": s.start, "stop": s.stop, "scale": s.scale} for s in self.stages]
        what = {"format": FORMAT_VERSION, "model": self.model, "task": self.task, "cases": list(self.cases), "stages": stages}
        return json.dumps(what, indent=1) + "\n"


def read_index(folder: Path) -> Index | None:
    """The folder's index; None before its first row. Raises RunError where it cannot be read."""
    file = folder / "index.json"
    if not file.exists():
        return None
    try:
        raw: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if raw["format"] != FORMAT_VERSION:
            raise RunError(
                f"has format {raw['format']}", where=str(file), expected=f"format {FORMAT_VERSION}", hint="update Palpate"
            )
        stages = tuple(
            StoredStage(FeatureStage(s["kind"], s["depth"], s["pooling"], s["prompt"]), s["start"], s["stop"], s["scale"])
            for s in raw["stages"]
        )
        return Index(raw["model"], raw["task"], tuple(raw["cases"]), stages)
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise RunError(f"cannot be read: {fault}", where=str(file), hint="delete its folder and run again") from None


class FeatureWriter:
    """Rows of one model and task. ``key``: digest of everything that shapes the states; another key is another folder."""

    def __init__(self, run_folder: Path, model: str, task: str, cases: Sequence[str], key: str) -> None:
        self.root = run_folder / "features"
        self.folder = self.root / digest({"model": model, "task": task, "key": key, "cases": list(cases)})
        self.model, self.task, self.cases = model, task, tuple(cases)
        self._row = {case: i for i, case in enumerate(self.cases)}
        self._index = read_index(self.folder)
        self._done = _done(self.folder, len(self.cases))

    def wants(self, case: str) -> bool:
        """True where the case's row is not there yet."""
        return case in self._row and not self._done[self._row[case]]

    def add(self, found: Iterable[tuple[str, Features]]) -> None:
        """Write the rows, then mark them. A case already there, or not of this task, is passed over. Raises RunError."""
        rows = [(self._row[case], features) for case, features in found if self.wants(case)]
        if not rows:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self._index is None:
                self._index = self._begin(rows[0][1])
            self._write(self._index, rows)
        except OSError as fault:
            raise RunError(
                f"inner states cannot be written: {fault.strerror}",
                where=str(self.folder),
                hint="the ledger is safe; run again to go on",
            ) from None

    def _begin(self, first: Features) -> Index:
        stages, at = [], 0
        for stage, vector in first.items():
            stages.append(StoredStage(stage, at, at + len(vector), _scale(vector)))
            at += len(vector)
        index = Index(self.model, self.task, self.cases, tuple(stages))
        _replace(self.folder / "index.json", index.to_json())
        self.make_current()
        return index

    def make_current(self) -> None:
        """Say that this folder holds what the last plan asks for."""
        file = self.root / "current.json"
        held: dict[str, dict[str, str]] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        if held.get(self.model, {}).get(self.task) != self.folder.name and self.folder.exists():
            held.setdefault(self.model, {})[self.task] = self.folder.name
            _replace(file, json.dumps(held, indent=1) + "\n")

    def _write(self, index: Index, rows: Sequence[tuple[int, Features]]) -> None:
        row_bytes = 2 * index.width
        with _opened(self.folder / "states.f16", len(self.cases) * row_bytes) as states:
            for at, features in rows:
                states.seek(at * row_bytes)
                states.write(_packed(index, features).tobytes())
            _to_disk(states)  # the rows are there before anything says so
        with _opened(self.folder / "done.u8", len(self.cases)) as marks:
            for at, _ in rows:
                marks.seek(at)
                marks.write(b"\1")
            _to_disk(marks)
        for at, _ in rows:
            self._done[at] = True


def _opened(file: Path, size: int) -> BinaryIO:
    """For writing at any place, of its full size from the start (empty places take no room on the disk).

    Written as a file, not through a memory map: a full disk is then an error, where a map would end the process.
    """
    file.touch()
    opened = file.open("r+b")
    if file.stat().st_size < size:
        opened.truncate(size)
    return opened


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _packed(index: Index, features: Features) -> NDArray[np.float16]:
    """One row. Raises RunError where the stages are not those of the first row: then something is wrong with the model."""
    row = np.zeros(index.width, np.float16)
    if list(features) != [s.stage for s in index.stages]:
        raise RunError(
            "the stages of two images differ", where=f"model {index.model!r}", expected="the same stages for every image"
        )
    for stored in index.stages:
        vector = np.asarray(features[stored.stage], np.float32)
        if len(vector) != stored.stop - stored.start:
            raise RunError(f"{stored.stage.name} changes its width between images", where=f"model {index.model!r}")
        row[stored.start : stored.stop] = np.clip(vector / stored.scale, -LARGEST, LARGEST)
    return row


def _scale(vector: NDArray[np.float32]) -> float:
    largest = float(np.max(np.abs(vector), initial=0.0))
    return 2.0 ** math.ceil(math.log2(largest / HEADROOM)) if math.isfinite(largest) and largest > HEADROOM else 1.0


def _replace(file: Path, text: str) -> None:
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(file)


def _done(folder: Path, count: int) -> NDArray[np.bool_]:
    marks = np.zeros(count, bool)
    file = folder / "done.u8"
    if file.exists():
        held = np.frombuffer(file.read_bytes(), np.uint8)[:count]
        marks[: len(held)] = held == 1
    return marks


class FeatureStore:
    """The inner states of a run, for reading. Rows follow ``cases``; only those that ``done`` marks hold anything."""

    def __init__(self, folder: Path, current: Mapping[str, Mapping[str, str]]) -> None:
        self.folder, self._current = folder, current

    @classmethod
    def open(cls, run_folder: str | Path) -> FeatureStore:
        """Raises RunError where the run kept no inner states."""
        folder = Path(run_folder) / "features"
        file = folder / "current.json"
        if not file.exists():
            raise RunError(
                "no inner states were kept",
                where=str(run_folder),
                expected="a run whose study has [features]",
                hint="add [features]",
            )
        return cls(folder, json.loads(file.read_text(encoding="utf-8")))

    def held(self) -> list[tuple[str, str]]:
        """(model, task) of everything kept."""
        return [(model, task) for model, tasks in self._current.items() for task in tasks]

    def stages(self, model: str, task: str) -> tuple[FeatureStage, ...]:
        """In the order information flows: vision layers, read, projector, language model over the image, at the last token."""
        return tuple(s.stage for s in self._index(model, task).stages)

    def cases(self, model: str, task: str) -> tuple[str, ...]:
        """The case id of every row."""
        return self._index(model, task).cases

    def done(self, model: str, task: str) -> NDArray[np.bool_]:
        """(n,) which rows hold something."""
        return _done(self._place(model, task), len(self.cases(model, task)))

    def newer(self, model: str, task: str, file: Path) -> bool:
        """Whether states were kept after ``file`` was written: what was made of fewer images is made anew."""
        return (self._place(model, task) / "done.u8").stat().st_mtime_ns > file.stat().st_mtime_ns

    def scale(self, model: str, task: str, stage: FeatureStage | str) -> float:
        """The power of two by which the stored values are to be multiplied; 1 but for very large states."""
        return self._stored(model, task, stage).scale

    def array(self, model: str, task: str, stage: FeatureStage | str) -> NDArray[np.float16]:
        """(n, d) float16, memory-mapped, read-only, to be multiplied by ``scale``. ``stage`` may be its name. Raises RunError."""
        index, stored = self._index(model, task), self._stored(model, task, stage)
        states = np.memmap(self._place(model, task) / "states.f16", np.float16, "r", shape=(len(index.cases), index.width))
        return states[:, stored.start : stored.stop]

    def _stored(self, model: str, task: str, stage: FeatureStage | str) -> StoredStage:
        name = stage if isinstance(stage, str) else stage.name
        for stored in self._index(model, task).stages:
            if stored.stage.name == name:
                return stored
        known = ", ".join(s.stage.name for s in self._index(model, task).stages)
        raise RunError(f"no stage {name!r}", where=f"model {model!r}, task {task!r}", expected=f"one of {known}")

    def _place(self, model: str, task: str) -> Path:
        try:
            return self.folder / self._current[model][task]
        except KeyError:
            held = "; ".join(f"{m} on {t}" for m, t in self.held())
            raise RunError(
                f"no inner states of {model!r} on {task!r}",
                where=str(self.folder.parent),
                expected=held or "[features] in the study",
            ) from None

    def _index(self, model: str, task: str) -> Index:
        index = read_index(self._place(model, task))
        if index is None:
            raise RunError(f"no inner states of {model!r} on {task!r} yet", where=str(self.folder.parent))
        return index
