"""docs/models.md lists every option of every kind, in the words the kinds use themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from palpate.models import hf, scripted

PAGE = (Path(__file__).parents[3] / "docs" / "models.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "about"), hf.HFKind.options.items())
def test_hf_options_are_on_the_page(name, about) -> None:
    assert f"| `{name}` | {about} |" in PAGE


@pytest.mark.parametrize("name", scripted.ScriptedKind.options)
def test_scripted_options_are_on_the_page(name) -> None:
    assert f"`{name}`" in PAGE
