"""Task file → Task: the condition asked about, its words, its labels, and where its cases come from."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from palpate.errors import StudyError, unknown_name
from palpate.files import absolute, check, load_toml
from palpate.nouns import Prompt
from palpate.parts import Labels, Rubric
from palpate.prompts import PROMPT_SETS, Wording


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """Which source gives the cases, and that source's own options. Paths are absolute."""

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Task:
    """One question about one kind of image.

    ``cautions`` name, per intent cell, what its answers cannot say. ``difficulty`` orders tasks for display only.
    ``source`` None: the study must name one. ``mirror_changes_label``: the condition has a side, so no image may be mirrored.
    """

    name: str
    title: str
    modality: str
    condition: str
    labels: Labels
    wording: Wording
    rubric: Rubric
    prompts: tuple[Prompt, ...] = ()
    source: SourceSpec | None = None
    cautions: Mapping[str, str] = field(default_factory=dict, hash=False)
    difficulty: int = 0
    licence: str = ""
    citation: str = ""
    mirror_changes_label: bool = False


class LabelsFile(BaseModel):
    """``[labels]``: which of the source's own values mean present, which absent."""

    model_config = ConfigDict(extra="forbid", strict=True)
    positive: list[str]
    negative: list[str]


class WordingFile(BaseModel):
    """``[wording]``: the task's words, filled into the prompt templates."""

    model_config = ConfigDict(extra="forbid", strict=True)
    subject: str = "image"
    evidence: str
    hints: str
    present: str
    absent: str
    diagnose: str
    describer: str = "a physician"
    detail: str = "pixels"
    expert: str = "radiologist"
    healthy: str = "Healthy"
    unremarkable: str = "healthy anatomy without any finding"


class RubricFile(BaseModel):
    """``[rubric]``: findings that assert or deny the condition in free text; ``names``: words that name it, or its absence, rather
    than describe a sign of it (default: all of them)."""

    model_config = ConfigDict(extra="forbid", strict=True)
    positive: list[str] = []
    negative: list[str] = []
    names: list[str] = []


_ORACLE = Rubric("").oracle


class SourceFile(BaseModel):
    """``[source]``: ``kind`` and that source's own options."""

    model_config = ConfigDict(extra="allow", strict=True)
    kind: str


class TaskFile(BaseModel):
    """A task file, after ``twin_of`` has been filled in.

    ``oracle``: what a perfect describer would say where the condition is, and where it is not; ``{condition}`` and the case's facts
    (``{size}``) are filled in. A reader of descriptions is given it as a control.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    title: str
    modality: str
    condition: str
    labels: LabelsFile
    wording: WordingFile
    rubric: RubricFile = RubricFile()
    oracle: tuple[str, str] = Field(_ORACLE, strict=False)
    source: SourceFile | None = None
    cautions: dict[str, str] = {}
    difficulty: int = 0
    licence: str = ""
    citation: str = ""
    mirror_changes_label: bool = False


def task_names() -> list[str]:
    """The built-in tasks."""
    return sorted(f.name.removesuffix(".toml") for f in resources.files("palpate.tasks").iterdir() if f.name.endswith(".toml"))


def load_task(name: str, *, where: str = "") -> Task:
    """A built-in task by name. Raises UnknownName with the nearest names."""
    if name not in task_names():
        raise unknown_name(name, task_names(), noun="task", where=where)
    return task_from(name, _built_in(name), f"{name}.toml")


def load_task_file(path: Path) -> Task:
    """A task from the user's own file; the file's stem is its name."""
    return task_from(path.stem, load_toml(path), str(path), path.resolve().parent)


def task_from(name: str, raw: Mapping[str, Any], where: str, folder: Path | None = None) -> Task:
    """Check a task's tables and build it; its source's relative paths are taken from ``folder``. Raises StudyError naming file
    and key."""
    raw = _with_twin(raw, where)
    parsed = check(TaskFile, raw, where)
    source = parsed.source
    return Task(
        name=name,
        title=parsed.title,
        modality=parsed.modality,
        condition=parsed.condition,
        labels=Labels(tuple(parsed.labels.positive), tuple(parsed.labels.negative)),
        wording=Wording(**parsed.wording.model_dump()),
        rubric=_rubric(parsed),
        source=source_spec(source, folder, f"{where}: source") if source else None,
        cautions=parsed.cautions,
        difficulty=parsed.difficulty,
        licence=parsed.licence,
        citation=parsed.citation,
        mirror_changes_label=parsed.mirror_changes_label,
    )


def _rubric(parsed: TaskFile) -> Rubric:
    words = parsed.rubric
    return Rubric(parsed.condition, tuple(words.positive), tuple(words.negative), tuple(words.names), parsed.oracle)


def source_spec(given: SourceFile, folder: Path | None, where: str) -> SourceSpec:
    """A source as a file gives it, its ``path`` and ``root`` made absolute: they are always files, never hub ids."""
    options = dict(given.model_extra or {})
    for key in ("path", "root"):
        if folder is not None and isinstance(options.get(key), str):
            options[key] = str(absolute(options[key], folder, f"{where}.{key}"))
    return SourceSpec(given.kind, options)


def prompt_set(name: str, wording: Wording, *, describe: bool, where: str = "") -> tuple[Prompt, ...]:
    """The prompts of a set in a task's words; descriptions only where ``describe``."""
    if name not in PROMPT_SETS:
        raise unknown_name(name, PROMPT_SETS, noun="prompt", where=where)
    return tuple(p for p in PROMPT_SETS[name](wording) if describe or p.cell != "describe")


def _built_in(name: str) -> dict[str, Any]:
    return tomllib.loads(resources.files("palpate.tasks").joinpath(f"{name}.toml").read_text("utf-8"))


def _with_twin(raw: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A twin takes every table it does not give itself from the task it is the twin of."""
    own = dict(raw)
    twin = own.pop("twin_of", None)
    if twin is None:
        return own
    if twin not in task_names():
        raise unknown_name(str(twin), task_names(), noun="task", where=f"{where}: twin_of")
    base = _built_in(twin)
    if "twin_of" in base:
        raise StudyError("a twin of a twin", where=f"{where}: twin_of", expected="a task that is no twin itself")
    return {**base, **own}
