"""In this process images are opened ahead of the model, and a model that looks ahead is told what comes next."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from palpate.executors import local
from palpate.executors.local import LocalExecutor
from palpate.nouns import Answer, Status
from palpate.stages.plan import plan
from palpate.study import Study

SIZE = 3


class Looking:
    """Notes what it is told and asked, by the images themselves, and lets images be opened meanwhile."""

    def __init__(self) -> None:
        self.told: list = []

    def expect(self, stimuli) -> None:
        self.told.append(("expect", [id(one.image) for one in stimuli]))

    def ask(self, stimuli):
        self.told.append(("ask", [id(one.image) for one in stimuli]))
        self.kept = stimuli  # so that no image is made where one of these lay
        return [[Answer(Status.OK, "Yes") for _ in one.block.trials] for one in stimuli]

    blocks_at_once = SIZE

    def fingerprint(self): ...

    def close(self) -> None:
        self.told.append(("close", []))


@pytest.fixture
def batches(small_study: Path):
    study = Study.load(small_study)
    blocks = list(plan(study).blocks(study.models[0]))
    return study.models[0], [blocks[i : i + SIZE] for i in range(0, len(blocks), SIZE)]


def test_what_comes_next_is_expected_and_is_what_is_asked_next(batches, monkeypatch) -> None:
    spec, own = batches
    model, executor, opening = Looking(), LocalExecutor(1, 0), []
    executor._held = spec, model  # type: ignore[assignment]
    opened = local.opened

    def noted(blocks, seed):
        opening.append(threading.current_thread().name)
        return opened(blocks, seed)

    monkeypatch.setattr(local, "opened", noted)
    given = []
    for batch, answers in executor.run(spec, own):
        given.append((batch, answers))
        while len(opening) < min(len(given) + 2, len(own)):  # two more are opened while the caller is at work
            threading.Event().wait(0.001)
    assert [batch for batch, _ in given] == own
    assert all(len(one) == len(block.trials) for batch, answers in given for block, one in zip(batch, answers, strict=True))
    assert all(name.startswith("palpate-open") for name in opening)
    asked = [images for what, images in model.told if what == "ask"]
    expected = [images for what, images in model.told if what == "expect"]
    assert len(asked) == len(own)
    assert expected
    assert all(images in asked[1:] for images in expected), "the very objects that are asked about later"
    assert model.told[-1] == ("close", [])


def test_an_image_that_cannot_be_opened_is_an_error_of_its_own(batches, tmp_path, monkeypatch) -> None:
    spec, own = batches
    model, executor = Looking(), LocalExecutor(1, 0)
    executor._held = spec, model  # type: ignore[assignment]
    from palpate.executors import _work

    present = _work.present

    def broken(block, seed):
        if block.case.id == own[1][1].case.id:
            raise OSError("cut short")
        return present(block, seed)

    monkeypatch.setattr(_work, "present", broken)
    found = [answers for _, answers in executor.run(spec, own)]
    assert {a.status for a in found[1][1]} == {Status.ERROR}
    assert {a.status for i, batch in enumerate(found) for j, one in enumerate(batch) for a in one if (i, j) != (1, 1)} == {
        Status.OK
    }


def test_a_fault_while_opening_waits_for_its_turn(batches, monkeypatch) -> None:
    """What came before it is answered, and kept, whether or not the thread was quick."""
    spec, own = batches
    model, executor, seen = Looking(), LocalExecutor(1, 0), threading.Event()
    executor._held = spec, model  # type: ignore[assignment]
    opened = local.opened

    def broken(blocks, seed):
        if blocks is own[1]:
            seen.set()
            raise RuntimeError("a perturbation's own fault")
        return opened(blocks, seed)

    def coming():
        yield from own[:2]
        assert seen.wait(10)
        threading.Event().wait(0.05)  # the fault is there before the first batch is asked
        yield from own[2:]

    monkeypatch.setattr(local, "opened", broken)
    running = executor.run(spec, coming())
    assert next(running)[0] == own[0]
    with pytest.raises(RuntimeError, match="own fault"):
        next(running)


def test_stopping_early_ends_the_thread(batches) -> None:
    spec, own = batches
    executor = LocalExecutor(1, 0)
    executor._held = spec, Looking()  # type: ignore[assignment]
    running = executor.run(spec, own)
    next(running)
    running.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("palpate-open")]


def test_what_was_opened_ahead_is_not_asked_once_batches_are_over(batches) -> None:
    spec, own = batches
    model, executor = Looking(), LocalExecutor(1, 0)
    executor._held = spec, model  # type: ignore[assignment]
    given = []

    class Batches(list):
        def over(self) -> bool:
            return bool(given)

    for batch, _ in executor.run(spec, Batches(own)):
        given.append(batch)
    assert given == own[:1]
    assert [what for what, _ in model.told].count("ask") == 1
