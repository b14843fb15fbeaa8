"""One worker of a Ray cluster: an actor that loads one model at a time, opens images and asks. Imports no ray itself."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from palpate.errors import ModelError, PalpateError, RunError
from palpate.executors._contract import Given
from palpate.executors._shipping import Shipped, opened
from palpate.executors._work import check, look
from palpate.nouns import Block
from palpate.parts import FeatureRequest, Model, ModelSpec
from palpate.registry import part


@dataclass(frozen=True, slots=True)
class Missing:
    """Places of the Blocks whose images this worker cannot open: they are to be sent."""

    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """What a worker says of itself: its process, and what it runs on."""

    pid: int
    versions: tuple[str, str]


def versions() -> tuple[str, str]:
    """Of Palpate, and of Python up to its minor version: what must be the same here and there."""
    return version("palpate"), f"{sys.version_info.major}.{sys.version_info.minor}"


class Worker:
    """Methods return faults that a user can act on instead of raising them: so they arrive as they are.

    Secrets that a model needs (a token for a gated checkpoint) are taken from the worker's own environment; none is sent.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._model: Model | None = None
        self._spec: ModelSpec | None = None
        os.environ.pop("PALPATE_WORKER", None)  # Ray shows a worker its own GPUs alone
        os.environ.pop("PALPATE_WORKERS", None)

    def start(self, spec: ModelSpec, identity: Mapping[str, Any] | None) -> Told | PalpateError:
        """Make the model, and see that it is the one the plan knows (its ``identity``; None: whatever it is)."""
        try:
            self._make(spec)
            if identity is not None:
                self._same(spec, identity)
        except PalpateError as fault:
            return fault
        return Told(os.getpid(), versions())

    def look(
        self, blocks: Sequence[Block], requests: Mapping[str, FeatureRequest], places: Sequence[int], *sent: Shipped
    ) -> Given | Missing | PalpateError:
        """Ask; ``sent`` are the images of the Blocks at ``places``, all others are opened here."""
        ready = _opened(blocks, places, sent)
        if isinstance(ready, Missing):
            return ready
        try:
            return look(self._loaded, ready, self._seed, requests)
        except PalpateError as fault:
            return fault

    def check(self, blocks: Sequence[Block], places: Sequence[int], *sent: Shipped) -> Mapping[str, Any] | Missing | PalpateError:
        """What the model finds out about itself on these images."""
        ready = _opened(blocks, places, sent)
        if isinstance(ready, Missing):
            return ready
        try:
            return check(self._loaded, ready, self._seed)
        except PalpateError as fault:
            return fault

    @property
    def _loaded(self) -> Model:
        assert self._model is not None  # a worker is given nothing before it has started
        return self._model

    def _make(self, spec: ModelSpec) -> None:
        if self._model is None or self._spec != spec:
            if self._model is not None:
                self._model.close()
                self._model = None
            self._model, self._spec = part("models", spec.kind).build(spec), spec

    def _same(self, spec: ModelSpec, identity: Mapping[str, Any]) -> None:
        here = _plain(self._loaded.fingerprint().identity)
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


def _opened(blocks: Sequence[Block], places: Sequence[int], sent: Sequence[Shipped]) -> list[Block] | Missing:
    given: list[Shipped | None] = [None] * len(blocks)
    for place, image in zip(places, sent, strict=True):
        given[place] = image
    ready, missing = opened(blocks, given)
    return Missing(tuple(missing)) if missing else ready


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
