"""Study files that come with Palpate: the demo, and the commented template of ``palpate init``."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path

from palpate.errors import StudyError
from palpate.study import Study, study_from


def demo_study(per_class: int | None = None) -> Study:
    """The bundled models on the phantom tasks; ``per_class`` images of each label where given."""
    raw = tomllib.loads(_text("phantom.toml"))
    if per_class is not None:
        raw["sample"] = {"per_class": per_class}
    return study_from(raw, "phantom.toml", Path.cwd())


def write_template(target: Path) -> None:
    """Write the commented study file. Raises StudyError where a file is there already, or the folder cannot be written."""
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(_text("template.toml"))
    except FileExistsError:
        raise StudyError("is there already", where=str(target), hint=f"another name: palpate init {target.stem}-2.toml") from None
    except OSError as fault:
        raise StudyError(
            f"cannot be written: {fault.strerror}", where=str(target), hint="a folder that exists and can be written"
        ) from None


def _text(name: str) -> str:
    return resources.files("palpate.studies").joinpath(name).read_text("utf-8")
