"""Calls go out and come back through a pipe each, whoever reads when, and the end of a process is seen whatever holds its pipe."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from inspect import signature
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import pytest

from gated import until
from palpate.errors import RunError
from palpate.executors import _processes, _worker
from palpate.executors._flow import Lost
from palpate.executors._processes import Child, Processes, Raised, _take_calls
from palpate.parts import ModelSpec

LARGE = 3_000_000
"""Bytes that no pipe holds: whoever sends them waits for one who reads."""


class Worker:
    """Notes what it hears; answers with more than a pipe holds."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def start(self, *_: Any) -> str:
        return "x" * LARGE

    def fail(self) -> None:
        raise SystemExit(3)

    def take(self, number: int) -> Callable[[], str]:
        self.heard.append(f"take {number}")
        return lambda: f"answer {number}"

    def take_back(self, number: int) -> None:
        self.heard.append(f"take back {number}")


class Hasty(ThreadPoolExecutor):
    """What is submitted is done before ``submit`` returns, as it is by chance now and then."""

    def submit(self, *given: Any, **more: Any) -> Future[Any]:
        future = super().submit(*given, **more)
        wait([future], 0.1)
        return future


@pytest.fixture
def served() -> Iterator[Callable[[], tuple[Connection, Worker]]]:
    """The end of the one who asks, and the worker: it takes calls in a thread of its own."""
    begun: list[tuple[Connection, Connection, threading.Thread]] = []

    def begin() -> tuple[Connection, Worker]:
        ours, theirs = Pipe()
        worker = Worker()
        thread = threading.Thread(target=_take_calls, args=(theirs, worker), daemon=True)
        begun.append((ours, theirs, thread))
        thread.start()
        return ours, worker

    yield begin
    for ours, theirs, thread in begun:
        ours.close()
        thread.join(20)  # it ends with the other end; were its own closed under it, it could read from the next pipe of that number
        assert not thread.is_alive()
        theirs.close()


def test_one_who_asks_and_a_worker_never_wait_for_each_other_to_read(served, monkeypatch) -> None:
    monkeypatch.setattr(_processes, "ThreadPoolExecutor", Hasty)
    ours, _ = served()
    asking = threading.Thread(
        target=lambda: [ours.send((n, "start", ("y" * LARGE,))) for n in range(4)],
        daemon=True,
    )
    asking.start()
    asking.join(20)
    assert not asking.is_alive(), "it sends, and does not read before it has sent all"
    assert sorted(ours.recv()[0] for _ in range(4)) == [0, 1, 2, 3]


def test_what_is_handed_out_is_known_before_it_is_taken_back(served, monkeypatch) -> None:
    """Though no thread is free to see to it."""

    class Busy(ThreadPoolExecutor):
        def submit(self, *given: Any, **more: Any) -> Future[Any]:
            return Future()

    monkeypatch.setattr(_processes, "ThreadPoolExecutor", Busy)
    ours, worker = served()
    told = [
        (n, method, (n // 2,)) if method == "look" else (None, method, (n // 2,))
        for n, method in enumerate(["look", "take_back"] * 3)
    ]
    for one in told:
        ours.send(one)
    until(lambda: len(worker.heard) == 6)
    assert worker.heard == [f"take{back} {n}" for n in range(3) for back in ("", " back")]


def test_every_call_is_answered_with_what_it_gave_or_raised(served) -> None:
    ours, _ = served()
    ours.send((0, "look", (7,)))
    assert ours.recv() == (0, "answer 7")
    ours.send((1, "fail", ()))
    reference, found = ours.recv()
    assert (reference, type(found), type(found.fault)) == (1, Raised, SystemExit)


def test_a_process_loads_the_model_as_it_starts() -> None:
    """Here nobody takes one that loads for one that cannot start, so that it may be ready when the first has tested the model."""
    processes = Processes(1, 0)
    one, theirs = child(None)
    processes.workers[one] = 0
    processes.prepare(ModelSpec("m", "scripted"))
    reference, method, given = theirs.recv()
    assert (reference, method) == (processes.workers[one], "start")
    assert signature(_worker.Worker.start).bind(None, *given).arguments["load"] is True
    one.process.exitcode = 0  # type: ignore[misc]
    processes.close()
    theirs.close()


# ---------------------------------------------------------------- a process ends


def child(exitcode: int | None, *calls: int) -> tuple[Child, Connection]:
    """One whose end of the pipe is held open by another process, as one that the model's code forked does."""
    ours, theirs = Pipe()
    process: Any = SimpleNamespace(exitcode=exitcode, pid=None, kill=lambda: None, terminate=lambda: None)
    return Child(0, process, ours, set(calls)), theirs


def test_an_end_is_seen_though_the_pipe_is_held_open() -> None:
    """What it said before is heard."""
    processes = Processes(1, 0)
    one, theirs = child(-signal.SIGKILL, 6, 7)
    processes.workers[one] = 0
    theirs.send((6, "said before"))
    assert processes.wait([6, 7]) == [6, 7]
    assert processes.result(6) == "said before"
    with pytest.raises(Lost):
        processes.result(7)
    processes.call(one, "start", "y" * LARGE)  # nobody reads it: it is not waited for
    processes.close()
    theirs.close()


def test_one_that_lives_is_waited_for() -> None:
    processes = Processes(1, 0)
    one, theirs = child(None, 7)
    processes.workers[one] = 0
    assert processes.wait([7]) == []
    assert one.under_way == {7}
    one.process.exitcode = 0  # type: ignore[misc]
    processes.close()
    theirs.close()


def test_one_that_ended_by_itself_is_a_fault_though_the_pipe_is_held_open() -> None:
    processes = Processes(1, 0)
    one, theirs = child(1, 7)
    processes.workers[one] = 0
    with pytest.raises(RunError, match="ended by itself, with exit code 1"):
        processes.wait([7])
    processes.close()
    theirs.close()


FORKED = """
import os, time
from multiprocessing import get_context
from palpate.executors._processes import _gone

def fork():
    if os.fork() == 0:
        time.sleep(300)
    time.sleep(300)

if __name__ == "__main__":
    process = get_context("spawn").Process(target=fork)
    process.start()
    time.sleep(1)
    began = time.monotonic()
    process.kill()
    _gone(process)
    print(process.exitcode, time.monotonic() - began < 5, flush=True)
    os.killpg(0, 9)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_ending_a_worker_does_not_wait_for_what_it_forked(tmp_path) -> None:
    (tmp_path / "forked.py").write_text(FORKED, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, tmp_path / "forked.py"], capture_output=True, text=True, start_new_session=True, timeout=60
    )
    assert done.stdout == "-9 True\n", done.stderr


INTERRUPTED = """
import os, signal, sys, time
from palpate.executors._processes import _start
from multiprocessing import get_context

def mask():
    print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []), flush=True)

if __name__ == "__main__":
    for _ in range(2):
        process = get_context("spawn").Process(target=mask)
        _start(process)
        os.kill(process.pid, signal.SIGINT)
        process.join()
        print(process.exitcode, signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []), flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="no signals there")
def test_a_ctrl_c_while_a_worker_starts_does_not_end_it(tmp_path) -> None:
    """The first one too, with which Python starts a process of its own; and whoever starts it goes on to hear it."""
    (tmp_path / "interrupted.py").write_text(INTERRUPTED, encoding="utf-8")
    done = subprocess.run([sys.executable, tmp_path / "interrupted.py"], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["True", "0", "False"] * 2, done.stderr
