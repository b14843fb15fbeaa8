"""Showing Blocks to a model: what every executor does, wherever it runs."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from palpate.errors import ModelError
from palpate.nouns import Answer, Block, Status, Stimulus
from palpate.parts import ChecksItself, FeatureRequest, Features, LoadsFirst, LooksAhead, LooksInside, MaskedImage, Model
from palpate.registry import part


def answer(model: Model, blocks: Sequence[Block], seed: int) -> list[list[Answer]]:
    """One list of Answers per Block. An image that cannot be opened makes its Block's Answers errors; the rest are asked."""
    return look(model, blocks, seed, {})[0]


@dataclass(frozen=True, slots=True)
class Opened:
    """Blocks with their images open and perturbed: what can be ``shown``, by its place among the Blocks, and what cannot."""

    count: int
    shown: list[tuple[int, Stimulus]]
    failed: dict[int, list[Answer]]


def opened(blocks: Sequence[Block], seed: int) -> Opened:
    """An image that cannot be opened makes its Block's Answers errors."""
    shown, failed = [], {}
    for i, block in enumerate(blocks):
        try:
            shown.append((i, present(block, seed)))
        except (OSError, ValueError) as fault:
            cause = f"the image cannot be opened: {type(fault).__name__}"
            failed[i] = [Answer(Status.ERROR, error=cause) for _ in block.trials]
    return Opened(len(blocks), shown, failed)


def look(
    model: Model, blocks: Sequence[Block], seed: int, requests: Mapping[str, FeatureRequest]
) -> tuple[list[list[Answer]], list[Features | None]]:
    """The same, and the inner states of every unchanged image whose task has a request; None where there are none."""
    return look_at(model, opened(blocks, seed), requests)


def look_at(
    model: Model, given: Opened, requests: Mapping[str, FeatureRequest]
) -> tuple[list[list[Answer]], list[Features | None]]:
    """The same for Blocks whose images are open already."""
    answers = [given.failed.get(i, []) for i in range(given.count)]
    features: list[Features | None] = [None] * given.count
    replies, seen = _shown(model, [stimulus for _, stimulus in given.shown], requests)
    for (i, stimulus), found, inside in zip(given.shown, replies, seen, strict=True):
        if len(found) != len(stimulus.block.trials):
            raise ModelError(
                f"gave {len(found)} answers to {len(stimulus.block.trials)} questions", where=f"model {stimulus.block.model!r}"
            )
        answers[i], features[i] = found, inside
    return answers, features


def announce(model: Model, following: Future[Any] | None, requests: Mapping[str, FeatureRequest]) -> None:
    """Tell a model that looks ahead what comes after the next it is asked, where that is open; a fault waits for its turn."""
    if following is None or requests or not isinstance(model, LooksAhead):
        return
    if following.done() and not following.cancelled() and following.exception() is None:
        ready = following.result()
        if isinstance(ready, Opened):
            model.expect([stimulus for _, stimulus in ready.shown])


def _shown(
    model: Model, stimuli: Sequence[Stimulus], requests: Mapping[str, FeatureRequest]
) -> tuple[list[list[Answer]], list[Features | None]]:
    if not stimuli:
        return [], []
    if not requests or not isinstance(model, LooksInside):
        return model.ask(stimuli), [None] * len(stimuli)
    wanted = [requests.get(s.block.task) if s.block.perturbation.name == "none" else None for s in stimuli]
    return model.look(stimuli, wanted)


def loads_first(model: Model) -> TypeGuard[LoadsFirst]:
    """A protocol is met by a name alone: a ``load`` that wants an argument, or is no method, is something else of a plug-in's."""
    if not isinstance(model, LoadsFirst):
        return False
    try:
        inspect.signature(model.load).bind()
    except (TypeError, ValueError):
        return False
    return True


def check(model: Model, blocks: Sequence[Block], seed: int) -> Mapping[str, Any]:
    """What a model finds out about itself on these images; empty for one that checks nothing."""
    if not isinstance(model, ChecksItself):
        return {}
    shown = []
    for block in blocks:
        with suppress(OSError, ValueError):  # its questions will be errors that say so
            shown.append(present(block, seed))
    return model.check(shown)


def present(block: Block, seed: int) -> Stimulus:
    """Open a Block's image and perturb it. Raises OSError or ValueError where it cannot be decoded.

    The generator is seeded from (image content, perturbation, study seed): the same pixels on any machine, in any order.
    """
    image = block.case.image.open()
    if block.perturbation.name == "none":
        return Stimulus(block, image)
    family = part("perturbations", block.perturbation.name)
    text = f"{block.case.digest}/{block.perturbation.name}/{block.perturbation.severity}/{seed}"
    words = np.frombuffer(hashlib.blake2b(text.encode("utf-8"), digest_size=16).digest(), dtype=np.uint32)
    rng = np.random.default_rng(words.tolist())
    if getattr(family, "needs_mask", False):
        return Stimulus(block, family.apply(image, block.perturbation.severity, rng, _mask(block)))
    return Stimulus(block, family.apply(image, block.perturbation.severity, rng))


def _mask(block: Block) -> NDArray[np.bool_]:
    if not isinstance(block.case.image, MaskedImage):
        raise ValueError("no mask")  # the plan refuses such a study: this case came another way
    return block.case.image.mask()
