"""Worker processes open what comes next while they ask, and whatever is handed ahead is neither lost nor asked twice.

Nothing here goes by the clock: images and model say what they are at by files (``gated``), and the model waits where it is told to.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import psutil
import pytest

from gated import noted, said, until
from palpate import registry
from palpate.errors import RunError
from palpate.executors._flow import MOST_ENDS
from palpate.executors._processes import Processes, Raised, _noted, _pickled
from palpate.executors._worker import Told
from palpate.executors.local import LocalExecutor
from palpate.nouns import Answer, Block
from palpate.parts import ModelSpec
from palpate.stages.plan import plan
from palpate.study import Study

Batches = list[list[Block]]
Given = list[tuple[list[Block], list[list[Answer]]]]


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelSpec]:
    """The gated model, known to this process and to those it starts by an entry point."""
    info = tmp_path / "site" / "gated-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gated\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[palpate.models]\ngated = gated:KIND\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "site")
    registry.parts.cache_clear()
    (tmp_path / "at").mkdir()
    yield ModelSpec("base", "gated", {"accuracy": 0.7, "refusal_rate": 0.05, "folder": str(tmp_path / "at")})
    registry.parts.cache_clear()


@pytest.fixture
def at(spec: ModelSpec) -> Path:
    return Path(str(spec.options["folder"]))


@pytest.fixture
def batches(small_study: Path, at: Path) -> Batches:
    """Twelve, an image each."""
    study = Study.load(small_study)
    return [[noted(block, at)] for block in plan(study).blocks(study.models[0])]


class Running:
    """A run in a thread of its own."""

    def __init__(self, spec: ModelSpec, batches: Batches, workers: int = 2) -> None:
        self.executor, self.given = LocalExecutor(workers, 3), list[Any]()
        self._future: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(spec, batches), daemon=True)
        self._thread.start()

    def _run(self, spec: ModelSpec, batches: Batches) -> None:
        try:
            for one in self.executor.run(spec, batches):
                self.given.append(one)
            self._future.set_result(None)
        except BaseException as fault:  # noqa: BLE001 - raised where it is waited for
            self._future.set_exception(fault)

    @property
    def processes(self) -> Processes:
        assert self.executor._processes is not None
        return self.executor._processes

    def end(self) -> Given:
        self._future.result(60)
        return self.given

    def close(self) -> None:
        self._thread.join(60)  # first: what is closed under a run's hands would be replaced
        self.executor.close()


Start = Callable[..., Running]


@pytest.fixture
def start(spec: ModelSpec, at: Path) -> Iterator[Start]:
    """Begin a run of these batches; ended, whatever the test came to."""
    begun: list[Running] = []

    def started(batches: Batches, waiting: int = 0, **more: int) -> Running:
        """The model is to wait at the first so many."""
        for (block,) in batches[:waiting]:
            (at / f"wait {block.case.id}").touch()
        begun.append(Running(spec, batches, **more))
        return begun[-1]

    yield started
    for one in begun:
        let(at)
        one.close()


def let(at: Path) -> None:
    """The model waits no more."""
    for waiting in at.glob("wait *"):
        waiting.unlink()


def alone(spec: ModelSpec, batches: Batches) -> Given:
    return list(LocalExecutor(1, 3).run(spec, batches))


def held(at: Path) -> dict[int, int]:
    """Of each process, how many images it opened that it was not asked about yet."""
    opened, asked = (Counter(pid for _, pid in said(at, what)) for what in ("opened", "asked"))
    return {pid: count - asked[pid] for pid, count in opened.items()}


def test_what_is_handed_ahead_is_open_while_the_model_is_at_another(batches: Batches, at: Path, start: Start) -> None:
    running = start(batches, waiting=len(batches))
    until(lambda: list(held(at).values()) == [2, 2])
    assert len(said(at, "asked")) == 2
    assert len(said(at, "opened")) == 6, "and no more: memory does not grow with what is left"
    let(at)
    assert [batch for batch, _ in running.end()] == batches
    assert Counter(case for case, _ in said(at, "asked")) == Counter(b.case.id for (b,) in batches)


@pytest.mark.parametrize("workers", [2, 3])
def test_answers_are_those_of_one_process(batches: Batches, spec: ModelSpec, start: Start, workers: int) -> None:
    assert start(batches, workers=workers).end() == alone(spec, batches)


def test_a_killed_workers_batches_are_asked_again_by_others(batches: Batches, spec: ModelSpec, at: Path, start: Start) -> None:
    """That which it was at, and those it had opened; another takes its number, and so its GPU."""
    running = start(batches, waiting=len(batches))
    until(lambda: list(held(at).values()) == [2, 2])
    (case, pid), (_, other) = said(at, "asked")
    had = {one for one, by in said(at, "opened") if by == pid}
    assert len(had) == 3
    os.kill(pid, signal.SIGKILL)
    until(lambda: pid not in running.processes.pids() and len(running.processes.pids()) == 2)
    assert sorted(child.number for child in running.processes.workers) == [0, 1]
    let(at)
    given = running.end()
    assert running.executor.replaced == 1
    assert [batch for batch, _ in given] == batches
    assert {one for one, by in said(at, "answered") if by != pid} >= had
    assert Counter(one for one, _ in said(at, "answered")) == Counter(b.case.id for (b,) in batches), "and none of them twice"
    assert Counter(one for one, _ in said(at, "asked")) == Counter([case, *(b.case.id for (b,) in batches)])
    assert other in {by for _, by in said(at, "answered")}, "the other one went on"
    assert given == alone(spec, batches)


def test_a_slow_worker_keeps_nothing_that_others_could_answer(batches: Batches, at: Path, start: Start) -> None:
    """It is at its first batch while all others are answered, those that were handed to it ahead too."""
    running = start(batches[:6], waiting=1)
    until(lambda: len(said(at, "answered")) == 5)
    slow = batches[0][0].case.id
    (pid,) = (by for case, by in said(at, "asked") if case == slow)
    assert [case for case, by in said(at, "asked") if by == pid] == [slow]
    let(at)
    assert [batch for batch, _ in running.end()] == batches[:6]
    assert len(said(at, "asked")) == 6


def test_nothing_that_is_handed_ahead_is_begun_once_batches_are_over(batches: Batches, at: Path, start: Start) -> None:
    class Stopped(list):
        stop = False

        def over(self) -> bool:
            return self.stop

    stopped = Stopped(batches)
    running = start(stopped, waiting=len(batches))
    until(lambda: list(held(at).values()) == [2, 2])
    stopped.stop = True
    until(lambda: [len(child.under_way) for child in running.processes.workers] == [1, 1])  # the rest was given back
    let(at)
    kept = [block.case.id for (block,), _ in running.end()]
    assert sorted(kept) == [case for case, _ in said(at, "asked")], "what was begun is finished and kept"
    assert len(kept) == 2


def test_a_run_that_is_left_early_has_nothing_more_asked(batches: Batches, spec: ModelSpec, at: Path) -> None:
    executor = LocalExecutor(2, 3)
    for (block,) in batches[1:]:
        (at / f"wait {block.case.id}").touch()
    try:
        running = executor.run(spec, batches)
        next(running)
        assert executor._processes is not None
        busy = [child for child, told in executor._processes.workers.items() if isinstance(told, Told) and child.under_way]
        until(lambda: len(said(at, "asked")) == 1 + len(busy))
        running.close()
        until(lambda: all(child.pipe.poll() for child in busy))  # what was handed ahead is given back
        begun = {case for case, _ in said(at, "asked")}
        let(at)
        again = list(executor.run(spec, batches[-1:]))  # the workers are still there, and free
        assert [batch for batch, _ in again] == batches[-1:]
        until(lambda: len(said(at, "answered")) == len(begun) + 1)
        assert Counter(case for case, _ in said(at, "asked")) == Counter([*begun, batches[-1][0].case.id])
        assert executor.replaced == 0
    finally:
        executor.close()


def test_images_that_end_every_worker_are_given_up(batches: Batches, at: Path, start: Start) -> None:
    running = start(batches, waiting=1)
    fatal, ended = batches[0][0].case.id, set[int]()

    def asked() -> set[int]:
        return {by for case, by in said(at, "asked") if case == fatal} - ended

    for _ in range(MOST_ENDS):
        until(asked)
        (pid,) = asked()
        os.kill(pid, signal.SIGKILL)
        ended.add(pid)
    with pytest.raises(RunError, match="5 workers ended, one after another, at the same images"):
        running.end()


def test_a_fault_of_the_models_own_code_arrives_with_where_it_happened(batches: Batches, spec: ModelSpec, at: Path) -> None:
    executor = LocalExecutor(2, 3)
    broken = ModelSpec("base", "gated", {**spec.options, "folder": str(at / "not there")})
    try:
        with pytest.raises(FileNotFoundError) as fault:
            list(executor.run(broken, batches))
        assert any("gated.py" in note for note in fault.value.__notes__)
    finally:
        executor.close()


class Peculiar(Exception):
    """Cannot be made again from what it keeps."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} and {other}")


