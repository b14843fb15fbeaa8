"""Checks before a model's first question: once, on the study's own images, recorded, and heeded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from palpate import registry
from palpate.errors import ModelError
from palpate.executors._worker import Worker
from palpate.executors.local import LocalExecutor
from palpate.executors.ray_pool import RayExecutor, RaySettings
from palpate.nouns import Answer, Status, Stimulus, Tally
from palpate.parts import ChecksItself, Fingerprint, LoadsFirst, ModelSpec
from palpate.pipeline import ask, executor_for
from palpate.registry import part
from palpate.stages.checks import checked, heeded, sample
from palpate.stages.plan import plan
from palpate.store import earlier
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
    half: ClassVar[bool] = False  # its way of asking is part of its identity
    restless: ClassVar[bool] = False  # no way will do

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = options

    def fingerprint(self) -> Fingerprint:
        way = {"way": self.options.get("way", "prefix")} if Careful.half else {}
        return Fingerprint({"kind": "careful", **way}, {"device": "cpu", "warnings": ["mind the step"]})

    def check(self, stimuli: Sequence[Stimulus]) -> Mapping[str, Any]:
        Careful.seen.append(("check", len(stimuli)))
        if Careful.half and "way" in self.options and not Careful.restless:
            return {"checks": [{"name": "asked together as alone", "held": None, "found": "asked by itself"}]}
        checks = [{"name": "asked together as alone", "held": False, "found": "3 of 8 the same"}]
        return {
            "checks": checks,
            "ask_instead": {"way": f"{self.options['way']}er" if Careful.restless and "way" in self.options else "single"},
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
    monkeypatch.setattr(Careful, "half", False)
    monkeypatch.setattr(Careful, "restless", False)
    Careful.seen = []
    return Study.load(write_study(tmp_path, STUDY, per_class=3))


@pytest.fixture
def half(study: Study, monkeypatch: pytest.MonkeyPatch) -> Study:
    """The same, where the way of asking makes another model of it."""
    monkeypatch.setattr(Careful, "half", True)
    return study


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
        assert checked(planned, study.models[0], ledger, executor) is planned
        assert ledger.models() == before
    executor.close()


def test_images_that_cannot_be_opened_are_left_out_of_the_check(study: Study, tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("workers", "said"),
    [(1, ["loading", "self-test", "first batch, 48 questions"]), (2, ["loading and self-test", "first batch, 48 questions"])],
)
def test_it_is_said_that_a_model_loads_and_tests_itself(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, said: list[str]
) -> None:
    """One that loads by itself says so before it does; of a worker, which does both in one call, both are said."""
    told: list[str] = []
    monkeypatch.setattr(Careful, "load", lambda self: told.append("(loaded)"), raising=False)
    monkeypatch.setattr(Careful, "check", lambda self, stimuli: told.append("(checked)") or {})
    here = Here()
    monkeypatch.setattr(LocalExecutor, "_workers", lambda self: here)
    planned = plan(replace(study, ask=replace(study.ask, workers=workers)))
    tallies: list[Tally] = []

    def advance(tally: Tally) -> None:
        tallies.append(tally)
        if tally.doing:
            told.append(tally.doing)

    ask(planned, RunFolder(tmp_path / "run"), advance)
    assert [t for t in told if not t.startswith("(")] == said
    if workers == 1:
        assert told == ["loading", "(loaded)", "self-test", "(checked)", "first batch, 48 questions"]
    assert tallies[-1].doing == ""
    assert tallies[-1].done == tallies[-1].total


@pytest.mark.parametrize("load", [lambda self, path: pytest.fail("loaded"), lambda self, *, path: None, 0.5, None])
def test_a_load_that_is_something_else_is_let_be(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load: Any) -> None:
    """A plug-in's own ``load`` that reads a file it is given, or a number of that name."""
    monkeypatch.setattr(Careful, "load", load, raising=False)
    told: list[str] = []
    executor = LocalExecutor()
    try:
        assert executor.check(study.models[0], sample(plan(study), study.models[0]), told.append)["warnings"]
    finally:
        executor.close()
    assert told == ["self-test"]


