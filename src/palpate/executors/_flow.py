"""Which worker is asked what, and what is done when one dies: the part of both executors that knows neither ray nor processes.

Batches go out as workers are free, a bounded number ahead, and come back in the order given, whatever finished first: so the
ledger is written as a run in one process writes it. A worker is handed its next batches while it is at one, and opens their
images meanwhile. What was handed ahead is taken back where another worker has nothing, and where the batches are over. What a
dead worker had is given to the next free one; its answers, should they still arrive, are not looked at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count as numbers
from typing import Any, Generic, Protocol, TypeVar

from palpate.errors import PalpateError, RunError
from palpate.executors._worker import AT_ONCE, Missing, TakenBack, Told, same_versions

In = TypeVar("In")
WorkerT = Any  # a handle of a worker
Reference = Any  # of a call that is under way

AHEAD = 5
"""Batches a worker may be ahead, on average, of the first one that is not finished: what bounds memory."""
MOST_ENDS = 5
"""Workers that may die at one batch, or for each that there is to be without any answer, before it is given up; and that may die in
a row while they start, before the rest go on with one fewer."""
_numbers = numbers()
"""Of everything that was ever handed out, so that no worker knows two batches by one number."""


class Lost(Exception):
    """The worker, or what it was to be given, is gone: the call came to nothing."""


class Cluster(Protocol):
    """What the flow needs of whatever runs workers."""

    def spawn(self) -> tuple[WorkerT, Reference]:
        """A new worker that begins to load its model, and a reference to what it tells when it has."""
        ...

    def kill(self, worker: WorkerT) -> None:
        """End a worker, dead or alive."""
        ...

    def wait(self, references: list[Reference]) -> list[Reference]:
        """Those that are done, in the order given; none where none was for a second. Raises RunError where none can be any more."""
        ...

    def result(self, reference: Reference) -> Any:
        """What a call gave. Raises Lost."""
        ...

    def take_back(self, worker: WorkerT, number: int) -> None:
        """Have a worker give back the batch of that number, if it has not begun it; does not wait."""
        ...


@dataclass
class Task(Generic[In]):
    """Something to be asked: ``images`` are references to images that are sent along, by place."""

    given: In
    images: dict[int, Any] = field(default_factory=dict)
    answer: Any = None
    done: bool = False
    dropped: bool = False  # not to be asked any more
    recalled: bool = False  # the worker that holds it was told to give it back
    number: int = -1  # what the worker that holds it knows it by
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
        self._order: deque[Task[In]] = deque()
        self._over, self._coming = False, 0
        self._ends = 0  # of workers since the last answer
        self._most_ends = MOST_ENDS * count
        self._stillborn = 0  # workers that ended while they started, since the last that did start
        self.replaced = 0

    def run(self, given: Iterable[In], over: Callable[[], bool] = lambda: False, *, coming: int = 0) -> Iterator[tuple[In, Any]]:
        """Each of ``given`` with what was answered, in order. Once they are ``over`` no more are begun, and those are left out.

        ``coming``: as many are to be given afterwards, so as many workers begin to load the model now.
        """
        source, more = iter(given), True
        self._coming = coming
        try:
            while True:
                if over():
                    self._drop()
                more = not self._over and more and self._take(source)
                self._hand_out()
                while self._order and (self._order[0].done or self._order[0].dropped):
                    task = self._order.popleft()
                    if task.done:
                        yield task.given, task.answer
                if not more and not self._order:
                    return
                if more and self._room():
                    continue
                self._staff()
                self._balance()
                self._settle()
        finally:
            self._recall(task for held in self._held.values() for _, task in held)

    def _room(self) -> bool:
        """Whether one more may be taken: a worker is free for it, or there is to be one."""
        return len(self._order) < AHEAD * self._count and (self._free() or len(self._order) < self._count)

    def _free(self) -> bool:
        return any(len(held) < AT_ONCE for held in self._held.values())

    def _take(self, source: Iterator[In]) -> bool:
        """Take what there is room for; False where there is no more."""
        while self._room():
            try:
                task = Task(next(source))
            except StopIteration:
                return False
            self._send(task, None)
            self._order.append(task)
            self._again.append(task)
            self._hand_out()
        return True

    def _hand_out(self) -> None:
        """What waits goes to the workers that hold least."""
        while self._again and self._free():
            worker = min(self._held, key=lambda w: len(self._held[w]))
            task = self._again.popleft()
            task.number, task.recalled = next(_numbers), False
            self._held[worker].append((self._submit(worker, task), task))

    def _staff(self) -> None:
        """As many workers as there are to be, and no more than there are batches, unless more are to come."""
        undone = sum(not task.done for task in self._order)
        wanted = 0 if self._over else min(self._count, max(undone, self._coming))
        while len(self._workers) < wanted:
            worker, started = self._cluster.spawn()
            self._workers[worker] = started

    def _balance(self) -> None:
        """A worker without work gets what another has not begun: the last of the one that holds most."""
        ahead = [[task for _, task in list(held)[1:] if not task.recalled] for held in self._held.values()]
        coming = sum(task.recalled for held in self._held.values() for _, task in held)
        for _ in range(sum(not held for held in self._held.values()) - coming):
            most = max(ahead, key=len)
            if not most:
                return
            self._recall([most.pop()])

    def _recall(self, tasks: Iterable[Task[In]]) -> None:
        chosen = {task.number for task in tasks if not task.recalled}
        for worker, held in self._held.items():
            for _, task in held:
                if task.number in chosen:
                    task.recalled = True
                    self._cluster.take_back(worker, task.number)

    def _drop(self) -> None:
        """What is not begun is not asked any more."""
        self._over = True
        for task in self._again:
            task.dropped = True
        self._again.clear()
        self._recall(task for held in self._held.values() for _, task in held)

    def _back(self, tasks: Iterable[Task[In]]) -> None:
        """Without an answer: asked before anything new, or not at all any more."""
        for task in reversed(list(tasks)):
            if self._over:
                task.dropped = True
            else:
                self._again.appendleft(task)

    def _settle(self) -> None:
        """Wait until something is done, and see to it."""
        calls = {call: worker for worker, held in self._held.items() for call, _ in held}
        starts = {ref: worker for worker, ref in self._workers.items() if not isinstance(ref, Told)}
        for reference in self._cluster.wait([*calls, *starts]):
            if reference in starts:
                self._started(starts[reference], reference)
            elif reference in calls:
                self._answered(calls[reference], reference)

    def _started(self, worker: WorkerT, reference: Reference) -> None:
        try:
            told = self._cluster.result(reference)
            if isinstance(told, PalpateError):
                raise told
            assert isinstance(told, Told)
            same_versions(told)
        except Lost:
            self._ended(worker)
            self._stillborn += 1
            if self._stillborn % MOST_ENDS == 0 and self._count > 1:
                self._count -= 1  # one of the GPUs may be broken, or its memory taken: the others need not wait for it
            return
        except BaseException:
            self._cluster.kill(worker)  # what it told is told: nobody could wait for it again
            del self._workers[worker]
            raise
        self._stillborn = 0
        self._workers[worker] = told
        self._held[worker] = deque()

    def _answered(self, worker: WorkerT, reference: Reference) -> None:
        if worker not in self._held:
            return  # it was found dead a moment ago
        held = self._held[worker]
        try:
            found = self._cluster.result(reference)
        except Lost:
            first = held[0][1]  # what it was at
            first.ends += 1
            self._ended(worker)
            if first.ends >= MOST_ENDS:
                raise self._hopeless(f"{first.ends} workers ended, one after another, at the same images") from None
            return
        (task,) = (one for call, one in held if call == reference)
        self._held[worker] = deque(one for one in held if one[0] != reference)
        if isinstance(found, TakenBack):
            if not task.recalled:
                raise RuntimeError("a worker gave back what it was not told to")
            self._back([task])
            return
        self._ends = 0
        if isinstance(found, PalpateError):
            raise found
        if isinstance(found, Missing):
            self._send(task, found)
            self._back([task])
        else:
            task.answer, task.done = found, True

    def _ended(self, worker: WorkerT) -> None:
        """A worker is gone: what it held is asked again, before anything new."""
        self._cluster.kill(worker)
        self._workers.pop(worker, None)
        held = [task for _, task in self._held.pop(worker, deque())]
        for task in held:
            task.images = {}  # they may be what was lost: a worker that misses them says so, and they are sent anew
        self._back(held)
        self._ends += 1
        self.replaced += 1
        if self._ends >= self._most_ends:
            raise self._hopeless(f"{self._ends} workers ended, one after another, before they answered anything")

    def _hopeless(self, problem: str) -> RunError:
        return RunError(
            problem,
            where=self._where,
            expected="workers that stay; one that is killed now and then is replaced",
            hint="look at the memory of the workers' machines: fewer workers need less; what was answered is kept, the same command"
            " goes on",
        )
