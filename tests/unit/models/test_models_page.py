"""docs/models.md lists every option of every kind, in the words the kinds use themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from palpate.models import hf, openai_api, scripted

PAGE = (Path(__file__).parents[3] / "docs" / "models.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "about"), hf.HFKind.options.items())
def test_hf_options_are_on_the_page(name, about) -> None:
    assert f"| `{name}` | {about} |" in PAGE


@pytest.mark.parametrize("name", scripted.ScriptedKind.options)
def test_scripted_options_are_on_the_page(name) -> None:
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize(("name", "about"), openai_api.EndpointKind.options.items())
def test_endpoint_options_are_on_their_page(name, about) -> None:
    page = (Path(__file__).parents[3] / "docs" / "endpoints.md").read_text(encoding="utf-8")
    assert f"| `{name}` | {about} |" in page
