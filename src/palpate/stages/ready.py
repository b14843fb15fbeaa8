"""ready: Study → what it needs that is not installed here, told before an image is opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from palpate.errors import StudyError
from palpate.extras import absent, install_line, package
from palpate.parts import ModelSpec
from palpate.registry import part
from palpate.study import Study

PICTURES: Mapping[str, str] = {"tsne": "sklearn", "umap": "umap"}
"""Kind of picture → the module that draws it."""


@dataclass(frozen=True, slots=True)
class Lack:
    """Modules that an entry of the study needs and that are not installed. ``images``: without them its images cannot be read."""

    modules: tuple[str, ...]
    entry: str
    images: bool = False

    def __str__(self) -> str:
        return f"{', '.join(map(package, self.modules))} (for {self.entry})"


def lacks(study: Study) -> tuple[Lack, ...]:
    """What a study needs and is not installed here, in its order. On a Ray cluster models are the workers' to load."""
    found = dict.fromkeys(Lack(tuple(m for m in modules if absent(m)), entry, images) for modules, entry, images in _needed(study))
    return tuple(lack for lack in found if lack.modules)


def _needed(study: Study) -> Iterator[tuple[Sequence[str], str, bool]]:
    """(modules, the entry that needs them, whether it is a source of images)."""
    on_ray = study.ask.executor == "ray"
    if on_ray:
        yield ("ray",), "executor ray", False
    for i, spec in enumerate(study.models):
        if not on_ray or _served(spec):
            yield _of_model(spec), f"models[{i}], kind {spec.kind}", False
    for i, task in enumerate(study.tasks):
        if task.source is not None:
            source = part("cases", task.source.kind)
            needs = source.needs(task.source.options) if hasattr(source, "needs") else ()
            yield needs, f"tasks[{i}].source, kind {task.source.kind}", True
    for reading in study.all_readings:
        if reading.model is not None:
            yield _of_model(reading.model), f"the reading {reading.part_of or reading.name!r}, kind {reading.model.kind}", False
    for kind in study.features.pictures if study.features is not None else ():
        yield (PICTURES[kind],), f"features.pictures, {kind}", False


def _of_model(spec: ModelSpec) -> Sequence[str]:
    kind = part("models", spec.kind)
    found: Sequence[str] = kind.needs(spec.options) if hasattr(kind, "needs") else ()
    return found


def _served(spec: ModelSpec) -> bool:
    built = part("models", spec.kind).build(spec)
    try:
        return hasattr(built, "destination")  # a ServedModel, without asking a checkpoint for each of its properties
    finally:
        built.close()


def to_install(found: Sequence[Lack]) -> str:
    """The line that brings all of it; empty where nothing is missing."""
    return install_line(m for lack in found for m in lack.modules) if found else ""


def refuse(study: Study, *, images_only: bool = False) -> None:
    """Raises StudyError that names all that is missing, and the line that brings it. ``images_only``: only where images need it."""
    found = lacks(study)
    if any(lack.images or not images_only for lack in found):
        told = "; ".join(map(str, found))
        raise StudyError(f"needs what is not installed here: {told}", where=study.origin, hint=to_install(found))
