"""A decoder layer adds what a part gave to its states and norms the sum for the next part: one kernel instead of two or three.

The layer's own modules and their own arithmetic, in the order of its own code; only what is compiled together differs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

PRE = frozenset(
    f"{family}DecoderLayer" for family in ("Llama", "Mistral", "Qwen2", "Qwen3", "Qwen2VL", "Qwen2_5_VL", "Qwen3VLText")
)
"""Layers that norm what goes into a part: states + attention(norm(states)), then states + feed-forward(norm(states))."""
BOTH = frozenset(("Gemma2DecoderLayer", "Gemma3DecoderLayer"))
"""Layers that norm what goes into a part and what comes out of it."""


def known(layer: Any) -> bool:
    """Whether its code is one of those that ``run`` knows: a checkpoint's own may bear the same name."""
    return of_library(layer) and type(layer).__name__ in PRE | BOTH


def of_library(module: Any) -> bool:
    """Whether its code is transformers' own."""
    return type(module).__module__.startswith("transformers.models.")


def fused(compile_: Callable[[Callable[..., Any]], Callable[..., Any]], table: Callable[[Any], Any]) -> Callable[..., Any]:
    """A layer's forward, (layer, states (B, T, d), …) → (B, T, d). ``table``: what tells the compiler that tokens are many."""
    summed, normed, closed = (over(compile_(one), table) for one in (sum_and_norm, norm_sum_and_norm, norm_and_sum))

    def run(layer: Any, hidden_states: Any, **named: Any) -> Any:
        attended = layer.self_attn(hidden_states=layer.input_layernorm(hidden_states), **named)[0]
        if type(layer).__name__ in BOTH:
            states, ready = normed(attended, hidden_states, layer.post_attention_layernorm, layer.pre_feedforward_layernorm)
            return closed(layer.mlp(ready), states, layer.post_feedforward_layernorm)
        states, ready = summed(attended, hidden_states, layer.post_attention_layernorm)
        return states + layer.mlp(ready)

    return run


def replace(layer: Any, run: Callable[..., Any]) -> None:
    """The layer runs ``run`` from now on."""
    layer.forward = partial(run, layer)


def over(compiled: Callable[..., Any], table: Callable[[Any], Any]) -> Callable[..., Any]:
    """``compiled`` over states (B, T, d) as tables of tokens."""

    def run(found: Any, states: Any, *norms: Any) -> Any:
        flat = (table(one.reshape(-1, one.shape[-1])) for one in (found, states))
        whole = compiled(*flat, *norms)
        return tuple(one.view(states.shape) for one in whole) if isinstance(whole, tuple) else whole.view(states.shape)

    return run


def sum_and_norm(found: Any, states: Any, norm: Any) -> tuple[Any, Any]:
    """states + found, and that normed."""
    states = states + found
    return states, _own(norm, states)


def norm_sum_and_norm(found: Any, states: Any, after: Any, before: Any) -> tuple[Any, Any]:
    """states + ``after``(found), and that normed by ``before``."""
    states = states + _own(after, found)
    return states, _own(before, states)


def norm_and_sum(found: Any, states: Any, after: Any) -> Any:
    """states + ``after``(found)."""
    return states + _own(after, found)


def _own(norm: Any, states: Any) -> Any:
    """What the family's class gives: the module's forward is a compiled one of its own."""
    return type(norm).forward(norm, states)
