"""Runs Blocks on this machine: in this process, or in several that each load the model once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from palpate.errors import RunError
from palpate.executors._contract import BOTH, CHECKING, LOADING, Batch, Given, Looked, OnStep, over
from palpate.executors._served import ServedModels
from palpate.executors._work import Opened, check, look, look_at, opened
from palpate.nouns import Answer, Block
from palpate.parts import Allowance, ChecksItself, FeatureRequest, LooksAhead, Model, ModelSpec
from palpate.registry import part

WORKER = "PALPATE_WORKER"
"""In a worker process: its number, from 0. A model that runs on any GPU takes the one of that number."""
WORKERS = "PALPATE_WORKERS"
"""In a worker process: how many there are, among whom the machine's cores are shared out."""


class LocalExecutor(ServedModels):
    """``run(model, batches)`` yields each batch with its answers, in the order given, so that results never depend on timing."""

    def __init__(self, workers: int = 1, seed: int = 0) -> None:
        super().__init__(seed)
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None
        self._held: tuple[ModelSpec, Model] | None = None

    def run(
        self, model: ModelSpec, batches: Iterable[Batch], allowance: Allowance | None = None
    ) -> Iterator[tuple[Batch, list[list[Answer]]]]:
        """Ask one model. Raises ModelError where it cannot work at all, RunError where a worker dies.

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
            yield from self._pooled(model, batches, requests)

    def check(self, model: ModelSpec, blocks: Sequence[Block], on_step: OnStep | None = None) -> Mapping[str, Any]:
        """What the model finds out about itself before it is asked. Raises ModelError where it must not be asked."""
        held, tell = self._hold(model), on_step or (lambda _: None)
        if not isinstance(held, ChecksItself):
            return {}
        if self.workers <= 1:
            if hasattr(held, "load"):
                tell(LOADING)
                held.load()
            tell(CHECKING)
            return check(held, blocks, self.seed)
        tell(BOTH)
        try:
            return self._workers().submit(_check_in_worker, model, blocks, self.seed).result()
        except BrokenProcessPool:
            raise self._worker_ended(model) from None

    def close(self) -> None:
        """End the workers, without waiting for what they are at: whatever matters was handed over already."""
        self._release()
        if self._pool is not None:
            # Taken before the shutdown forgets them; a busy worker would be waited for, and may have minutes to go.
            workers = list((self._pool._processes or {}).values())
            self._pool.shutdown(wait=False, cancel_futures=True)
            for worker in workers:
                worker.terminate()
            self._pool = None

    def _here(self, model: ModelSpec, batches: Iterable[Batch], requests: Mapping[str, FeatureRequest]) -> Iterator[Looked]:
        """Images are opened by a thread beside, two batches ahead, so that a model on a GPU need not wait for them."""
        aside = ThreadPoolExecutor(1, thread_name_prefix="palpate-open")
        try:
            for batch, given, following in _ahead(batches, lambda batch: aside.submit(opened, batch, self.seed)):
                if over(batches):
                    return
                held = self._hold(model)
                ready = following is not None and following.done() and following.exception() is None  # a fault waits for its turn
                if following is not None and ready and not requests and isinstance(held, LooksAhead):
                    held.expect([stimulus for _, stimulus in following.result().shown])
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

    def _workers(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Spawned, not forked: a forked child would inherit torch's threads and the ledger's open file.
            context = multiprocessing.get_context("spawn")
            started = context.Value("i", 0)
            self._pool = ProcessPoolExecutor(
                self.workers, mp_context=context, initializer=_prepare, initargs=(self.workers, started)
            )
        return self._pool

    def _pooled(self, model: ModelSpec, batches: Iterable[Batch], requests: Mapping[str, FeatureRequest]) -> Iterator[Looked]:
        pool = self._workers()
        waiting: deque[tuple[Batch, Future[Given]]] = deque()
        try:
            for batch in batches:
                waiting.append((batch, pool.submit(_in_worker, model, batch, self.seed, requests)))
                # A short queue keeps workers fed and memory independent of the number of images.
                if len(waiting) > 2 * self.workers:
                    yield _next(waiting)
            while waiting:
                if over(batches) and waiting[0][1].cancel():
                    waiting.popleft()
                else:
                    yield _next(waiting)
        except BrokenProcessPool:
            raise self._worker_ended(model) from None

    def _worker_ended(self, model: ModelSpec) -> RunError:
        self.close()
        return RunError(
            "a worker process ended (out of memory, or killed)",
            where=f"model {model.name!r}",
            expected='workers that stay; a script of your own needs `if __name__ == "__main__":` around what it runs',
            hint="run the same command again: it goes on where it stopped; fewer `ask.workers` need less memory",
        )


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


def _next(waiting: deque[tuple[Batch, Future[Given]]]) -> Looked:
    batch, future = waiting.popleft()
    return batch, *future.result()


_loaded: dict[ModelSpec, Model] = {}


def _prepare(workers: int, started: Any) -> None:
    """Give a worker its number and its share of the cores, before torch or NumPy starts its threads; let it end with its parent."""
    with started.get_lock():
        os.environ[WORKER] = str(started.value)  # which of several GPUs is its own
        started.value += 1
    os.environ[WORKERS] = str(workers)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal: the parent says when to end
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, str(max(1, (os.cpu_count() or 1) // workers)))


def _end_with_parent() -> None:
    """A killed parent cannot tell its workers; without this they would wait for ever, each holding a model."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _in_worker(model: ModelSpec, batch: Batch, seed: int, requests: Mapping[str, FeatureRequest]) -> Given:
    return look(_in_this_worker(model), batch, seed, requests)


def _check_in_worker(model: ModelSpec, blocks: Batch, seed: int) -> Mapping[str, Any]:
    return check(_in_this_worker(model), blocks, seed)


def _in_this_worker(model: ModelSpec) -> Model:
    if model not in _loaded:
        for other in _loaded.values():
            other.close()
        _loaded.clear()
        _loaded[model] = part("models", model.kind).build(model)
    return _loaded[model]
