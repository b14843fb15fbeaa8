"""docs/data.md says what the sources can do: every source, every option, every transfer syntax, every finding."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from palpate.cases._dicom import DECODERS
from palpate.cases.hub import PRESETS
from palpate.registry import parts

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "data.md").read_text(encoding="utf-8")
SOURCES = [name for name in parts("cases") if name not in ("imported", "phantom")]


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_has_its_section_with_every_option(name: str) -> None:
    section = re.search(rf"^### `{name}`.*?(?=^### |^## )", PAGE, re.MULTILINE | re.DOTALL)
    assert section is not None, f"docs/data.md has no section `{name}`"
    common = PAGE.split("### ")[0]
    for option in parts("cases")[name].options:
        assert f"`{option}`" in section[0] or f"`{option}`" in common, f"{name}: {option}"


def test_every_data_set_of_the_reference_is_named() -> None:
    for name in PRESETS:
        assert name in PAGE


def test_every_finding_is_explained() -> None:
    source = Path(__file__).parents[1] / "src" / "palpate" / "inspection"
    text = "".join(path.read_text(encoding="utf-8") for path in source.glob("*.py"))
    kinds = set(re.findall(r'(?:DataFinding|_found)\(\s*"([a-z-]+)"', text))
    assert kinds >= {"duplicates", "blank", "shortcut", "left-out", "suffix"}
    for kind in kinds:
        assert f"`{kind}`" in PAGE, kind


def test_every_library_that_unpacks_dicom_is_named() -> None:
    for library in set(DECODERS.values()):
        assert library in PAGE
