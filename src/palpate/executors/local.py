"""Runs Blocks on this machine: in this process, or in several that each load the model once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from palpate.executors._contract import BOTH, CHECKING, LOADING, Batch, Looked, OnStep, over
from palpate.executors._flow import Flow, Task
from palpate.executors._processes import Child, Processes
from palpate.executors._served import ServedModels
from palpate.executors._work import Opened, announce, check, loads_first, look_at, opened
from palpate.nouns import Answer, Block
from palpate.parts import Allowance, ChecksItself, FeatureRequest, Model, ModelSpec
from palpate.registry import part


class LocalExecutor(ServedModels):
    """``run(model, batches)`` yields each batch with its answers, in the order given, so that results never depend on timing."""

    def __init__(self, workers: int = 1, seed: int = 0) -> None:
        super().__init__(seed)
        self.workers = workers
        self._processes: Processes | None = None
        self._held: tuple[ModelSpec, Model] | None = None
        self.replaced = 0  # worker processes that were killed

    def run(
        self, model: ModelSpec, batches: Iterable[Batch], allowance: Allowance | None = None
    ) -> Iterator[tuple[Batch, list[list[Answer]]]]:
        """Ask one model. Raises ModelError where it cannot work at all, RunError where workers die again and again.

        A served model is asked from this process whatever ``workers`` says: its work is done elsewhere.
        """
        served = self.served(model)
        if served is not None:
            yield from self.ask(model, served, batches, allowance)
            return
        for batch, answers, _ in self.look(model, batches, {}):
            yield batch, answers

    def look(self, model: ModelSpec, batches: Iterable[Batch], requests: Mapping[str, FeatureRequest]) -> Iterator[Looked]:
        """The same, with the inner states of images whose task has a request, one entry per Block."""
        if self.workers <= 1:
            yield from self._here(model, batches, requests)
        else:

            def submit(worker: Child, task: Task[Batch]) -> int:
                return self._workers().call(worker, "look", task.number, model, task.given, requests)

            for batch, (answers, features) in self._flow(model, submit, batches):
                yield batch, answers, features

    def check(self, model: ModelSpec, blocks: Sequence[Block], on_step: OnStep | None = None, coming: int = 1) -> Mapping[str, Any]:
        """What the model finds out about itself before it is asked. Raises ModelError where it must not be asked.

        In processes, as many get ready meanwhile as there are batches ``coming``.
        """
        held, tell = self._hold(model), on_step or (lambda _: None)
        if not isinstance(held, ChecksItself):
            return {}
        if self.workers <= 1:
            if loads_first(held):
                tell(LOADING)
                held.load()
            tell(CHECKING)
            return check(held, blocks, self.seed)
        tell(BOTH)

        def submit(worker: Child, task: Task[Batch]) -> int:
            return self._workers().call(worker, "check", model, task.given)

        ((_, found),) = self._flow(model, submit, [blocks], coming=coming)
        return dict(found)

    def close(self) -> None:
        """End the workers, without waiting for what they are at: whatever matters was handed over already."""
        self._release()
        if self._processes is not None:
            self._processes.close()
            self._processes = None

    def _here(self, model: ModelSpec, batches: Iterable[Batch], requests: Mapping[str, FeatureRequest]) -> Iterator[Looked]:
        """Images are opened by a thread beside, two batches ahead, so that a model on a GPU need not wait for them."""
        aside = ThreadPoolExecutor(1, thread_name_prefix="palpate-open")
        try:
            for batch, given, following in _ahead(batches, lambda batch: aside.submit(opened, batch, self.seed)):
                if over(batches):
                    return
                held = self._hold(model)
                announce(held, following, requests)
                yield batch, *look_at(held, given.result(), requests)
        finally:
            aside.shutdown(cancel_futures=True)
            self._release()

    def _hold(self, model: ModelSpec) -> Model:
        """The model, made once: what was loaded to check it is what is asked."""
        if self._held is None or self._held[0] != model:
            self._release()
            self._held = model, part("models", model.kind).build(model)
        return self._held[1]

    def _release(self) -> None:
        if self._held is not None:
            self._held[1].close()
            self._held = None

    def _workers(self) -> Processes:
        if self._processes is None:
            self._processes = Processes(self.workers, self.seed)
        return self._processes

    def _flow(
        self, model: ModelSpec, submit: Callable[[Child, Task[Batch]], int], batches: Iterable[Batch], *, coming: int = 0
    ) -> Iterator[tuple[Batch, Any]]:
        """In processes, each of which opens the next batches' images while it asks about one's."""
        processes = self._workers()
        processes.prepare(model)
        flow: Flow[Batch] = Flow(
            processes, processes.workers, self.workers, submit, lambda task, missing: None, f"model {model.name!r}"
        )
        try:
            yield from flow.run(batches, lambda: over(batches), coming=coming)
        finally:
            self.replaced += flow.replaced


def _ahead(
    batches: Iterable[Batch], open_: Callable[[Batch], Future[Opened]]
) -> Iterator[tuple[Batch, Future[Opened], Future[Opened] | None]]:
    """Each batch, its images, and those of the one after it; those of a third are being opened too."""
    coming: deque[tuple[Batch, Future[Opened]]] = deque()
    for batch in batches:
        coming.append((batch, open_(batch)))
        if len(coming) > 2:
            yield *coming.popleft(), coming[0][1]
    while coming:
        yield *coming.popleft(), coming[0][1] if coming else None
