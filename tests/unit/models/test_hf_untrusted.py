"""A checkpoint from somebody else: its weights are numbers, and its code does not run unless two people's words allow it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from palpate.errors import ModelError
from palpate.models.hf import HFKind
from palpate.parts import ModelSpec

pytestmark = pytest.mark.local


def spec(path: Path, **options: object) -> ModelSpec:
    return ModelSpec("mine", "hf", {"path": str(path), **options})


@pytest.fixture
def pickled(checkpoint, tmp_path: Path) -> Path:
    """The checkpoint with its weights as a pickle alone."""
    torch = pytest.importorskip("torch")
    safetensors = pytest.importorskip("safetensors.torch")
    folder = shutil.copytree(checkpoint("llava"), tmp_path / "pickled")
    torch.save(safetensors.load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def test_pickled_weights_are_read_only_where_they_are_named(pickled: Path, build, images) -> None:
    with pytest.raises(ModelError, match="pickled weights") as fault:
        build(pickled).ask(images(1))
    assert "pickled_weights = true" in fault.value.hint
    given = build(pickled, pickled_weights=True).ask(images(1))
    assert [a.text for a in given[0]] == [a.text for a in build("llava").ask(images(1))[0]]


class Evil:
    """What a pickle may hold: a call."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (str(self.mark), "w"))


def test_a_pickle_that_would_run_something_runs_nothing(pickled: Path, tmp_path: Path, build, images) -> None:
    import torch

    mark = tmp_path / "owned"
    weights = torch.load(pickled / "pytorch_model.bin", weights_only=True)
    torch.save({**weights, "evil": Evil(mark)}, pickled / "pytorch_model.bin")
    for options in ({}, {"pickled_weights": True}):
        with pytest.raises(ModelError):
            build(pickled, **options).ask(images(1))
        assert not mark.exists()
    torch.load(pickled / "pytorch_model.bin", weights_only=False)["evil"].close()
    assert mark.exists()  # it was no empty threat


CODE = """
from pathlib import Path
from transformers import PretrainedConfig
Path({mark!r}).write_text("owned")
class EvilConfig(PretrainedConfig):
    model_type = "evil"
"""


@pytest.fixture
def with_code(checkpoint, tmp_path: Path) -> tuple[Path, Path]:
    """A checkpoint whose config comes with code, and the file that tells whether it ran."""
    folder, mark = shutil.copytree(checkpoint("llava"), tmp_path / "coded"), tmp_path / "owned"
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.EvilConfig"}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "evil.py").write_text(CODE.format(mark=str(mark)), encoding="utf-8")
    return folder, mark


def test_a_checkpoints_code_runs_only_where_study_and_user_say_so(with_code, images, monkeypatch, tmp_path) -> None:
    folder, mark = with_code
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.delenv("PALPATE_TRUST_CODE", raising=False)
    with pytest.raises(ModelError):
        HFKind().build(spec(folder)).ask(images(1))
    with pytest.raises(ModelError, match="a study file alone runs none") as fault:
        HFKind().build(spec(folder, trust_remote_code=True))
    assert "PALPATE_TRUST_CODE=1" in fault.value.expected
    monkeypatch.setenv("PALPATE_TRUST_CODE", "1")
    with pytest.raises(ModelError):
        HFKind().build(spec(folder)).ask(images(1))
    assert not mark.exists()
    with pytest.raises(ModelError):  # a config is all that this code makes
        HFKind().build(spec(folder, trust_remote_code=True)).ask(images(1))
    assert mark.exists()
