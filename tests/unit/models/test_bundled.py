"""The checkpoints that come with Palpate: five presets, two pairs, loaded like any other checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from palpate.errors import ModelError, UnknownName
from palpate.models import bundled
from palpate.models.bundled import CHECKPOINTS, PARTS, BundledKind
from palpate.nouns import Answer, Status
from palpate.parts import Model, ModelKind, ModelSpec

PRESENT = tuple(name for name in CHECKPOINTS if (bundled.FOLDER / name / "config.json").is_file())


def spec(name: str, **options) -> ModelSpec:
    return ModelSpec(name, "bundled", {"checkpoint": name, **options})


def test_is_a_model_kind_with_five_presets_and_two_pairs() -> None:
    kind = PARTS[0]
    assert isinstance(kind, ModelKind)
    assert set(kind.presets()) == set(CHECKPOINTS)
    assert all(isinstance(preset, Mapping) and preset["about"] for preset in kind.presets().values())
    pairs = [(pair.base, pair.tuned, pair.relation) for pair in kind.lineages()]
    assert pairs == [("phantom-llava", "phantom-llava-med", "parent"), ("phantom-gemma", "phantom-medgemma", "parent")]
    assert {name for pair in pairs for name in pair[:2]} <= set(CHECKPOINTS)


def test_weights_lie_beside_the_module_and_do_not_hide_it() -> None:
    assert Path(bundled.__file__).name == "bundled.py"
    assert Path(bundled.__file__).with_suffix("") == bundled.FOLDER


def test_bad_names_and_options_are_errors(tmp_path, monkeypatch) -> None:
    with pytest.raises(UnknownName, match="phantom-llava"):
        BundledKind().build(spec("phantom-lava"))
    with pytest.raises(ModelError, match="no option 'path'"):
        BundledKind().build(spec("phantom-llava", path="elsewhere"))
    monkeypatch.setattr(bundled, "FOLDER", tmp_path)
    with pytest.raises(ModelError, match="not in this installation"):
        BundledKind().build(spec("phantom-llava"))


@pytest.mark.local
def test_a_bundled_checkpoint_is_the_hf_model_of_its_folder(checkpoint, build, images, monkeypatch, tmp_path) -> None:
    (tmp_path / "phantom-llava").symlink_to(checkpoint("llava"))
    monkeypatch.setattr(bundled, "FOLDER", tmp_path)
    model = BundledKind().build(spec("phantom-llava", max_new_tokens=6, threads=1))
    same = build("llava")
    assert isinstance(model, Model)
    assert model.fingerprint().identity == same.fingerprint().identity
    assert [a.text for a in model.ask(images(1))[0]] == [a.text for a in same.ask(images(1))[0]]
    assert model.blocks_at_once == 4 * 8  # four passes of eight images
    by_name = BundledKind().build(ModelSpec("phantom-llava", "bundled", {"max_new_tokens": 6}))
    assert by_name.fingerprint().identity == same.fingerprint().identity


@pytest.mark.local
@pytest.mark.parametrize("name", PRESENT)
def test_every_bundled_checkpoint_loads_and_answers(name, images, without_image, describe, prompts) -> None:
    """On noise the answers mean nothing; but they end, closed ones are answers of their form, and both paths agree."""
    pytest.importorskip("torch")

    def ask(**options) -> list[list[Answer]]:
        model = BundledKind().build(spec(name, threads=1, **options))
        asked = (*prompts, describe)
        return model.ask([without_image(0, asked)] if name == "phantom-reader" else images(2, asked))

    rows = ask()
    for row in rows:
        assert {answer.status for answer in row} <= {Status.OK, Status.TRUNCATED}
        assert all(answer.margin is not None and answer.mass is not None for answer in row[:-1])
    assert [[a.text for a in row] for row in ask(inference="plain")] == [[a.text for a in row] for row in rows]
