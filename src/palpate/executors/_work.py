"""Showing Blocks to a model: what every executor does, wherever it runs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from palpate.errors import ModelError
from palpate.nouns import Answer, Block, Status, Stimulus
from palpate.parts import MaskedImage, Model
from palpate.registry import part


def answer(model: Model, blocks: Sequence[Block], seed: int) -> list[list[Answer]]:
    """One list of Answers per Block. An image that cannot be opened makes its Block's Answers errors; the rest are asked."""
    answers: list[list[Answer]] = [[] for _ in blocks]
    shown: list[tuple[int, Stimulus]] = []
    for i, block in enumerate(blocks):
        try:
            shown.append((i, present(block, seed)))
        except (OSError, ValueError) as fault:
            cause = f"the image cannot be opened: {type(fault).__name__}"
            answers[i] = [Answer(Status.ERROR, error=cause) for _ in block.trials]
    given = model.ask([stimulus for _, stimulus in shown]) if shown else []
    for (i, stimulus), found in zip(shown, given, strict=True):
        if len(found) != len(stimulus.block.trials):
            raise ModelError(
                f"gave {len(found)} answers to {len(stimulus.block.trials)} questions", where=f"model {stimulus.block.model!r}"
            )
        answers[i] = found
    return answers


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
