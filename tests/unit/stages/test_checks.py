"""Checks before a model's first question: once, on the study's own images, recorded, and heeded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from palpate import registry
from palpate.executors.local import LocalExecutor
from palpate.nouns import Answer, Status, Stimulus
from palpate.parts import ChecksItself, Fingerprint, ModelSpec
from palpate.pipeline import ask
from palpate.stages.checks import checked, sample
from palpate.stages.plan import plan
from palpate.store.folder import RunFolder
from palpate.study import Study
from small import write_study

STUDY = """
name = "checking"
perturbations = ["blank", "none"]

[[models]]
name = "careful"
kind = "careful"

[[tasks]]
name = "pneumonia_cxr"
source = { kind = "folder", path = "images" }
"""


class Careful:
    """Finds out that it should be asked another way."""

    blocks_at_once = 4
    seen: ClassVar[list[tuple[str, int]]] = []

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = options

    def fingerprint(self) -> Fingerprint:
        return Fingerprint({"kind": "careful"}, {"device": "cpu", "warnings": ["mind the step"]})

    def check(self, stimuli: Sequence[Stimulus]) -> Mapping[str, Any]:
        Careful.seen.append(("check", len(stimuli)))
        checks = [{"name": "asked together as alone", "held": False, "found": "3 of 8 the same"}]
        return {
            "checks": checks,
            "ask_instead": {"way": "single"},
            "warnings": ["asked by itself"],
            "rendered_prompt": "USER: Is it?",
        }

    def ask(self, stimuli: Sequence[Stimulus]) -> list[list[Answer]]:
        Careful.seen.append((str(self.options.get("way", "prefix")), len(stimuli)))
        return [[Answer(Status.OK, "Yes") for _ in s.block.trials] for s in stimuli]

    def close(self) -> None:
        pass


class CarefulKind:
    name = "careful"
    options: Mapping[str, str] = {"way": "how it is asked"}

    def presets(self) -> Mapping[str, Any]:
        return {}

    def lineages(self) -> Sequence[Any]:
        return ()

    def build(self, spec: ModelSpec) -> Careful:
        return Careful(spec.options)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setitem(registry.parts("models"), "careful", CarefulKind())
    Careful.seen = []
    return Study.load(write_study(tmp_path, STUDY, per_class=3))


def test_the_sample_is_of_different_images_as_they_are(study: Study) -> None:
    blocks = sample(plan(study), study.models[0])
    assert [b.perturbation.name for b in blocks] == ["none", "none"]
    assert len({b.case.digest for b in blocks}) == 2
    assert all(len(b.trials) == len(study.tasks[0].prompts) for b in blocks)


def test_a_model_is_checked_once_before_it_is_asked_and_what_it_says_is_heeded(study: Study, tmp_path: Path) -> None:
    assert isinstance(Careful({}), ChecksItself)
    out = RunFolder(tmp_path / "run")
    ask(plan(study), out)
    assert Careful.seen[0] == ("check", 2)
    assert {way for way, _ in Careful.seen[1:]} == {"single"}
    with out.ledger() as ledger:
        identity, environment = ledger.models()["careful"]
    assert identity == {"kind": "careful"}  # the way of asking changed no key
    assert environment["device"] == "cpu"
    assert environment["warnings"] == ["mind the step", "asked by itself"]
    assert environment["checks"][0]["found"] == "3 of 8 the same"
    assert environment["rendered_prompt"] == "USER: Is it?"
    assert "ask_instead" not in environment


def test_a_finished_run_checks_nothing_and_forgets_nothing(study: Study, tmp_path: Path) -> None:
    out = RunFolder(tmp_path / "run")
    ask(plan(study), out)
    Careful.seen = []
    ask(plan(study), out)
    assert Careful.seen == []
    with out.ledger() as ledger:
        assert ledger.models()["careful"][1]["checks"]


def test_a_model_that_checks_nothing_is_asked_as_it_is(tmp_path: Path) -> None:
    text = STUDY.replace('kind = "careful"', 'kind = "scripted"')
    study = Study.load(write_study(tmp_path, text, per_class=2))
    executor = LocalExecutor()
    planned = plan(study)
    with RunFolder(tmp_path / "run").writing(study.name, study.to_toml()) as ledger:
        planned.write(ledger)
        before = ledger.models()
        assert checked(planned, study.models[0], ledger, executor) is study.models[0]
        assert ledger.models() == before
    executor.close()


def test_images_that_cannot_be_opened_are_left_out_of_the_check(study: Study, tmp_path: Path) -> None:
    from dataclasses import replace

    class Gone:
        def open(self) -> None:
            raise OSError("gone")

    blocks = sample(plan(study), study.models[0])
    broken = [replace(blocks[0], case=replace(blocks[0].case, image=Gone())), blocks[1]]
    executor = LocalExecutor()
    assert executor.check(study.models[0], broken)
    assert Careful.seen == [("check", 1)]
    executor.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_here_and_in_a_worker(tmp_path: Path, workers: int) -> None:
    """A planted model checks nothing, wherever it is asked to."""
    study = Study.load(write_study(tmp_path, STUDY.replace('kind = "careful"', 'kind = "scripted"'), per_class=2))
    executor = LocalExecutor(workers, study.seed)
    try:
        assert executor.check(study.models[0], sample(plan(study), study.models[0])) == {}
    finally:
        executor.close()
