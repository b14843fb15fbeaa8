"""One worker, in a process of its own: it loads one model at a time, asks it, and opens what was handed ahead meanwhile.

The model is made and asked by one thread alone, for what torch and CUDA keep they keep by thread; another opens images, in the
order they were given. Calls come in threads of their own: each waits for its turn.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from threading import Lock
from typing import Any

from palpate.errors import ModelError, PalpateError, RunError
from palpate.executors._contract import Given
from palpate.executors._shipping import Shipped
from palpate.executors._work import Opened, announce, check, loads_first, look_at, opened
from palpate.nouns import Block
from palpate.parts import FeatureRequest, Model, ModelSpec
from palpate.registry import part

AT_ONCE = 3
"""Batches a worker holds: the one it is at, the next, whose images are open or nearly so, and the one opened after that."""
CALLS = AT_ONCE + 2
"""Calls a worker must be able to hear at once: a batch each, one that takes a batch back, and one to spare."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Places of the Blocks whose images this worker cannot open: they are to be sent."""

    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TakenBack:
    """In place of answers: the batch was taken back before it was begun. No question of it was asked."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a worker says of itself: its process, and what it runs on."""

    pid: int
    versions: tuple[str, str]


def versions() -> tuple[str, str]:
    """Of Palpate, and of Python up to its minor version: what must be the same here and there."""
    return version("palpate"), f"{sys.version_info.major}.{sys.version_info.minor}"


class Worker:
    """Methods return faults that a user can act on instead of raising them: so they arrive as they are."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._model: Model | None = None
        self._spec: ModelSpec | None = None
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="palpate-ask")
        self._opening = ThreadPoolExecutor(1, thread_name_prefix="palpate-open")
        self._held: dict[int, tuple[Future[Opened | Missing], Future[Given | Missing]]] = {}  # not begun, in the order given
        self._lock = Lock()

    def start(self, spec: ModelSpec, identity: Mapping[str, Any] | None, load: bool = False) -> Told | PalpateError:
        """Make the model, and see that it is the one the plan knows (its ``identity``; None: whatever it is).

        ``load`` it too, if it can be: while one worker tests the model, the others are getting ready. That may take minutes, so
        it is not for one who takes a worker that has not answered for one that there is no room for.
        """

        def made() -> Told:
            model = self._made(spec)
            if identity is not None:
                _same(model, spec, identity)
            if load and loads_first(model):
                model.load()
            return Told(os.getpid(), versions())

        try:
            return self._asking.submit(made).result()
        except PalpateError as fault:
            return fault

    def look(
        self,
        number: int,
        spec: ModelSpec,
        blocks: Sequence[Block],
        requests: Mapping[str, FeatureRequest],
        places: Sequence[int] = (),
        *sent: Shipped,
    ) -> Given | Missing | TakenBack | PalpateError:
        """Open and ask when it is their turn; ``sent`` are the images of the Blocks at ``places``, all others are opened here.

        ``number`` is what ``take_back`` knows these Blocks by. The model is named with every question: calls may overtake one
        another, so what was started last need not be what is asked.
        """
        return self.take(number, spec, blocks, requests, places, *sent)()

    def take(
        self,
        number: int,
        spec: ModelSpec,
        blocks: Sequence[Block],
        requests: Mapping[str, FeatureRequest],
        places: Sequence[int] = (),
        *sent: Shipped,
    ) -> Callable[[], Given | Missing | TakenBack | PalpateError]:
        """``look`` in two: these Blocks are next now, and can be taken back; what is returned waits for their answers."""
        with self._lock:
            opening = self._opening.submit(self._opened, blocks, places, sent)
            asked = self._asking.submit(self._ask, number, spec, requests)
            self._held[number] = opening, asked

        def answered() -> Given | Missing | TakenBack | PalpateError:
            try:
                return asked.result()
            except CancelledError:
                if asked.cancelled():
                    return TakenBack()
                raise  # the model's own code did
            except PalpateError as fault:
                return fault

        return answered

    def take_back(self, number: int) -> None:
        """Forget the Blocks of that number, unless the model is at them already or done: ``look`` then returns ``TakenBack``."""
        with self._lock:
            opening, asked = self._held.get(number, (None, None))
            if opening is not None and asked is not None and asked.cancel():
                opening.cancel()
                del self._held[number]

    def check(
        self, spec: ModelSpec, blocks: Sequence[Block], places: Sequence[int] = (), *sent: Shipped
    ) -> Mapping[str, Any] | Missing | PalpateError:
        """What the model finds out about itself on these images."""
        ready = self._reached(blocks, places, sent)
        if isinstance(ready, Missing):
            return ready
        try:
            return self._asking.submit(lambda: check(self._made(spec), ready, self._seed)).result()
        except PalpateError as fault:
            return fault

    def _reached(self, blocks: Sequence[Block], places: Sequence[int], sent: Sequence[Shipped]) -> Sequence[Block] | Missing:
        """The Blocks with images that can be opened here as far as can be; what cannot be opened will be an error that says so."""
        return blocks

    def _opened(self, blocks: Sequence[Block], places: Sequence[int], sent: Sequence[Shipped]) -> Opened | Missing:
        ready = self._reached(blocks, places, sent)
        return ready if isinstance(ready, Missing) else opened(ready, self._seed)

    def _ask(self, number: int, spec: ModelSpec, requests: Mapping[str, FeatureRequest]) -> Given | Missing:
        with self._lock:
            opening, _ = self._held.pop(number)
            following = next((later for later, _ in self._held.values()), None)
        ready = opening.result()
        if isinstance(ready, Missing):
            return ready
        model = self._made(spec)
        announce(model, following, requests)
        return look_at(model, ready, requests)

    def _made(self, spec: ModelSpec) -> Model:
        """The model, made once; another takes its place."""
        if self._model is None or self._spec != spec:
            if self._model is not None:
                self._model.close()
                self._model = None
            self._model, self._spec = part("models", spec.kind).build(spec), spec
        return self._model


def _same(model: Model, spec: ModelSpec, identity: Mapping[str, Any]) -> None:
    here = _plain(model.fingerprint().identity)
    there = _plain(identity)
    differs = sorted(name for name in {*here, *there} if here.get(name) != there.get(name))
    if differs:
        name = differs[0]
        raise ModelError(
            f"is another model on the worker than where the study was planned: {', '.join(differs)} differ"
            f" ({name}: {_short(here.get(name))} there, {_short(there.get(name))} here)",
            where=f"model {spec.name!r}",
            expected="the same checkpoint on every machine",
            hint='where only the workers have GPUs, say so in the study file: device = "cuda"',
        )


def same_versions(told: Told) -> None:
    """Raises RunError where a worker runs another Palpate or Python than this process: answers would not be the same."""
    if told.versions != versions():
        there, here = (" on Python ".join(found) for found in (told.versions, versions()))
        raise RunError(
            f"a worker runs Palpate {there}, this process {here}",
            where="the Ray cluster",
            expected="the same versions on every machine",
            hint="install the same release everywhere, or run the driver on one of the cluster's machines",
        )


def _plain(identity: Mapping[str, Any]) -> dict[str, Any]:
    return dict(json.loads(json.dumps(identity, sort_keys=True, default=str)))


def _short(value: Any) -> str:
    text = "absent"
    with suppress(TypeError, ValueError):
        text = json.dumps(value) if value is not None else text
    return text if len(text) <= 40 else text[:40] + "…"
