"""Served models are asked by several threads of this process: in order, within an allowance, and no finished answer is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from palpate.errors import ModelError
from palpate.executors import _served
from palpate.executors.local import LocalExecutor
from palpate.nouns import Answer, Block, Prompt, Status, Stimulus
from palpate.parts import Allowance, Destination, Fingerprint, ModelSpec, ServedModel
from palpate.stages.plan import plan
from palpate.study import Study

SPEC = ModelSpec("served", "served")


class Served:
    """Answers with the case's name; ``before`` may wait or fail."""

    blocks_at_once = 1
    asks_at_once = 3

    def __init__(self) -> None:
        self.lock, self.under_way, self.most, self.closed = threading.Lock(), 0, 0, 0
        self.allowance: Allowance | None = None
        self.before: Any = lambda case: None
        self.threads: set[str] = set()

    def fingerprint(self) -> Fingerprint:
        return Fingerprint({})

    def destination(self) -> Destination:
        return Destination("localhost", False)

    def tokens(self, prompt: Prompt, *, image: bool) -> tuple[int, int]:
        return 1, 1

    def allow(self, allowance: Allowance) -> None:
        self.allowance = allowance

    def observed(self) -> Mapping[str, Any]:
        return {"closed": self.closed}

    def ask(self, stimuli: Sequence[Stimulus]) -> list[list[Answer]]:
        with self.lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            self.threads.add(threading.current_thread().name)
        try:
            self.before(stimuli[0].block.case.id)
            return [[Answer(Status.OK, s.block.case.id) for _ in s.block.trials] for s in stimuli]
        finally:
            with self.lock:
                self.under_way -= 1

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    model = Served()
    assert isinstance(model, ServedModel)

    class Kind:
        def build(self, spec: ModelSpec) -> Served:
            return model

    monkeypatch.setattr(_served, "part", lambda folder, name: Kind())
    return model


@pytest.fixture
def batches(small_study: Path) -> list[list[Block]]:
    study = Study.load(small_study)
    return [[block] for block in plan(study).blocks(study.models[0])]


def test_side_by_side_and_in_order(served: Served, batches: list[list[Block]]) -> None:
    first = batches[0][0].case.id
    served.before = lambda case: time.sleep(0.2 if case == first else 0.01)  # the first is the slowest
    executor = LocalExecutor(workers=4)
    found = list(executor.run(SPEC, batches))
    assert [batch for batch, _ in found] == batches
    assert all({a.text for a in given[0]} == {batch[0].case.id} for batch, given in found)
    assert 1 < served.most <= 3
    assert executor._processes is None  # no process was started
    assert served.allowance is None
    assert executor.observed(SPEC)["closed"] >= 1
    assert executor.observed(ModelSpec("other", "served")) == {}


def test_the_allowance_reaches_the_model(served: Served, batches: list[list[Block]]) -> None:
    list(LocalExecutor().run(SPEC, batches, Allowance(tokens=5)))
    assert served.allowance == Allowance(tokens=5)


def test_few_batches_are_taken_ahead(served: Served, batches: list[list[Block]]) -> None:
    taken: list[int] = []

    def counted() -> Iterator[list[Block]]:
        for i, batch in enumerate(batches):
            taken.append(i)
            yield batch

    running = LocalExecutor().run(SPEC, counted())
    next(running)
    assert len(taken) <= served.asks_at_once + 1  # so memory does not grow with the number of images
    running.close()


@pytest.mark.parametrize("fault", [ModelError("gone"), KeyboardInterrupt()])
def test_what_is_finished_is_handed_over_before_the_fault(served: Served, batches: list[list[Block]], fault: BaseException) -> None:
    second = batches[1][0].case.id
    others_done = threading.Event()
    done: list[str] = []

    def before(case: str) -> None:
        if case == second:
            others_done.wait(20)
            raise fault
        done.append(case)
        if len(done) >= 3:
            others_done.set()

    served.before = before
    found: list[str] = []

    def take() -> None:
        found.extend(batch[0].case.id for batch, _ in LocalExecutor().run(SPEC, batches))

    with pytest.raises(type(fault)):
        take()
    assert second not in found
    assert len(found) >= 3  # the first, and those behind the second that had ended
    assert found == [b[0].case.id for b in batches if b[0].case.id in found]
    assert served.closed >= 1
