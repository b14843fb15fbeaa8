"""Inner states kept while a study runs: from the same questions, resumed, and added to a run whose answers are there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import palpate
from palpate.errors import StudyError, UnknownName
from palpate.pipeline import ask
from palpate.stages.capture import request_for, watched_models
from palpate.stages.plan import plan
from palpate.store.features import FeatureStore
from palpate.store.folder import RunFolder
from palpate.study import FeatureSettings, Study
from small import write_study

TEXT = """
name = "inside"
perturbations = ["none", "blank"]

[[models]]
name = "phantom-llava"
max_new_tokens = 2

[[models]]
name = "planted"
kind = "scripted"

[[tasks]]
name = "pneumonia_cxr"
source = { kind = "folder", path = "images" }
"""
FEATURES = """
[features]
layers = [0, -1]
"""


def load(folder: Path, text: str) -> Study:
    return Study.load(write_study(folder, text, per_class=2))


def run(study: Study, out: Path) -> FeatureStore:
    ask(plan(study), RunFolder(out))
    return FeatureStore.open(out)


@pytest.mark.local
def test_a_run_keeps_the_states_of_every_unchanged_image(tmp_path) -> None:
    pytest.importorskip("torch")
    study = load(tmp_path, TEXT + FEATURES)
    planned = plan(study)
    held = run(study, tmp_path / "run")
    assert held.held() == [("phantom-llava", "pneumonia_cxr")]
    assert held.cases(*held.held()[0]) == tuple(c.id for c in planned.cases["pneumonia_cxr"].cases)
    assert held.done(*held.held()[0]).all()
    stages = held.stages(*held.held()[0])
    kinds = [s.kind for s in stages]
    assert kinds == sorted(kinds, key=["vision", "read", "projector", "image", "prompt"].index)
    cells = {p.cell for p in study.tasks[0].prompts}
    assert len({s.prompt for s in stages} - {""}) == len(cells)
    last = held.array(*held.held()[0], stages[-1])
    assert np.isfinite(last).all()
    assert len({tuple(row) for row in last.tolist()}) == len(last)  # every image has states of its own


@pytest.mark.local
def test_states_may_be_added_to_a_run_whose_answers_are_there(tmp_path) -> None:
    """No question is asked again; a lost mark is looked at again; a finished run is not touched."""
    pytest.importorskip("torch")
    out = tmp_path / "run"
    ask(plan(load(tmp_path, TEXT)), RunFolder(out))
    with RunFolder(out).ledger() as ledger:
        before = list(ledger.texts())
    study = load(tmp_path, TEXT + FEATURES)
    held = run(study, out)
    with RunFolder(out).ledger() as ledger:
        assert list(ledger.texts()) == before
    assert held.done("phantom-llava", "pneumonia_cxr").all()
    fresh = run(study, tmp_path / "fresh")
    for stage in held.stages("phantom-llava", "pneumonia_cxr"):
        np.testing.assert_allclose(
            *(h.array("phantom-llava", "pneumonia_cxr", stage).astype(float) for h in (held, fresh)), atol=2e-2, rtol=1e-2
        )
    marks = next(out.glob("features/*/done.u8"))
    states = marks.with_name("states.f16")
    whole = states.read_bytes()
    marks.write_bytes(b"\1\0\1\1")
    assert FeatureStore.open(out).done("phantom-llava", "pneumonia_cxr").tolist() == [True, False, True, True]
    run(study, out)
    assert marks.read_bytes() == b"\1" * 4
    assert states.read_bytes() == whole
    at = states.stat().st_mtime_ns
    run(study, out)
    assert states.stat().st_mtime_ns == at


def test_without_the_table_nothing_is_kept(tmp_path) -> None:
    text = TEXT.replace('name = "phantom-llava"\nmax_new_tokens = 2', 'name = "other"\nkind = "scripted"')
    palpate.run(load(tmp_path, text), tmp_path / "run")
    assert not (tmp_path / "run" / "features").exists()


def test_settings_come_from_the_study_file_and_go_into_the_runs_own(tmp_path) -> None:
    study = load(tmp_path, TEXT + '[features]\nmodels = ["phantom-llava"]\npooling = ["max", "mean", "max"]\nprompts = ["q1"]\n')
    assert study.features == FeatureSettings(("phantom-llava",), None, ("max", "mean"), ("q1",))
    (tmp_path / "again.toml").write_text(study.to_toml())
    assert Study.load(tmp_path / "again.toml") == study
    assert load(tmp_path, TEXT).features is None


@pytest.mark.parametrize(
    ("features", "fault", "words"),
    [
        ({"models": ("phantom-lava",)}, UnknownName, ["features.models[0]", "phantom-llava"]),
        ({"models": ("phantom-llava", "planted")}, StudyError, ["features.models[1]", "'planted'", "hf or bundled"]),
        ({"prompts": ("no-such",)}, UnknownName, ["features.prompts[0]", "no-such"]),
    ],
)
def test_what_is_not_there_is_an_error_before_anything_is_asked(tmp_path, features, fault, words) -> None:
    study = load(tmp_path, TEXT)
    settings = FeatureSettings(**features)

    def check() -> None:
        watched_models(study, settings)
        request_for(study.tasks[0], settings, study)

    with pytest.raises(fault) as error:
        check()
    for word in words:
        assert word in str(error.value)


def test_prompts_default_to_the_first_of_every_cell(tmp_path) -> None:
    study = load(tmp_path, TEXT)
    task = study.tasks[0]
    request = request_for(task, FeatureSettings(), study)
    assert [p.cell for p in request.prompts] == list(dict.fromkeys(p.cell for p in task.prompts))
    named = task.prompts[4].name
    assert [p.name for p in request_for(task, FeatureSettings(prompts=(named,)), study).prompts] == [named]
