"""Asking a model that is somewhere else: always from the driver's own process, by threads, whatever runs the other models."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from palpate.errors import PalpateError
from palpate.executors._contract import Batch
from palpate.executors._work import answer
from palpate.nouns import Answer
from palpate.parts import Allowance, Model, ModelSpec, ServedModel
from palpate.registry import part


class ServedModels:
    """One process keeps a served model's limits and its allowance, so every executor asks it from the driver's."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._observed: dict[str, Mapping[str, Any]] = {}
        self._identities: dict[ModelSpec, Mapping[str, Any]] = {}

    def batch_size(self, model: ModelSpec) -> int:
        """How many Blocks the model likes at once: independent of workers, so that batches, and answers, are too."""
        built: Model = part("models", model.kind).build(model)
        try:
            return built.blocks_at_once
        finally:
            built.close()

    def identify(self, model: ModelSpec, identity: Mapping[str, Any]) -> None:
        """What the plan says a model is from now on: a worker elsewhere that loads another is refused."""
        self._identities[model] = identity

    def observed(self, model: ModelSpec) -> Mapping[str, Any]:
        """What a served model has found out about its server so far; empty for any other."""
        return self._observed.get(model.name, {})

    def served(self, model: ModelSpec) -> ServedModel | None:
        """The model, where it is somewhere else; None for one that workers load."""
        built: Model = part("models", model.kind).build(model)
        if isinstance(built, ServedModel):
            return built
        built.close()
        return None

    def ask(
        self, model: ModelSpec, built: ServedModel, batches: Iterable[Batch], allowance: Allowance | None
    ) -> Iterator[tuple[Batch, list[list[Answer]]]]:
        """The batches with their answers, in the order given; the model is closed at the end."""
        try:
            if allowance is not None:
                built.allow(allowance)
            yield from self._threaded(built, batches)
        finally:
            built.close()
            self._observed[model.name] = built.observed()

    def _threaded(self, built: ServedModel, batches: Iterable[Batch]) -> Iterator[tuple[Batch, list[list[Answer]]]]:
        """Batches side by side in threads, which open images while others wait for the server; yielded in the order given."""
        threads = ThreadPoolExecutor(built.asks_at_once)
        waiting: deque[tuple[Batch, Future[list[list[Answer]]]]] = deque()
        try:
            for batch in batches:
                waiting.append((batch, threads.submit(answer, built, batch, self.seed)))
                if len(waiting) > built.asks_at_once:
                    batch, future = waiting.popleft()
                    yield batch, future.result()
            while waiting:
                batch, future = waiting.popleft()
                yield batch, future.result()
        except (PalpateError, KeyboardInterrupt):
            # Answers that are there were paid for: they are handed over before the fault is.
            for batch, future in list(waiting):
                if future.done() and future.exception() is None:
                    yield batch, future.result()
            raise
        finally:
            for _, future in waiting:
                future.cancel()
            built.close()  # ends what is under way, so that no thread waits for it
            threads.shutdown(wait=True)
