"""Name → part, found by listing a folder and the entry points, so that adding a file adds a part."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from palpate.errors import unknown_name

FOLDERS: Mapping[str, str] = {
    "cases": "source",
    "perturbations": "perturbation",
    "models": "model",
    "readings": "reading",
    "measures": "measure",
}
"""Plural folder → what one of its parts is called in an error."""


@cache
def parts(folder: str) -> Mapping[str, Any]:
    """All parts of one folder by name, built-in first, then those other packages register under ``palpate.<folder>``."""
    found: dict[str, Any] = {}
    package = importlib.import_module(f"palpate.{folder}")
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_"):
            loaded = importlib.import_module(f"palpate.{folder}.{module.name}")
            found.update({part.name: part for part in getattr(loaded, "PARTS", ())})
    for point in entry_points(group=f"palpate.{folder}"):
        part = point.load()
        found[part.name] = part
    return dict(sorted(found.items()))


def part(folder: str, name: str, *, where: str = "") -> Any:
    """The part of that name. Raises UnknownName with the nearest valid names."""
    found = parts(folder)
    if name not in found:
        raise unknown_name(name, offered(folder), noun=FOLDERS[folder], where=where)
    return found[name]


def offered(folder: str) -> Mapping[str, Any]:
    """The parts a person may choose: all but those that a verb alone writes into a run's study (``internal = True``)."""
    return {name: found for name, found in parts(folder).items() if not getattr(found, "internal", False)}
