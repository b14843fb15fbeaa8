"""A worker of a Ray cluster: an actor that opens images where it is, or is sent them. Imports no ray itself."""

from __future__ import annotations

import os
from collections.abc import Sequence

from palpate.executors._shipping import Shipped, opened
from palpate.executors._worker import Missing, Worker
from palpate.nouns import Block


class RayWorker(Worker):
    """Secrets that a model needs (a token for a gated checkpoint) are taken from the worker's own environment; none is sent."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        os.environ.pop("PALPATE_WORKER", None)  # Ray shows a worker its own GPUs alone
        os.environ.pop("PALPATE_WORKERS", None)

    def _reached(self, blocks: Sequence[Block], places: Sequence[int], sent: Sequence[Shipped]) -> Sequence[Block] | Missing:
        given: list[Shipped | None] = [None] * len(blocks)
        for place, image in zip(places, sent, strict=True):
            given[place] = image
        ready, missing = opened(blocks, given)
        return Missing(tuple(missing)) if missing else ready
