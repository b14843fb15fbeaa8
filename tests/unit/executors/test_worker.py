"""One worker: what was handed ahead is opened while the model is at something else, by one thread, and can be taken back."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from palpate.errors import ModelError
from palpate.executors import _work, _worker
from palpate.executors._worker import CALLS, TakenBack, Told, Worker
from palpate.nouns import Answer, Block, Status, Stimulus
from palpate.parts import FeatureRequest, ModelSpec
from palpate.stages.plan import plan
from palpate.study import Study

SPEC = ModelSpec("m", "noting")
OTHER = replace(SPEC, name="other")


class Noting:
    """Notes what it is told and asked, by which thread, and waits where it is to."""

    blocks_at_once = 1

    def __init__(self, spec: ModelSpec) -> None:
        self.spec, self.told, self.go = spec, list[tuple[str, list[int]]](), threading.Event()
        self.threads, self.closed = {threading.current_thread().name}, False

    def expect(self, stimuli: Sequence[Stimulus]) -> None:
        self.told.append(("expect", [id(one.image) for one in stimuli]))

    def ask(self, stimuli: Sequence[Stimulus]) -> list[list[Answer]]:
        self.threads.add(threading.current_thread().name)
        self.kept = [*getattr(self, "kept", ()), *stimuli]  # so that no image is made where one of these lay
        self.told.append(("ask", [id(one.image) for one in stimuli]))
        assert self.go.wait(30)
        return [[Answer(Status.OK, self.spec.name) for _ in one.block.trials] for one in stimuli]

    def fingerprint(self) -> Any: ...

    def close(self) -> None:
        self.closed = True

    def asked(self) -> int:
        return [what for what, _ in self.told].count("ask")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Noting]:
    """The models that were made, in order."""
    models: list[Noting] = []

    def build(spec: ModelSpec) -> Noting:
        models.append(Noting(spec))
        return models[-1]

    monkeypatch.setattr(_worker, "part", lambda folder, name: SimpleNamespace(build=build))
    return models


@pytest.fixture
def opening(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cases whose images were opened, in order."""
    names: list[str] = []
    present = _work.present

    def noted(block: Block, seed: int) -> Stimulus:
        assert threading.current_thread().name.startswith("palpate-open")
        names.append(block.case.id)
        return present(block, seed)

    monkeypatch.setattr(_work, "present", noted)
    return names


@pytest.fixture
def blocks(small_study: Path) -> list[Block]:
    study = Study.load(small_study)
    return list(plan(study).blocks(study.models[0]))


Calls = Any


@pytest.fixture
def calls() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(CALLS) as threads:
        yield threads


def until(true: Any) -> None:
    for _ in range(30_000):
        if true():
            return
        threading.Event().wait(0.001)
    raise AssertionError


def look(
    calls: Calls, worker: Worker, number: int, block: Block, spec: ModelSpec = SPEC, **requests: FeatureRequest
) -> Future[Any]:
    """As an executor's call comes: in a thread of its own, after those before it."""
    future: Future[Any] = calls.submit(worker.look, number, spec, [block], requests)
    until(lambda: number in worker._held or future.done() or (worker._model is not None and worker._model.asked() == number + 1))
    return future


def test_what_is_handed_ahead_is_opened_meanwhile_and_expected(blocks, made, opening, calls) -> None:
    worker = Worker(0)
    assert isinstance(worker.start(SPEC, None), Told)
    (model,) = made
    given = [look(calls, worker, number, block) for number, block in enumerate(blocks[:3])]
    until(lambda: len(opening) == 3)
    assert model.asked() == 1, "all three are open, and one is asked"
    assert opening == [block.case.id for block in blocks[:3]]
    model.go.set()
    assert [len(one.result()[0][0]) for one in given] == [12, 12, 12]
    asked = [images for what, images in model.told if what == "ask"]
    expected = [images for what, images in model.told if what == "expect"]
    assert expected in ([*asked[1:]], [*asked[2:]]), "the very objects that are asked about next; the first may not have been open"
    assert {name.rpartition("_")[0] for name in model.threads} == {"palpate-ask"}, "made and asked by one thread"
    assert len(model.threads) == 1


