"""What is declared, what is imported, what is pinned and what the page says of it are the same."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib import metadata
from itertools import chain
from pathlib import Path

import pytest

from lowest import lowest
from palpate.extras import BROUGHT, install_line, package

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = {name: found for name, found in PROJECT["optional-dependencies"].items() if name not in ("dev", "docs")}
PAGE = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
MODULES = {
    **{"pillow": "PIL", "tomli-w": "tomli_w", "scikit-learn": "sklearn", "umap-learn": "umap", "pyjpegls": "jpeg_ls"},
    **{"pylibjpeg-openjpeg": "openjpeg", "pylibjpeg-libjpeg": "libjpeg", "pylibjpeg-rle": "rle"},
}
"""Package → the module it is imported as, where they differ."""
THROUGH = {"pydantic_core": "pydantic", "markupsafe": "jinja2", "threadpoolctl": "sklearn", "huggingface_hub": "transformers"}
THROUGH |= {"triton": "torch"}  # of its builds for GPUs
"""Module → the declared package that always brings it."""
PLUGINS = {"pylibjpeg", "pylibjpeg-openjpeg", "pylibjpeg-libjpeg", "pylibjpeg-rle", "pyjpegls", "accelerate", "safetensors"}
"""Found by the package they serve: pydicom's decoders, and what transformers reads weights with."""


def named(requirement: str) -> tuple[str, str]:
    """(package, lowest version) of ``package[extra]>=1.2; where``: each has exactly a lower bound."""
    match = re.fullmatch(r"([\w-]+)(?:\[[\w,]+\])?>=([\d.]+)(?:; .+)?", requirement)
    assert match, requirement
    return match[1], match[2]


CORE = dict(map(named, PROJECT["dependencies"]))


def imported() -> set[str]:
    """Top-level modules that the source imports, those of Python and its own left out."""
    found = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("import_module", "importlib.import_module"):
                found |= {str(a.value).split(".")[0] for a in node.args if isinstance(a, ast.Constant)}
    return found - set(sys.stdlib_module_names) - {"palpate", "__future__"}


def module_of(package: str) -> str:
    return MODULES.get(package, package.replace("-", "_"))


def test_every_core_package_is_needed_and_has_its_line() -> None:
    used = imported()
    assert [p for p in CORE if module_of(p) not in used] == []
    rows = dict(re.findall(r"^\| `([\w-]+)` \| ([\d.]+) \|", PAGE, re.MULTILINE))
    assert rows == CORE
    assert "brings these " + {10: "ten", 11: "eleven", 12: "twelve"}[len(CORE)] in PAGE


def test_every_extra_is_used_and_has_its_line() -> None:
    used = imported()
    rows = set(re.findall(r"^\| `(\w+)` \| `([\w-]+)` \|", PAGE, re.MULTILINE))
    assert rows == {(extra, named(r)[0]) for extra, found in EXTRAS.items() for r in found}
    assert {p for _, p in rows if module_of(p) not in used} <= PLUGINS


def test_the_line_that_installs_a_module_names_the_extra_that_declares_it() -> None:
    declared = {extra: {named(r)[0] for r in found} for extra, found in EXTRAS.items()}
    for module, extra in BROUGHT.items():
        assert module_of(package(module)) == module
        assert package(module) in declared[extra]
    assert set(BROUGHT.values()) == set(EXTRAS) - {"xlsx"}, "its file is imported, named by no study"
    assert install_line(["torch", "openai", "torch", "bitsandbytes"]) == "pip install 'palpate[api,local]' bitsandbytes"
    assert install_line(["bitsandbytes"]) == "pip install bitsandbytes"


def test_every_import_is_declared() -> None:
    declared = {module_of(p) for p in CORE} | {module_of(named(r)[0]) for found in EXTRAS.values() for r in found}
    assert {THROUGH.get(m, m) for m in imported()} <= declared


def test_tests_have_every_extra_but_those_of_their_own() -> None:
    dev = {named(r)[0] for r in PROJECT["optional-dependencies"]["dev"]}
    missing = {named(r)[0] for found in EXTRAS.values() for r in found} - dev
    assert missing <= {named(r)[0] for r in EXTRAS["local"]} | {"umap-learn"}


def test_a_package_has_one_lower_bound() -> None:
    bounds: dict[str, set[str]] = {}
    for requirement in chain(PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()):
        package, lowest = named(requirement)
        bounds.setdefault(package, set()).add(lowest)
    assert {p: b for p, b in bounds.items() if len(b) > 1} == {}


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines if not line.startswith("#"))
    return {name.lower().replace("_", "-"): v for name, _, v in (line.partition("==") for line in lines if "==" in line)}


def test_everything_is_pinned_at_or_above_its_lower_bound() -> None:
    held = pinned()
    for requirement in [*PROJECT["dependencies"], *EXTRAS["local"], *PROJECT["optional-dependencies"]["dev"]]:
        package, lowest = named(requirement)
        assert numbers(held[package.lower()]) >= numbers(lowest), package


def numbers(version: str) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", version)]


@pytest.mark.parametrize("package", sorted(CORE))
def test_the_licence_is_what_the_package_says(package: str) -> None:
    found = metadata.metadata(package)
    classifiers = [c for c in found.get_all("Classifier") or () if c.startswith("License")]
    said = " ".join([found.get("License-Expression") or "", found.get("License") or "", *classifiers]).lower()
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{package}` |"))
    family = row.split("|")[4].strip().split("-")[0].lower()
    assert family in said, (package, said[:200])


def test_the_targets_it_names_are_there() -> None:
    make = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([\w-]+)`", PAGE):
        assert re.search(rf"^{target}:", make, re.MULTILINE), target


def test_lower_bounds_as_constraints() -> None:
    made = lowest(ROOT / "pyproject.toml", ["xlsx", "api"])
    assert made[: len(CORE)] == [f"{p}=={v}" for p, v in CORE.items()]
    assert "openpyxl==3.1" in made
    assert len(made) == len(set(made)) == len(CORE) + 1 + len(EXTRAS["api"])
