"""The kernels around a model's large products become one each: norms, feed-forward parts, rotary positions, attention's merging.

Each part is compiled by itself, not whole layers: the cache and the attention in them are told apart by number, and every layer
would be compiled anew. Nothing outlives the model it was made for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

NAMES = ("RMSNorm", "MLP")
"""Ends of the names of classes that are compiled, whatever the family."""
ROTARY = "apply_rotary_pos_emb"
SHAPES = 64
"""Variants of one function that may be compiled: one or a few rows, one or many tokens, each width."""


@dataclass(frozen=True, slots=True)
class Fused:
    """``rotary``: (the family's module, its function compiled); ``merge``: of the two parts of attention."""

    rotary: tuple[tuple[Any, Callable[..., Any]], ...]
    merge: Callable[..., Any]

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """The family's own functions are the compiled ones while this lasts."""
        own = [(home, getattr(home, ROTARY)) for home, _ in self.rotary]
        try:
            for home, compiled in self.rotary:
                setattr(home, ROTARY, compiled)
            yield
        finally:
            for home, original in own:
                setattr(home, ROTARY, original)

    @staticmethod
    def undo(model: Any) -> None:
        """The model's parts are their own again: a compiled one refers to itself, and its weights would outlive the model."""
        for module in model.modules():
            module.__dict__.pop("forward", None)


def fuse(model: Any) -> Fused:
    """Compile what can be, for any number of rows and tokens; the first questions wait for it, half a minute or so."""
    import torch

    from palpate.models._hf_attend import merged

    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, SHAPES)
    for module in model.modules():
        if type(module).__name__.endswith(NAMES):
            module.forward = torch.compile(module.forward, dynamic=True)
    homes = {sys.modules[type(module).__module__] for module in model.modules() if hasattr(module, "q_proj")}
    turned = tuple((home, torch.compile(getattr(home, ROTARY), dynamic=True)) for home in homes if hasattr(home, ROTARY))
    return Fused(turned, torch.compile(merged, dynamic=True))
