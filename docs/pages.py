"""Writes the pages that say what the program itself knows: its verbs, the keys of a study file, the measures.

    python docs/pages.py            # writes docs/reference/

``tests/test_docs.py`` fails where a page is not what this would write.
"""

from __future__ import annotations

import enum
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from palpate import study_file, task
from palpate.catalogue import catalogue
from palpate.cli import main
from palpate.registry import parts
from palpate.report.questions import QUESTIONS

FOLDER = Path(__file__).parent / "reference"
NOTE = "<!-- Written by docs/pages.py: change the code, then run it. -->\n"
LISTED = ("tasks", "models", "sources", "perturbations", "readings", "prompts")


def pages() -> dict[str, str]:
    """File name → text of every generated page."""
    made = {"cli.md": verbs(), "study-file.md": study_keys(), "measures.md": measures(), "names.md": names()}
    return {name: NOTE + text for name, text in made.items()}


def verbs() -> str:
    """Every verb with its flags, as ``--help`` prints them."""
    lines = ["# The command line", "", "```text", _help(main, "palpate"), "```", ""]
    for name, command in sorted(main.commands.items()):
        lines += [f"## palpate {name}", "", "```text", _help(command, name), "```", ""]
    return "\n".join(lines)


def _help(command: click.Command, called: str) -> str:
    # The group's settings hold below it; a command keeps the help flags it was first asked with.
    group = click.Context(main, info_name="palpate", **{**main.context_settings, "max_content_width": 100, "terminal_width": 100})
    context = group if command is main else click.Context(command, group, info_name=called)
    return command.get_help(context).rstrip()


def study_keys() -> str:
    """Every table and key of a study file, then of a task file."""
    lines = [
        "# The study file",
        "",
        "One TOML file names models, tasks and wordings; `palpate init` writes a commented one. Paths are taken from its",
        "folder. A key that is not listed here is an error that names the nearest one.",
        "",
    ]
    for title, model in _tables(study_file.StudyFile, "", set()):
        lines += [f"## {title or 'At the top'}", "", *_about(model), *_keys(model), ""]
    lines += [
        "# The task file",
        "",
        "What `file` of a task names, and `definition` holds: see `src/palpate/tasks/` for those that come along.",
        "",
    ]
    for title, model in _tables(task.TaskFile, "", set()):
        lines += [f"## {title or 'At the top of a task file'}", "", *_about(model), *_keys(model), ""]
    return "\n".join(lines).rstrip() + "\n"


def _tables(model: type[BaseModel], path: str, seen: set[type[BaseModel]]) -> Iterator[tuple[str, type[BaseModel]]]:
    """(how its header is written, the model) of a table and all below it, each model once."""
    if model in seen:
        return
    seen.add(model)
    yield (f"[[{path}]]" if path.endswith("*") else f"[{path}]").replace("*", "") if path else "", model
    for name, found in model.model_fields.items():
        for inner, many in _models_in(found.annotation):
            below = f"{path.replace('*', '')}.{name}" if path else name
            yield from _tables(inner, below + ("*" if many else ""), seen)


def _models_in(annotation: Any, many: bool = False) -> Iterator[tuple[type[BaseModel], bool]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, many
    for inner in get_args(annotation):
        yield from _models_in(inner, many or get_origin(annotation) is list)


def _about(model: type[BaseModel]) -> list[str]:
    text = " ".join((model.__doc__ or "").replace("``", "`").split())
    return [text, ""] if text else []


def _keys(model: type[BaseModel]) -> list[str]:
    rows = ["| key | value | where it is not given |", "|---|---|---|"]
    for name, found in model.model_fields.items():
        rows.append(f"| `{found.alias or name}` | {_kind(found.annotation)}{_bounds(found)} | {_default(found)} |")
    return rows


def _kind(annotation: Any) -> str:
    words = {str: "text", int: "whole number", float: "number", bool: "true or false", dict: "table", Any: "anything"}
    if annotation in words:
        return words[annotation]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(a) for a in inner if a is not type(None))
    if origin is Literal:
        return " or ".join(f"`{a}`" for a in inner)
    if origin in (list, tuple):
        return "list of " + " and ".join(dict.fromkeys(_kind(a) for a in inner if a is not ...))
    if origin in (dict, Mapping):
        return f"table of {_kind(inner[1])}"
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return " or ".join(f"`{member.value}`" for member in annotation)
    return "table, see below"


def _bounds(found: FieldInfo) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    told = [f"{sign} {getattr(bound, name)}" for bound in found.metadata for name, sign in signs.items() if hasattr(bound, name)]
    return f", {', '.join(told)}" if told else ""


def _default(found: FieldInfo) -> str:
    if found.is_required():
        return "must be given"
    value = found.get_default(call_default_factory=True)
    if value is None or isinstance(value, BaseModel):
        return "–"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value.value if isinstance(value, enum.Enum) else value}`".replace("'", '"')


def measures() -> str:
    """Every estimate with its definition, by the question it answers."""
    lines = ["# The measures", "", "What `palpate measure RUN` gives; formulas and intervals are in [methods](../methods.md).", ""]
    for question in QUESTIONS:
        found = sorted((m.name, m) for m in parts("measures").values() if m.question == question.number)
        lines += [f"## {question.number}. {question.title}", ""]
        if not found:
            lines += ["Nothing measures this yet.", ""]
        for name, part in found:
            rows = [f"| `{estimate}` | {_cell(about)} |" for estimate, about in part.estimates.items()]
            lines += [f"### `{name}`", "", "| estimate | what it is |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def names() -> str:
    """What a study may name, as ``palpate list`` has it."""
    lines = ["# What a study may name", "", "As `palpate list` shows it.", ""]
    for what in LISTED:
        rows = [f"| `{_cell(name)}` | {_cell(about)} |" for name, about in catalogue(what)]
        lines += [f"## {what.capitalize()}", "", "| name | what it is |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def write() -> None:
    """Write every page that differs."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
