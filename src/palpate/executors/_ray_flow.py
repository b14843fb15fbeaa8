"""Which worker is asked what, and what is done when one dies: the part of the Ray executor that knows no ray.

Batches go out as workers are free, a bounded number ahead, and come back in the order given, whatever finished first: so the
ledger is written as a local run writes it. What a dead worker had is given to the next free one; its answers, should they still
arrive, are not looked at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from palpate.errors import PalpateError, RunError
from palpate.executors._ray_worker import Missing, Told, same_versions

In = TypeVar("In")
WorkerT = Any  # a handle of an actor
Reference = Any  # of a call that is under way

AT_ONCE = 2
"""Batches a worker holds: the one it is at, and the next, so that it never waits for the driver."""
AHEAD = 4
"""Batches a worker may be ahead, on average, of the first one that is not finished: what bounds memory."""
MOST_ENDS = 5
"""Workers that may die at one batch, or for each that there is to be without any answer, before it is given up."""


class Lost(Exception):
    """The worker, or what it was to be given, is gone: the call came to nothing."""


class Cluster(Protocol):
    """What the flow needs of Ray."""

    def spawn(self) -> tuple[WorkerT, Reference]:
        """A new worker that begins to load its model, and a reference to what it tells when it has."""
        ...

    def kill(self, worker: WorkerT) -> None:
        """End a worker, dead or alive."""
        ...

    def wait(self, references: list[Reference]) -> list[Reference]:
        """Those that are done, at least one. Raises RunError where nothing can be done any more."""
        ...

    def result(self, reference: Reference) -> Any:
        """What a call gave. Raises Lost."""
        ...


@dataclass
class Task(Generic[In]):
    """Something to be asked: ``images`` are references to images that are sent along, by place."""

    given: In
    images: dict[int, Any] = field(default_factory=dict)
    answer: Any = None
    done: bool = False
    ends: int = 0  # workers that died at it


class Flow(Generic[In]):
    """``count`` workers kept alive, and fed. ``submit(worker, task)`` starts a call; ``send(task, missing)`` gets images ready."""

    def __init__(
        self,
        cluster: Cluster,
        workers: dict[WorkerT, Reference | Told],
        count: int,
        submit: Callable[[WorkerT, Task[In]], Reference],
        send: Callable[[Task[In], Missing | None], None],
        where: str,
    ) -> None:
        """``workers``: those there are already, each with what it told when it started, or a reference to that."""
        self._cluster, self._workers, self._count = cluster, workers, count
        self._submit, self._send, self._where = submit, send, where
        self._held: dict[WorkerT, deque[tuple[Reference, Task[In]]]] = {
            w: deque() for w, told in workers.items() if isinstance(told, Told)
        }
        self._again: deque[Task[In]] = deque()
        self._ends = 0  # of workers since the last answer
        self.replaced = 0

    def run(self, given: Iterable[In]) -> Iterator[tuple[In, Any]]:
        """Each of ``given`` with what was answered, in order."""
        source, more = iter(given), True
        order: deque[Task[In]] = deque()
        while True:
            while more and len(order) < AHEAD * self._count and self._free():
                try:
                    task = Task(next(source))
                except StopIteration:
                    more = False
                else:
                    self._send(task, None)
                    order.append(task)
                    self._again.append(task)
                    self._hand_out()
            self._hand_out()
            while order and order[0].done:
                task = order.popleft()
                yield task.given, task.answer
            if not more and not order:
                return
            if len(order) < AHEAD * self._count and more and self._free():
                continue
            self._replace()
            self._settle()

    def _free(self) -> bool:
        return any(len(held) < AT_ONCE for held in self._held.values())

    def _hand_out(self) -> None:
        """What waits goes to the workers that hold least."""
        while self._again and self._free():
            worker = min(self._held, key=lambda w: len(self._held[w]))
            task = self._again.popleft()
            self._held[worker].append((self._submit(worker, task), task))

    def _replace(self) -> None:
        while len(self._workers) < self._count:
            worker, started = self._cluster.spawn()
            self._workers[worker] = started

    def _settle(self) -> None:
        """Wait until something is done, and see to it."""
        calls = {held[0][0]: worker for worker, held in self._held.items() if held}
        starts = {ref: worker for worker, ref in self._workers.items() if not isinstance(ref, Told)}
        for reference in self._cluster.wait([*calls, *starts]):
            if reference in starts:
                self._started(starts[reference], reference)
            elif reference in calls:
                self._answered(calls[reference], reference)

    def _started(self, worker: WorkerT, reference: Reference) -> None:
        try:
            told = self._cluster.result(reference)
        except Lost:
            self._ended(worker)
            return
        if isinstance(told, PalpateError):
            raise told
        assert isinstance(told, Told)
        same_versions(told)
        self._workers[worker] = told
        self._held[worker] = deque()

    def _answered(self, worker: WorkerT, reference: Reference) -> None:
        if worker not in self._held:
            return  # it was found dead a moment ago
        _, task = self._held[worker][0]
        try:
            found = self._cluster.result(reference)
        except Lost:
            task.ends += 1
            self._ended(worker)
            if task.ends >= MOST_ENDS:
                raise self._hopeless(f"{task.ends} workers ended, one after another, at the same images") from None
            return
        self._held[worker].popleft()
        self._ends = 0
        if isinstance(found, PalpateError):
            raise found
        if isinstance(found, Missing):
            self._send(task, found)
            self._again.appendleft(task)
        else:
            task.answer, task.done = found, True

    def _ended(self, worker: WorkerT) -> None:
        """A worker is gone: what it held is asked again, before anything new."""
        self._cluster.kill(worker)
        self._workers.pop(worker, None)
        held = self._held.pop(worker, deque())
        for _, task in held:
            task.images = {}  # they may be what was lost: a worker that misses them says so, and they are sent anew
        self._again.extendleft(reversed([task for _, task in held]))
        self._ends += 1
        self.replaced += 1
        if self._ends >= MOST_ENDS * self._count:
            raise self._hopeless(f"{self._ends} workers ended, one after another, before they answered anything")

    def _hopeless(self, problem: str) -> RunError:
        return RunError(
            problem,
            where=self._where,
            expected="workers that stay; one that is killed now and then is replaced",
            hint="look at the memory of the workers' machines; what was answered is kept: the same command goes on",
        )
