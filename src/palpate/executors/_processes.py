"""Worker processes of this machine, as the flow asks for them: calls go out and come back through a pipe each."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import threading
import time
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from pickle import PickleError
from typing import Any

from palpate.errors import RunError
from palpate.executors._flow import Lost
from palpate.executors._worker import CALLS, Told, Worker
from palpate.parts import ModelSpec

WORKER = "PALPATE_WORKER"
"""In a worker process: its number, from 0. A model that runs on any GPU takes the one of that number."""
WORKERS = "PALPATE_WORKERS"
"""In a worker process: how many there are, among whom the machine's cores are shared out."""
SOON = 0.2
"""Seconds after which the driver looks whether it is to stop."""
UNPICKLABLE = (PickleError, TypeError, AttributeError, ValueError, RecursionError)
"""What is raised for a thing that cannot be pickled, or not be made again."""
PATIENCE = 10
"""Seconds that a process is given to be gone once it is ended."""


@dataclass(eq=False)
class Child:
    """A worker process, by the number it knows itself by, and the calls that it has not answered."""

    number: int
    process: BaseProcess
    pipe: Connection
    under_way: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Raised:
    """A fault of the model's own code, with where it happened."""

    fault: BaseException


class Processes:
    """At most ``count`` processes, each with a ``Worker``. Made when they are needed, ended at the latest with this process."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self._seed = count, seed
        self.workers: dict[Child, int | Told] = {}
        self._model: ModelSpec | None = None
        self._found: dict[int, Any] = {}
        atexit.register(self.close)

    def prepare(self, model: ModelSpec) -> None:
        """What every worker is to load from now on; those there are begin."""
        if model != self._model:
            self._model = model
            for child in self.workers:
                self.workers[child] = self.call(child, "start", model, None, True)

    def call(self, child: Child, method: str, *given: Any) -> int:
        """Start a call; what it is known by."""
        reference = next(_references)
        child.under_way.add(reference)
        self._tell(child, reference, method, given)
        return reference

    def pids(self) -> list[int]:
        """The processes there are."""
        return [child.process.pid for child in self.workers if child.process.pid is not None]

    def close(self) -> None:
        """End them all, without waiting for what they are at."""
        atexit.unregister(self.close)
        for child in self.workers:
            child.process.terminate()
        for child in list(self.workers):
            self.kill(child)
        self.workers.clear()

    # ------------------------------------------------------------ what the flow needs

    def spawn(self) -> tuple[Child, int]:
        """A new process that begins to load the model; it takes the number, and so the GPU, of one that is gone."""
        taken = {child.number for child in self.workers}
        number = next(n for n in count() if n not in taken)
        # Spawned, not forked: a forked child would inherit torch's threads and the ledger's open file.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._seed, number, self.count), name=f"palpate-worker-{number}")
        _start(process)
        theirs.close()  # else its end would never be seen from here
        child = Child(number, process, ours)
        return child, self.call(child, "start", self._model, None, True)

    def kill(self, child: Child) -> None:
        """End a process, dead or alive."""
        child.process.kill()
        _gone(child.process)
        child.pipe.close()

    def take_back(self, child: Child, number: int) -> None:
        """Have a worker give back what it has not begun."""
        self._tell(child, None, "take_back", (number,))

    def wait(self, references: list[int]) -> list[int]:
        """The calls that are done, in the order given; none where none was for a moment."""
        awaited = set(references)
        by_pipe = {child.pipe: child for child in self.workers if child.under_way & awaited}
        heard = wait(list(by_pipe), 0 if any(one in self._found for one in references) else SOON)
        for pipe, child in by_pipe.items():
            # A process of the model's own code may hold the pipe's other end: then the end of the worker cannot be heard.
            ended = child.process.exitcode is not None
            if ended or pipe in heard:
                self._hear(child)
            if ended and child.under_way:
                self._lost(child)
        done = [reference for reference in references if reference in self._found]
        self._found = {reference: self._found[reference] for reference in done}  # nobody waits for any other
        return done

    def result(self, reference: int) -> Any:
        """What a call gave. Raises Lost where its process is gone, and what the model's own code raised."""
        found = self._found.pop(reference)
        if isinstance(found, Lost):
            raise found
        if isinstance(found, Raised):
            raise found.fault
        return found

    def _tell(self, child: Child, reference: int | None, method: str, given: tuple[Any, ...]) -> None:
        # Where it is gone that is seen where its answer is waited for.
        if child.process.exitcode is None:
            with suppress(OSError):
                child.pipe.send((reference, method, given))

    def _hear(self, child: Child) -> None:
        try:
            while child.pipe.poll():
                reference, found = child.pipe.recv()
                child.under_way.discard(reference)
                self._found[reference] = found
        except (EOFError, OSError):
            _gone(child.process)
            self._lost(child)

    def _lost(self, child: Child) -> None:
        """It is gone: its calls come to nothing. Raises RunError where it ended by itself."""
        if (child.process.exitcode or 0) > 0:  # not killed: no other would fare better
            raise _ended(child)
        self._found |= {reference: Lost() for reference in child.under_way}
        child.under_way.clear()


