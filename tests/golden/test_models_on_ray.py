"""A real model in Ray's workers: the same answers, margins and inner states, to the last bit that is kept."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from palpate import pipeline
from palpate.stages.plan import plan
from palpate.store.folder import RunFolder
from palpate.study import Study

pytestmark = [
    pytest.mark.slow,
    pytest.mark.local,
    pytest.mark.skipif(find_spec("ray") is None or find_spec("torch") is None, reason="needs the extras `ray` and `local`"),
]
STUDY = """
name = "on-ray"
seed = 3
perturbations = ["none", "occlude_lesion"]
[[models]]
name = "phantom-llava"
[[tasks]]
name = "pneumonia_phantom"
[sample]
per_class = 4
[features]
pooling = ["mean"]
[data]
inspect = false
[ask]
workers = 2
"""


def test_a_bundled_model_with_its_states(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    planned = plan(Study.load(tmp_path / "study.toml"))
    for executor in ("local", "ray"):
        study = replace(planned.study, ask=replace(planned.study.ask, executor=executor))
        done = pipeline.ask(replace(planned, study=study), RunFolder(tmp_path / executor))
        assert (done.done, done.errors) == (planned.n_trials, 0)
    assert rows(tmp_path / "ray") == rows(tmp_path / "local")
    assert states(tmp_path / "ray") == states(tmp_path / "local")
    assert len(states(tmp_path / "ray")) == 4  # what is current, and of one task its index, states and what is done


def rows(run: Path) -> list[tuple[object, ...]]:
    db = sqlite3.connect(run / "ledger.sqlite")
    found = db.execute(
        "SELECT id, key, attempt, status, text, margin, mass, tokens_in, tokens_out FROM response ORDER BY id"
    ).fetchall()
    db.close()
    assert found
    return found


def states(run: Path) -> dict[str, bytes]:
    folder = run / "features"
    return {os.fspath(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}
