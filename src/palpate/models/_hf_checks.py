"""Before a number is trusted: does this model, on this machine, give the same answers together as alone?

Published harnesses have moved by ten points with the batch size, and servers have shown one image's keys and values to all
questions. So a sample of the study's own questions is asked by itself, without any sharing, and the way the run asks; and two
images are asked together, in both orders, and each alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from palpate.models._hf_decode import Row
from palpate.models._hf_load import Loaded

QUESTIONS = 4
"""Of each of two images: the shortest, the longest and two between."""
TOKENS = 16
"""Of every answer: enough to see it begin to differ."""
ROUNDING = {"float32": 1e-3, "float16": 0.1, "bfloat16": 0.5}
"""How far a logit may move by the shape of a batch, in the logits' own standard deviations, before it is no rounding."""

TOGETHER, APART = "asked together as alone", "two images kept apart"

Ask = Callable[[Sequence[int]], list[list[Row]]]
"""Images by number → the rows of each, asked the way the run asks."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of the same questions asked in two ways. ``moved``: the largest change of a first logit, in standard deviations."""

    same: int
    questions: int
    moved: float

    def within(self, dtype: str) -> bool:
        """True where nothing but rounding differs; in float32 every token must be the same too."""
        return self.moved <= ROUNDING[dtype] and (dtype != "float32" or self.same == self.questions)

    def __str__(self) -> str:
        return (
            f"{self.same} of {self.questions} answers the same, first logits moved by at most {self.moved:.2g} standard deviations"
        )


def agreement(given: Sequence[Row], wanted: Sequence[Row]) -> Agreement:
    """Row by row. A row without logits (its question failed) counts as moved without bound."""
    moved, same = 0.0, 0
    for one, other in zip(given, wanted, strict=True):
        same += one.tokens == other.tokens and one.ended == other.ended
        if one.first_logits is None or other.first_logits is None or one.bad or other.bad:
            moved = float("inf")
            continue
        a, b = one.first_logits.double(), other.first_logits.double()
        change = (a - b).abs()[a.isfinite() & b.isfinite()].max() / b[b.isfinite()].std()
        moved = max(moved, float(change))
    return Agreement(same, len(wanted), moved)


def batch_check(dtype: str, ask: Ask, alone: Sequence[Sequence[Row]]) -> tuple[dict[str, Any], bool]:
    """The sample as the run asks it against each question by itself."""
    together = ask(range(len(alone)))
    found = agreement([row for rows in together for row in rows], [row for rows in alone for row in rows])
    return {"name": TOGETHER, "held": found.within(dtype), "found": str(found)}, found.within(dtype)


def images_check(dtype: str, ask: Ask) -> tuple[dict[str, Any], bool]:
    """Two images together, in both orders, against each alone: neither may see anything of the other."""
    forward, backward, first, second = ask((0, 1)), ask((1, 0)), ask((0,)), ask((1,))
    apart = [*first[0], *second[0]]
    found = [agreement([*forward[0], *forward[1]], apart), agreement([*backward[1], *backward[0]], apart)]
    worst = max(found, key=lambda one: one.moved)
    between = agreement(first[0], second[0])
    told = f"{worst}; between the two images they differ by {between.moved:.2g}"
    held = all(one.within(dtype) for one in found)
    # Were one image's keys used for both, the two would not differ at all.
    mixed = between.moved == 0.0
    return {"name": APART, "held": held and not mixed, "found": told}, held and not mixed


def tower_digest(loaded: Loaded) -> str | None:
    """128-bit BLAKE2b over the vision tower's weights, names and values as loaded; None for a model without one."""
    inner = loaded.model.base_model
    tower = next((getattr(inner, n) for n in ("vision_tower", "visual", "vision_model") if hasattr(inner, n)), None)
    if tower is None:
        return None
    import torch

    total = hashlib.blake2b(digest_size=16)
    for name, value in sorted(tower.state_dict().items()):
        flat = value.detach().to("cpu").contiguous().view(-1)
        total.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        total.update(flat.view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def chosen(rows: Sequence[Row]) -> list[Row]:
    """At most QUESTIONS rows of different lengths, their answers kept short."""
    ordered = sorted(rows, key=lambda row: len(row.rendered))
    steps = max(len(ordered) - 1, 0)
    picked = {round(i * steps / (QUESTIONS - 1)) for i in range(QUESTIONS)} if ordered else set()
    kept = [ordered[i] for i in sorted(picked)]
    for row in kept:
        row.budget = min(row.budget, TOKENS)
    return kept


def facts(loaded: Loaded, first: Sequence[Row]) -> dict[str, Any]:
    """What a report sets side by side: the first question as the model sees it, its tower, and how many weights were loaded."""
    return {
        "rendered_prompt": first[0].rendered if first else "",
        "vision_tower": tower_digest(loaded),
        "parameters": sum(p.numel() for p in loaded.model.parameters()),
    }


def found_by(
    dtype: str, ask: Ask, alone: Sequence[Sequence[Row]], *, images: bool, single: bool
) -> tuple[list[dict[str, Any]], bool]:
    """The checks' findings, and whether the way the run asks is sound. ``single``: every question is asked by itself anyway."""
    if single:
        checks, sound = [{"name": TOGETHER, "held": None, "found": "every question is asked by itself"}], True
    else:
        first, sound = batch_check(dtype, ask, alone)
        checks = [first]
    if images and len(alone) > 1:
        second, apart = images_check(dtype, ask)
        checks.append(second)
        sound = sound and apart
    elif images:
        checks.append({"name": APART, "held": None, "found": "there is only one image"})
    return checks, sound