def test_what_cannot_be_handed_over_is_told_in_words() -> None:
    """A call without an answer would be waited for for ever."""
    try:
        raise Peculiar(1, 2)
    except Peculiar as fault:
        told = _noted(fault)
    assert isinstance(told, RuntimeError)
    assert "Peculiar: 1 and 2" in str(told)
    reference, found = pickle.loads(_pickled(7, lambda: None))
    assert (reference, type(found)) == (7, Raised)
    assert "cannot be handed over" in str(found.fault)


UNGUARDED = """
from palpate.executors.local import LocalExecutor
from palpate.stages.plan import plan
from palpate.study import Study

study = Study.load({study!r})
executor = LocalExecutor(2, 3)
list(executor.run(study.models[0], [[block] for block in plan(study).blocks(study.models[0])]))
"""


def test_a_process_that_ends_itself_is_not_replaced(small_study: Path, tmp_path: Path) -> None:
    """As those of a script that is run anew by each of them: said at once, and nothing is left behind."""
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED.format(study=str(small_study)), encoding="utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "a worker process ended by itself, with exit code 1" in done.stderr
    assert 'if __name__ == "__main__":' in done.stderr
    assert done.stderr.count("bootstrapping phase") <= 2, "of two workers"


def test_closing_leaves_no_process(batches: Batches, spec: ModelSpec, at: Path) -> None:
    """Not even one that is at a batch."""
    for (block,) in batches[1:]:
        (at / f"wait {block.case.id}").touch()
    executor = LocalExecutor(2, 3)
    running = executor.run(spec, batches)
    next(running)
    until(lambda: len(said(at, "asked")) >= 2)
    assert executor._processes is not None
    pids = executor._processes.pids()
    executor.close()
    running.close()
    assert len(pids) == 2
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