def test_what_loads_first_is_a_protocol_of_the_contract() -> None:
    class Loads(Careful):
        def load(self) -> None:
            """At once."""

    assert isinstance(Loads({}), LoadsFirst)
    assert not isinstance(Careful({}), LoadsFirst)
    assert isinstance(part("models", "bundled").build(ModelSpec("phantom-llava", "bundled")), LoadsFirst)


@pytest.mark.parametrize(("coming", "ready"), [(1, 1), (2, 2), (5, 3)])
def test_as_many_get_ready_meanwhile_as_there_is_work_for(
    study: Study, monkeypatch: pytest.MonkeyPatch, coming: int, ready: int
) -> None:
    here, executor = Here(), LocalExecutor(3)
    monkeypatch.setattr(executor, "_workers", lambda: here)
    executor.check(study.models[0], sample(plan(study), study.models[0]), coming=coming)
    assert len(here.workers) == ready


class Here:
    """Worker processes that are this one: a call is answered before it returns."""

    def __init__(self) -> None:
        self.workers: dict[Any, Any] = {}
        self.found: dict[int, Any] = {}
        self.model: ModelSpec | None = None

    def prepare(self, model: ModelSpec) -> None:
        self.model = model

    def spawn(self) -> tuple[Worker, int]:
        worker = Worker(0)
        return worker, self.call(worker, "start", self.model, None)

    def call(self, worker: Worker, method: str, *given: Any) -> int:
        self.found[len(self.found)] = getattr(worker, method)(*given)
        return len(self.found) - 1

    def wait(self, references: list[int]) -> list[int]:
        return references

    def result(self, reference: int) -> Any:
        return self.found[reference]

    def take_back(self, worker: Worker, number: int) -> None: ...


# ---------------------------------------------------------------- where the way of asking is part of the identity


def test_it_is_planned_again_as_the_model_that_it_is_then(half: Study, tmp_path: Path) -> None:
    out, notes = RunFolder(tmp_path / "run"), []
    first = plan(half)
    done = ask(first, out, on_note=notes.append)
    assert notes == ["careful: asked by itself"]
    assert Careful.seen[:2] == [("check", 2), ("check", 2)]
    assert {way for way, _ in Careful.seen[2:]} == {"single"}
    assert (done.done, done.reused, done.total) == (first.n_trials, 0, first.n_trials)
    again = heeded(plan(half), out)
    assert again.fingerprints["careful"].identity == {"kind": "careful", "way": "single"}
    assert again.settled(half.models[0]).options == {"way": "single"}
    assert again.study == half
    assert again.instead["careful"].digest == first.model_digests["careful"]
    with out.ledger() as ledger:
        assert set(ledger.attempts()) == {key for o in again.outlines(half.models[0]) for key in o.keys}
        assert (ledger.plan() or {})["models"] == again.model_digests
        identity, environment = ledger.models()["careful"]
        assert identity["way"] == "single"
        assert environment["warnings"] == ["mind the step", "asked by itself"]
        assert environment["checks"][0]["held"] is None
        kept = earlier.environments(ledger, "careful", first.model_digests["careful"])
    assert kept[-1]["asked_instead"] == {"options": {"way": "single"}, "warnings": ["asked by itself"]}
    assert kept[-1]["checks"][0]["held"] is False  # what was found of the way that failed


def test_the_decision_holds_for_that_model_alone(half: Study, tmp_path: Path) -> None:
    out = RunFolder(tmp_path / "run")
    planned = plan(half)
    assert heeded(planned, out) is planned  # nothing was begun
    ask(planned, out)
    decided = heeded(planned, out)
    assert heeded(decided, out) is decided
    other = replace(planned, fingerprints={"careful": Fingerprint({"kind": "careful", "weights": "other"})})
    assert heeded(other, out) is other
    with out.ledger() as ledger:
        assert earlier.asked_instead(ledger, decided.fingerprints["careful"].identity) is None
        assert earlier.asked_instead(ledger, {}) is None


