"""What the stages ask of an executor, wherever it runs its Blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from palpate.nouns import Answer, Block
from palpate.parts import Allowance, FeatureRequest, Features, ModelSpec

Batch = Sequence[Block]
Given = tuple[list[list[Answer]], list[Features | None]]
OnStep = Callable[[str], None]
"""Told what a model is doing, in words for the line of progress."""
LOADING, CHECKING, BOTH = "loading", "self-test", "loading and self-test"
Looked = tuple[Batch, list[list[Answer]], list[Features | None]]


def over(batches: Iterable[Batch]) -> bool:
    """Whether no more of them are to be begun, though some were taken ahead: an iterable may say so by a method ``over``."""
    told = getattr(batches, "over", None)
    return bool(told is not None and told())


class Executor(Protocol):
    """``run(model, batches)`` yields each batch with its answers, in the order given, so that results never depend on timing."""

    def batch_size(self, model: ModelSpec) -> int:
        """How many Blocks the model likes at once: independent of workers, so that batches, and answers, are too."""
        ...

    def run(
        self, model: ModelSpec, batches: Iterable[Batch], allowance: Allowance | None = None
    ) -> Iterator[tuple[Batch, list[list[Answer]]]]:
        """Ask one model. Raises ModelError where it cannot work at all, RunError where workers die and cannot be replaced.

        What is taken ahead is not begun once the batches are ``over``.
        """
        ...

    def look(self, model: ModelSpec, batches: Iterable[Batch], requests: Mapping[str, FeatureRequest]) -> Iterator[Looked]:
        """The same, with the inner states of images whose task has a request, one entry per Block."""
        ...

    def identify(self, model: ModelSpec, identity: Mapping[str, Any]) -> None:
        """What the plan says a model is from now on: a worker elsewhere that loads another is refused."""
        ...

    def check(self, model: ModelSpec, blocks: Sequence[Block], on_step: OnStep | None = None, coming: int = 1) -> Mapping[str, Any]:
        """What the model finds out about itself before it is asked. Raises ModelError where it must not be asked.

        ``on_step`` is told that it is loading, and that it tests itself. ``coming``: batches known to be asked afterwards; no more
        workers than that need get ready meanwhile."""
        ...

    def observed(self, model: ModelSpec) -> Mapping[str, Any]:
        """What a served model has found out about its server so far; empty for any other."""
        ...

    def close(self) -> None:
        """End the workers, without waiting for what they are at: whatever matters was handed over already."""
        ...