def test_what_is_not_begun_can_be_taken_back(blocks, made, opening, calls) -> None:
    worker = Worker(0)
    worker.start(SPEC, None)
    (model,) = made
    first, second, third = (look(calls, worker, number, block) for number, block in enumerate(blocks[:3]))
    until(lambda: model.asked() == 1)
    worker.take_back(1)
    assert second.result(30) == TakenBack(), "at once, though the model is at another"
    worker.take_back(0)  # it is at this one
    worker.take_back(7)  # it never heard of this one
    model.go.set()
    assert len(first.result()[0][0]) == len(third.result()[0][0]) == 12
    worker.take_back(2)  # it is done
    assert model.asked() == 2
    assert worker._held == {}


def test_what_the_models_own_code_cancels_is_not_taken_back(blocks, made, monkeypatch) -> None:
    """It would be asked again for ever."""

    def cancelled(self: Noting, stimuli: Sequence[Stimulus]) -> Any:
        raise CancelledError

    monkeypatch.setattr(Noting, "ask", cancelled)
    with pytest.raises(CancelledError):
        Worker(0).look(0, SPEC, [blocks[0]], {})


def test_a_worker_that_is_to_load_as_it_starts_loads_a_model_that_can_be_loaded(made, monkeypatch) -> None:
    """So that all workers are ready when the first has tested it; by the thread that asks, and a fault is told."""
    loaded = []
    monkeypatch.setattr(Noting, "load", lambda self: loaded.append(threading.current_thread().name), raising=False)
    assert isinstance(Worker(0).start(SPEC, None), Told)
    assert loaded == [], "only where it is told to"
    made.clear()
    worker = Worker(0)
    assert isinstance(worker.start(SPEC, None, True), Told)
    assert len(loaded) == 1
    assert set(loaded) == made[0].threads
    fault = ModelError("its weights do not fit")
    monkeypatch.setattr(Noting, "load", lambda self: (_ for _ in ()).throw(fault))
    assert Worker(0).start(SPEC, None, True) is fault
    monkeypatch.setattr(Noting, "load", lambda self, path: None)  # something else of a plug-in's
    assert isinstance(Worker(0).start(SPEC, None, True), Told)


def test_what_is_asked_goes_by_its_own_model_whatever_was_started_last(blocks, made, calls) -> None:
    """Calls may overtake one another: a worker that was started for one model while the last was loading."""
    worker = Worker(0)
    worker.start(OTHER, None)
    worker.start(SPEC, None)
    for model in made:
        model.go.set()
    answering = calls.submit(worker.look, 0, OTHER, [blocks[0]], {})
    until(lambda: len(made) == 3)
    made[-1].go.set()
    answers, _ = answering.result()
    assert {answer.text for answer in answers[0]} == {"other"}
    assert [model.closed for model in made] == [True, True, False]


def test_a_fault_while_opening_is_that_batchs_alone(blocks, made, monkeypatch, calls) -> None:
    present = _work.present

    def broken(block: Block, seed: int) -> Stimulus:
        if block is blocks[1]:
            raise RuntimeError("a perturbation's own fault")
        return present(block, seed)

    monkeypatch.setattr(_work, "present", broken)
    worker = Worker(0)
    worker.start(SPEC, None)
    first, second, third = (look(calls, worker, number, block) for number, block in enumerate(blocks[:3]))
    made[0].go.set()
    with pytest.raises(RuntimeError, match="own fault"):
        second.result()
    assert len(first.result()[0][0]) == len(third.result()[0][0]) == 12


def test_a_model_whose_states_are_kept_is_not_told_what_comes_next(blocks, made, opening, calls) -> None:
    """As in one process: an image that is watched goes alone."""
    worker = Worker(0)
    worker.start(SPEC, None)
    request = {"pneumonia_cxr": FeatureRequest(layers=(0,))}
    given = [look(calls, worker, number, block, **request) for number, block in enumerate(blocks[:3])]
    until(lambda: len(opening) == 3)
    made[0].go.set()
    assert all(len(one.result()[0][0]) == 12 for one in given)
    assert {what for what, _ in made[0].told} == {"ask"}