def test_another_gpu_that_settles_more_images_heeds_it_too(half: Study, tmp_path: Path) -> None:
    """Asked one by one it is the same model on both, so that the run goes on."""
    out, planned = RunFolder(tmp_path / "run"), plan(half)
    here = {**planned.fingerprints["careful"].identity, "images": 64}
    there = {**here, "images": 16}
    settled = replace(planned, fingerprints={"careful": Fingerprint(here, {}, {"images": 64})})
    with out.writing(half.name, half.to_toml()) as ledger:
        settled.write(ledger)
        decided = checked(settled, half.models[0], ledger, LocalExecutor(1, half.seed))
    elsewhere = replace(planned, fingerprints={"careful": Fingerprint(there, {}, {"images": 16})})
    assert heeded(elsewhere, out).model_digests == decided.model_digests != elsewhere.model_digests
    assert heeded(elsewhere, out).settled(half.models[0]).options == {
        "way": "single"
    }  # nothing of what was settled for the other way
    named = replace(planned, fingerprints={"careful": Fingerprint(there)})  # the study itself says another number
    assert heeded(named, out) is named


def test_a_second_sitting_checks_the_way_that_was_decided_and_no_other(half: Study, tmp_path: Path) -> None:
    out, planned = RunFolder(tmp_path / "run"), plan(half)

    def interrupted(tally: Tally) -> None:
        if tally.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(planned, out, interrupted)
    Careful.seen, notes = [], []
    done = ask(planned, out, on_note=notes.append)
    assert Careful.seen[0] == ("check", 2)
    assert [way for way, _ in Careful.seen].count("check") == 1
    assert {way for way, _ in Careful.seen[1:]} == {"single"}
    assert notes == ["careful: asked by itself"]
    assert 0 < done.reused < done.done == planned.n_trials
    with out.ledger() as ledger:
        assert set(ledger.attempts().values()) == {(1, False)}
        assert ledger.models()["careful"][1]["warnings"] == ["mind the step", "asked by itself"]


def test_of_two_models_the_other_is_asked_as_it_was_planned(half: Study, tmp_path: Path) -> None:
    plain = ModelSpec("plain", "scripted")
    both = replace(half, models=(*half.models, plain), lineages=())
    out = RunFolder(tmp_path / "run")
    planned = plan(both)
    done = ask(planned, out)
    assert (done.done, done.errors) == (planned.n_trials, 0)
    decided = heeded(planned, out)
    assert decided.settled(plain) is plain
    with out.ledger() as ledger:
        assert set(ledger.attempts()) == {key for m in both.models for o in decided.outlines(m) for key in o.keys}


def test_a_model_that_no_way_will_do_for_is_not_asked(half: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Careful, "restless", True)
    with pytest.raises(ModelError, match="finds no way in which it can be asked"):
        ask(plan(half), RunFolder(tmp_path / "run"))
    assert {what for what, _ in Careful.seen} == {"check"}


def test_an_executor_is_told_what_it_is_then(half: Study, tmp_path: Path) -> None:
    """A worker of a cluster is held against that identity: the one of the plan before would refuse it."""
    here, told = LocalExecutor(1, half.seed), RayExecutor(RaySettings(), half.seed, {half.models[0]: {"kind": "careful"}})
    here.identify = told.identify  # type: ignore[method-assign]
    planned = plan(half)
    with RunFolder(tmp_path / "run").writing(half.name, half.to_toml()) as ledger:
        planned.write(ledger)
        decided = checked(planned, half.models[0], ledger, here)
    here.close()
    assert told._identities[decided.settled(half.models[0])] == {"kind": "careful", "way": "single"}
    assert told._identities[half.models[0]] == {"kind": "careful"}


def test_the_same_model_asked_another_way_is_known_to_the_executor_too(study: Study, tmp_path: Path) -> None:
    here = LocalExecutor(1, study.seed)
    planned = plan(study)
    with RunFolder(tmp_path / "run").writing(study.name, study.to_toml()) as ledger:
        planned.write(ledger)
        decided = checked(planned, study.models[0], ledger, here)
    here.close()
    assert decided.model_digests == planned.model_digests
    assert here._identities == {decided.settled(study.models[0]): {"kind": "careful"}}


def test_workers_are_held_against_the_plan_where_the_machine_settled_something(study: Study) -> None:
    planned = plan(replace(study, ask=replace(study.ask, executor="ray")))
    found = replace(planned.fingerprints["careful"], settled={"way": "prefix"})
    settled = replace(planned, fingerprints={"careful": found})
    executor = executor_for(settled)
    assert executor._identities[settled.settled(study.models[0])] == {"kind": "careful"}  # type: ignore[attr-defined]
    executor.close()
