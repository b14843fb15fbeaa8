"""TOML files in, checked records out: every fault is one StudyError that names file and key."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from palpate.errors import StudyError

M = TypeVar("M", bound=BaseModel)


def load_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises StudyError for a missing, unreadable or malformed file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors put a byte-order mark first
    except FileNotFoundError:
        raise StudyError("no such file", where=str(path), hint=nearest_file(path)) from None
    except IsADirectoryError:
        raise StudyError("is a folder", where=str(path), expected="a TOML study file") from None
    except (OSError, UnicodeDecodeError) as fault:
        raise StudyError(f"cannot be read: {fault}", where=str(path)) from None
    except RecursionError:
        raise StudyError("is nested too deeply", where=str(path), expected="a TOML study file") from None
    except tomllib.TOMLDecodeError as fault:
        pattern = "Unescaped" in str(fault)
        hint = r"a text with backslashes, such as a pattern, goes into single quotes: '(person\d+)'" if pattern else ""
        raise StudyError(f"is not valid TOML: {fault}", where=str(path), hint=hint) from None


def check(model: type[M], raw: Mapping[str, Any], where: str) -> M:
    """``raw`` as ``model``. Raises StudyError for the first fault, as ``file: tasks[1].source``."""
    try:
        return model.model_validate(raw)
    except ValidationError as faults:
        raise _study_error(model, faults.errors()[0], where) from None


def _study_error(model: type[BaseModel], fault: ErrorDetails, where: str) -> StudyError:
    key = key_path(fault["loc"])
    at = f"{where}: {key}" if key else where
    if fault["type"] == "extra_forbidden":
        known = sorted(_fields_at(model, fault["loc"][:-1]))
        near = difflib.get_close_matches(str(fault["loc"][-1]), known, n=2, cutoff=0.5)
        hint = "did you mean " + " or ".join(near) + "?" if near else ""
        return StudyError("unknown key", where=at, expected="one of " + ", ".join(known), hint=hint)
    if fault["type"] == "missing":
        return StudyError("is missing", where=at, expected="a value for this key")
    expected = EXPECTED.get(fault["type"]) or fault["msg"].replace("Input should be ", "")
    return StudyError(f"{_shown(fault['input'])} is not accepted", where=at, expected=expected)


EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a table",
    "float_type": "a number",
    "int_type": "a whole number",
    "list_type": "a list, in square brackets",
    "model_type": "a table",
    "string_type": "a text, in quotation marks",
    "tuple_type": "a list, in square brackets",
}
"""What a key wanted, in the words of TOML; other faults say it themselves."""


def _shown(value: object) -> str:
    """A value as TOML would have it, cut short."""
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


def absolute(given: str, folder: Path, where: str) -> Path:
    """A path as a file gives it, taken from that file's folder. Raises StudyError for what can be no path."""
    try:
        return (folder / Path(given).expanduser()).resolve()
    except (OSError, ValueError, RuntimeError) as fault:  # a NUL, a loop of links, the home of nobody
        raise StudyError(f"{given!r} can be no path: {fault}", where=where, expected="a path") from None


def nearest_file(path: Path) -> str:
    """What to try where there is no such file: the TOML files beside it with the likest names."""
    near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.toml")], n=2, cutoff=0.4)
    if near:
        return "did you mean " + " or ".join(str(path.parent / n) for n in near) + "?"
    return "`palpate init` writes a commented study file"


def key_path(loc: tuple[int | str, ...]) -> str:
    """``("tasks", 1, "source")`` → ``tasks[1].source``."""
    text = ""
    for step in loc:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def _fields_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> set[str]:
    """The keys a table accepts: follow the location's names through the model's annotations."""
    for step in loc:
        if isinstance(step, str) and step in model.model_fields:
            nested = _nested_model(model.model_fields[step].annotation)
            if nested is None:
                return set()
            model = nested
    return {field.alias or name for name, field in model.model_fields.items()}


def _nested_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _nested_model(inner)
        if found is not None:
            return found
    return None
