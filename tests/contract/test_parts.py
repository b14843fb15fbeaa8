"""What every part of every folder keeps: its protocol, its name, its words, and that listing it costs nothing."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from typing import Any

import pytest

from palpate import parts as protocols
from palpate.catalogue import catalogue
from palpate.errors import UnknownName
from palpate.registry import FOLDERS, offered, part, parts

PROTOCOLS = {
    "cases": protocols.Source,
    "perturbations": protocols.PerturbationFamily,
    "models": protocols.ModelKind,
    "readings": protocols.ReadingMethod,
    "measures": protocols.Measure,
}


def protocol(folder: str, found: Any) -> Any:
    """What the part has to be: a reading may ask a model, and is then of another protocol."""
    asks = folder == "readings" and isinstance(found, protocols.AskingMethod)
    return protocols.AskingMethod if asks else PROTOCOLS[folder]


EVERY = [(folder, name) for folder in FOLDERS for name in parts(folder)]


def test_every_folder_has_a_protocol_and_a_part() -> None:
    assert set(PROTOCOLS) == set(FOLDERS)
    assert all(parts(folder) for folder in FOLDERS)


@pytest.mark.parametrize(("folder", "name"), EVERY)
def test_a_part_satisfies_its_protocol(folder: str, name: str) -> None:
    found = part(folder, name)
    assert isinstance(found, protocol(folder, found))
    assert found.name == name
    assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
    promise = protocol(folder, found)
    for method in (m for m in dir(promise) if not m.startswith("_") and callable(getattr(promise, m, None))):
        promised, given = inspect.signature(getattr(promise, method)), inspect.signature(getattr(type(found), method))
        assert list(given.parameters)[: len(promised.parameters)] == list(promised.parameters), f"{name}.{method}{given}"


@pytest.mark.parametrize(("folder", "name"), EVERY)
def test_a_part_is_described(folder: str, name: str) -> None:
    found = part(folder, name)
    assert inspect.getdoc(type(found))
    assert inspect.getdoc(inspect.getmodule(type(found)))
    for texts in (getattr(found, "options", {}), getattr(found, "estimates", {})):
        for key, about in texts.items():
            assert re.fullmatch(r"\w+", key)
            assert len(about) > 5, f"{name}: {key} is not described"
            assert "\n" not in about


@pytest.mark.parametrize("folder", FOLDERS)
def test_an_unknown_part_names_the_nearest(folder: str) -> None:
    name = next(iter(offered(folder)))
    with pytest.raises(UnknownName, match=f"'{name}'"):
        part(folder, name + "x", where="here")


def test_names_of_estimates_are_given_once() -> None:
    names = [estimate for m in parts("measures").values() for estimate in m.estimates]
    assert len(set(names)) == len(names)
    # Some measures and estimates share a name: then they are the same thing.
    assert all(name in m.estimates for name, m in parts("measures").items() if name in names)


def test_presets_of_models_are_given_once_and_described() -> None:
    kinds = parts("models").values()
    presets = [(name, options) for kind in kinds for name, options in kind.presets().items()]
    names = [name for name, _ in presets]
    assert len(set(names)) == len(names)
    assert all(str(options.get("about", "")) for _, options in presets)
    for kind in kinds:
        assert all({pair.base, pair.tuned} <= set(names) for pair in kind.lineages())
        assert all(set(options) - {"about"} <= set(kind.options) for options in kind.presets().values())


@pytest.mark.parametrize("what", ["tasks", "models", "prompts", "sources", "perturbations", "readings", "measures"])
def test_everything_is_in_the_catalogue(what: str) -> None:
    rows = catalogue(what)
    assert rows
    assert all(name and isinstance(about, str) for name, about in rows)
    folder = {"sources": "cases"}.get(what, what)
    shown = " ".join(name for name, _ in rows)
    for name, found in offered(folder).items() if folder in FOLDERS else ():
        assert all(e in shown for e in found.estimates) if folder == "measures" else name in shown


HEAVY = ["torch", "transformers", "plotly", "pandas", "pyarrow", "sklearn", "statsmodels", "scipy.stats"]


def test_listing_parts_loads_nothing_heavy() -> None:
    code = f"""
import json, sys
from palpate.registry import FOLDERS, parts
for folder in FOLDERS:
    parts(folder)
print(json.dumps([name for name in {HEAVY} if name in sys.modules]))
"""
    found: Any = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert found == []
