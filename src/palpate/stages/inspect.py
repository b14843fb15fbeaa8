"""inspect: images → their data card. Asks no model; what it finds warns, or stops a study that says so."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palpate.errors import SourceError, StudyError
from palpate.inspection.card import DataCard
from palpate.inspection.examine import examine, identity
from palpate.nouns import CaseSet
from palpate.parts import Labels, Sample
from palpate.registry import part
from palpate.stages.plan import Plan, draw_cases
from palpate.stages.ready import refuse
from palpate.study import Study
from palpate.task import load_task, task_names

IMAGES, TABLES, VOLUMES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"}, {".csv", ".tsv", ".tab"}, (".nii", ".nii.gz")
LOOKED_AT = 500  # files of a folder, to tell what is in it


@dataclass(frozen=True, slots=True)
class Inspected:
    """One task's or source's images with their card."""

    card: DataCard
    found: CaseSet


def inspect_study(study: Study, tasks: Sequence[str] = ()) -> list[Inspected]:
    """The cards of a study's tasks (all where none is named). Raises StudyError, SourceError."""
    names = [task.name for task in study.tasks]
    for name in tasks:
        if name not in names:
            raise StudyError(f"has no task {name!r}", where=study.origin, expected=f"one of {', '.join(names)}")
    if not tasks:
        refuse(study, images_only=True)
    drawn = [(task.name, draw_cases(task, study)) for task in study.tasks if not tasks or task.name in tasks]
    return [Inspected(examine(name, found, study.seed), found) for name, found in drawn]


def inspect_source(
    path: Path,
    *,
    kind: str = "",
    options: Mapping[str, Any] | None = None,
    labels: Labels | None = None,
    per_class: int | None = None,
) -> Inspected:
    """The card of one source of images: a folder, a table, a folder of DICOM files … (told by what is there, or ``kind``).

    Raises SourceError.
    """
    known = labels or built_in_labels()
    source = part("cases", kind or kind_of(path), where="--kind")
    found: CaseSet = source.load({"path": str(path), **(options or {})}, known, Sample(per_class, 0))
    return Inspected(examine(path.name or str(path), found), found)


def built_in_labels(task: str = "") -> Labels:
    """The label values of a built-in task, or of all of them together."""
    if task:
        return load_task(task, where="--task").labels
    every = [load_task(name).labels for name in task_names()]
    positive = dict.fromkeys(value for labels in every for value in labels.positive)
    negative = dict.fromkeys(value for labels in every for value in labels.negative)
    return Labels(tuple(positive), tuple(value for value in negative if value not in positive))


def kind_of(path: Path) -> str:
    """Which source reads what is there. Raises SourceError where there is nothing."""
    if path.is_dir():
        return _kind_of_folder(path)
    if not path.exists():
        raise SourceError(f"there is nothing at {path}", expected="a study, a folder of images, a table, a .npz file")
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return "medmnist"
    if suffix in (".parquet", ".pq"):
        return "hub" if _holds_images(path) else "table"
    return "hub" if suffix == ".arrow" else "table"


def _kind_of_folder(path: Path) -> str:
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return "hub"
    suffixes = set()
    for _, file in zip(range(LOOKED_AT), (p for p in path.rglob("*") if p.is_file()), strict=False):
        if file.name.lower().endswith(VOLUMES):
            return "nifti"
        if file.suffix.lower() in IMAGES:
            return "folder"
        if file.suffix.lower() in (".dcm", ".dicom") or _is_dicom(file):
            return "dicom"
        suffixes.add(file.suffix.lower())
    return "hub" if suffixes & {".parquet", ".arrow"} else "folder"


def _is_dicom(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _holds_images(path: Path) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return any(pa.types.is_struct(field.type) for field in pq.read_schema(path))
    except (pa.ArrowException, OSError, ValueError):
        return False


def option_value(text: str) -> Any:
    """An option as a person types it: TOML (``[40, 400]``, ``true``, ``3``), and anything else a text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


# ---------------------------------------------------------------- in a run


def inspect_plan(planned: Plan, known: Sequence[DataCard] = ()) -> tuple[DataCard, ...]:
    """The cards of a run's tasks. ``known`` ones are kept where the images are the same; drawn phantoms have nothing to find."""
    held = {(card.task, card.identity): card for card in known}
    cards = []
    for task in planned.study.tasks:
        found = planned.cases[task.name]
        if found.best_accuracy is None:
            card = held.get((task.name, identity(found.cases, len(found.left_out))))
            cards.append(card or examine(task.name, found, planned.study.seed))
    return tuple(cards)


def refuse_faults(cards: Sequence[DataCard], study: Study) -> None:
    """Raises SourceError for the first faults where the study stops on them: ``[data] on_fault = "stop"``."""
    if study.data.on_fault != "stop":
        return
    for card in cards:
        if card.faults:
            told = "; ".join(finding.text for finding in card.faults)
            raise SourceError(
                f"the images of task {card.task!r} have faults: {told}",
                where=study.origin,
                expected='images without them, or [data] on_fault = "warn"',
                hint=f"palpate inspect {study.origin or 'STUDY.toml'} names the images",
            )


def warnings_of(cards: Sequence[DataCard]) -> list[str]:
    """One line per fault, for the terminal."""
    return [f"{card.task}: {finding.text}" for card in cards for finding in card.faults]


def named_json(inspected: Sequence[Inspected], *, names: bool) -> str:
    """The cards as JSON; with ``names`` each also maps case ids to files: then the text may name patients."""
    from palpate.inspection.card import cards_json

    rows = json.loads(cards_json(tuple(one.card for one in inspected)))
    if names:
        for row, one in zip(rows, inspected, strict=True):
            row["names"] = dict(one.found.names)
            row["left_out_files"] = [{"file": out.name, "reason": out.reason} for out in one.found.left_out]
    return json.dumps(rows, indent=1, allow_nan=False) + "\n"


def written(path: Path, data: bytes) -> None:
    """Write what a person asked for. Raises SourceError where it cannot be."""
    try:
        path.write_bytes(data)
    except OSError as fault:
        raise SourceError(
            f"cannot be written: {fault.strerror}", where=str(path), expected="a file in an existing folder"
        ) from None
