"""Parts are found by listing a folder and by entry points; a file, or a package, is enough to add one."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import palpate.perturbations
from palpate import registry
from palpate.errors import UnknownName
from palpate.registry import FOLDERS, offered, part, parts

FAMILY = """
class Upside:
    name, severities, version = "upside_down", (0,), 1
    def apply(self, image, severity, rng):
        return image.rotate(180)
PARTS = (Upside(),)
"""


@pytest.fixture(autouse=True)
def fresh() -> None:
    """What is found is remembered: forget it."""
    parts.cache_clear()


def test_parts_are_sorted_by_name() -> None:
    for folder in FOLDERS:
        assert list(parts(folder)) == sorted(parts(folder))
        assert all(name == found.name for name, found in parts(folder).items())


def test_a_file_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "upside_down.py").write_text(FAMILY, encoding="utf-8")
    (tmp_path / "_private.py").write_text("raise RuntimeError('private files are not listed')", encoding="utf-8")
    monkeypatch.setattr(palpate.perturbations, "__path__", [*palpate.perturbations.__path__, str(tmp_path)])
    try:
        assert "upside_down" in parts("perturbations")
        assert part("perturbations", "upside_down").severities == (0,)
    finally:
        sys.modules.pop("palpate.perturbations.upside_down", None)
        parts.cache_clear()


def test_a_package_adds_its_own_and_may_replace_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    class Blank:
        name, severities, version = "blank", (0,), 2

    point = EntryPoint("blank", "nowhere:BLANK", "palpate.perturbations")
    monkeypatch.setattr(EntryPoint, "load", lambda self: Blank())
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == point.group else [])
    assert part("perturbations", "blank").version == 2
    assert "rules" in parts("readings")


@pytest.mark.parametrize("folder", FOLDERS)
def test_an_unknown_name_says_what_kind_of_thing(folder: str) -> None:
    with pytest.raises(UnknownName, match=f"no {FOLDERS[folder]} is called 'nothing-like-it'") as fault:
        part(folder, "nothing-like-it", where="study.toml: key")
    assert fault.value.where == "study.toml: key"
    assert all(name in fault.value.expected for name in offered(folder))


@pytest.mark.parametrize(("folder", "near"), [("models", "importd"), ("cases", "imports")])
def test_what_only_an_import_writes_is_usable_and_never_suggested(folder: str, near: str) -> None:
    assert part(folder, "imported") is parts(folder)["imported"]
    assert "imported" not in offered(folder)
    with pytest.raises(UnknownName) as fault:
        part(folder, near)
    assert "imported" not in fault.value.expected + fault.value.hint


def test_an_installed_package_is_found_by_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "upside.py").write_text(textwrap.dedent(FAMILY) + "FAMILY = PARTS[0]\n", encoding="utf-8")
    info = tmp_path / "upside-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: upside\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[palpate.perturbations]\nupside_down = upside:FAMILY\n", encoding="utf-8")
    words = ["palpate", "list", "perturbations"]
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.argv = {words}; import palpate.__main__ as m; m.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "upside_down" in done.stdout, done.stderr