_references = count()


def _start(process: BaseProcess) -> None:
    """A Ctrl-C before the process has said that it ignores it would end it: until then it is to wait."""
    if not hasattr(signal, "pthread_sigmask"):
        process.start()
        return
    resource_tracker.ensure_running()  # what starts it with the first process lets signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _gone(process: BaseProcess) -> None:
    """Wait until a process is. ``join`` would wait for those it started too, which may hold what it goes by."""
    until = time.monotonic() + PATIENCE
    while process.exitcode is None and time.monotonic() < until:
        time.sleep(0.005)


def _ended(child: Child) -> RunError:
    return RunError(
        f"a worker process ended by itself, with exit code {child.process.exitcode}",
        where=f"worker {child.number}",
        expected='workers that stay; a script of your own needs `if __name__ == "__main__":` around what it runs',
        hint="what it said last stands above; what was answered is kept: the same command goes on",
    )


# ---------------------------------------------------------------- in the process


def _serve(pipe: Connection, seed: int, number: int, workers: int) -> None:
    """Take calls until the one who asks is gone."""
    os.set_inheritable(pipe.fileno(), False)  # a program that the model's code starts must not keep it open
    _prepare(number, workers)
    _take_calls(pipe, Worker(seed))
    os._exit(0)


def _take_calls(pipe: Connection, worker: Worker) -> None:
    """In the order they come. Whoever waits for an answer, and whoever sends one, does so in a thread of its own: were it this one,
    it and the one who asks might each wait for the other to read."""
    calls, answers = (ThreadPoolExecutor(CALLS, thread_name_prefix=f"palpate-{what}") for what in ("call", "answer"))
    answering = threading.Lock()

    def answer(reference: int, call: Future[Any]) -> None:
        fault = call.exception()  # waits
        told = _pickled(reference, call.result() if fault is None else Raised(_noted(fault)))
        with answering, suppress(OSError):  # else nobody hears it any more
            pipe.send_bytes(told)

    with suppress(EOFError, OSError):
        while True:
            reference, method, given = pipe.recv()
            if reference is None:
                getattr(worker, method)(*given)
                continue
            # A batch is taken here, before what comes after it is heard, as a word to take it back.
            call = worker.take(*given) if method == "look" else partial(getattr(worker, method), *given)
            answers.submit(answer, reference, calls.submit(call))


def _noted(fault: BaseException) -> BaseException:
    """With where it happened, which a pickled one forgets; in words alone where it cannot be pickled."""
    where = "".join(traceback.format_exception(fault))
    try:
        fault.add_note(f"in a worker process:\n{where}")
        ForkingPickler.loads(ForkingPickler.dumps(fault))
    except UNPICKLABLE:
        return RuntimeError(where)
    return fault


def _pickled(reference: int, found: Any) -> Any:
    try:
        return ForkingPickler.dumps((reference, found))
    except UNPICKLABLE as fault:
        return ForkingPickler.dumps((reference, Raised(RuntimeError(f"what a worker found cannot be handed over: {fault}"))))


def _prepare(number: int, workers: int) -> None:
    """Give a worker its number and its share of the cores, before torch or NumPy starts its threads; let it end with its parent."""
    os.environ[WORKER] = str(number)  # which of several GPUs is its own
    os.environ[WORKERS] = str(workers)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal: the parent says when to end
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # see _start; whatever the model's code starts may hear it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, str(max(1, (os.cpu_count() or 1) // workers)))


def _end_with_parent() -> None:
    """A killed parent cannot tell its workers; without this they would wait for ever, each holding a model."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
