"""What may happen inside a local model, on whole studies: memory that runs out, and logits that are no numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from faults_found import survived
from palpate.models import _hf_load
from palpate.nouns import Status
from palpate.pipeline import run
from palpate.store.folder import RunFolder
from palpate.study import Study

pytestmark = [
    pytest.mark.local,
    pytest.mark.skipif(not (find_spec("torch") and find_spec("transformers")), reason="needs the extra `local`"),
]
STUDY = """
name = "local"
seed = 1
prompts = "reference"
[sample]
per_class = 1
[[models]]
name = "phantom-llava"
images_at_once = 2
[[tasks]]
name = "pneumonia_phantom"
[measure]
draws = 100
[data]
inspect = false
"""
TRIALS = 2 * 12


def study(folder: Path) -> Study:
    file = folder / "study.toml"
    file.write_text(STUDY, encoding="utf-8")
    return Study.load(file)


def change_the_model(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], None]) -> None:
    """Whatever is loaded from now on is changed so, its identity as before."""
    load = _hf_load.load

    def loaded(*args: Any) -> Any:
        found = load(*args)
        change(found.model)
        return found

    monkeypatch.setattr(_hf_load, "load", loaded)


def ended(out: Path) -> dict[bytes, tuple[Status, str]]:
    with RunFolder(out).ledger() as ledger:
        return ledger.ended()


def texts(out: Path) -> set[tuple[str, str]]:
    with RunFolder(out).ledger() as ledger:
        return {(key, text) for key, _, status, text in ledger.texts() if status != "error"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("local")
    run(study(folder), folder / "run")
    return folder / "run"


def test_a_device_that_runs_out_of_memory_loses_no_question(tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    room = [8, 3, 1]

    def small(model: Any) -> None:
        forward = model.forward

        @wraps(forward)  # generate() reads the signature
        def limited(*args: Any, **kwargs: Any) -> Any:
            if kwargs["input_ids"].shape[0] > room[0]:
                faults.append(kwargs["input_ids"].shape[0])
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return forward(*args, **kwargs)

        model.forward = limited

    change_the_model(monkeypatch, small)
    for tried in range(3):
        faults: list[int] = []
        out = tmp_path / f"run{tried}"
        run(study(tmp_path), out)
        assert faults
        assert max(faults) > room[0]
        found = ended(out)
        assert len(found) == TRIALS
        assert {status for status, _ in found.values()} <= {Status.OK, Status.TRUNCATED}
        assert texts(out) == texts(whole)
        room.pop(0)
        if not room:
            break
    room[:] = [0]  # not even one question has room: each says so, and another day it is asked
    out = tmp_path / "none"
    run(study(tmp_path), out)
    assert set(ended(out).values()) == {(Status.ERROR, "out of memory")}
    room[:] = [100]
    run(study(tmp_path), out)
    assert texts(out) == texts(whole)
    survived("memory", 4)


@pytest.mark.parametrize("value", ["nan", pytest.param("inf", marks=pytest.mark.slow)])
def test_logits_that_are_no_numbers_are_errors_and_are_asked_again(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    import torch

    broken = [True]

    def break_weight(model: Any) -> None:
        if broken:
            with torch.no_grad():
                model.lm_head.weight[7] = float(value)

    change_the_model(monkeypatch, break_weight)
    out = tmp_path / "run"
    results = run(study(tmp_path), out)
    assert set(ended(out).values()) == {(Status.ERROR, "non-finite logits")}
    with RunFolder(out).ledger() as ledger:
        assert {text for *_, text in ledger.texts()} == {""}
        assert ledger.read_by() == {}  # a failure is nobody's reading
    assert all(e.value is None and e.reason for e in results.measure("accuracy_all"))
    broken.clear()
    run(study(tmp_path), out)
    assert texts(out) == texts(whole)
    assert (out / "estimates.json").read_bytes() == (whole / "estimates.json").read_bytes()
    survived("nan", 1, part=value)
