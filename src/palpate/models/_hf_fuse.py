"""The kernels around a model's large products become one each: norms, feed-forward parts, rotary positions.

Each part is compiled by itself, not whole layers: the cache and the attention in them are told apart by number, and every layer
would be compiled anew. Parts are given a table of tokens, whatever the batch: its length alone is unknown when they are compiled,
and a kernel that knows all other sizes is up to six times as fast. Nothing outlives the model it was made for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from palpate.models import _hf_kernels, _hf_layers

NAMES = ("RMSNorm", "MLP")
"""Ends of the names of classes that are compiled, whatever the family."""
ROTARY = "apply_rotary_pos_emb"
EMBEDDINGS = "VisionEmbeddings"
SHAPES = 64
"""Variants of one function that may be compiled: one or many tokens, each width."""


@dataclass(slots=True)
class Fused:
    """``rotary``: (the family's module, its function compiled); ``captured``: a step has been, so all that it needs is built."""

    rotary: tuple[tuple[Any, Callable[..., Any]], ...]
    captured: bool = False

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

    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, SHAPES)
    layer = _hf_layers.fused(torch.compile, _table)
    for module in model.modules():
        if _hf_layers.known(module):
            _hf_layers.replace(module, layer)
        if type(module).__name__.endswith(NAMES):
            module.forward = over_tokens(torch.compile(module.forward))
            if is_of_gelu(module):
                module.forward = partial(through_gelu, module, module.forward)
        if isinstance(module, torch.nn.Conv2d) and is_of_patches(module):
            module.forward = partial(patches, module)
        if isinstance(module, torch.nn.LayerNorm) and len(module.normalized_shape) == 1 and module.bias is not None:
            module.forward = partial(normed, module, module.forward)
    homes = {sys.modules[type(module).__module__] for module in model.modules() if hasattr(module, "q_proj")}
    return Fused(tuple((home, turned(torch.compile(getattr(home, ROTARY)))) for home in homes if hasattr(home, ROTARY)))


def in_order(model: Any) -> None:
    """An image's patches one after another in memory from the start. As a convolution leaves them, channel by channel, every
    later sum and norm of a tower without a class token would stride through memory: a quarter of its time."""
    for module in model.modules():
        if type(module).__name__.endswith(EMBEDDINGS):
            module.register_forward_hook(
                lambda _module, _given, found: found.contiguous() if hasattr(found, "contiguous") else found
            )


def is_of_patches(convolution: Any) -> bool:
    """Whether each of its windows is a patch of its own, so that it is a product."""
    lone = set(convolution.padding) in ({0}, set("valid")) and set(convolution.dilation) == {1} and convolution.groups == 1
    return bool(lone and convolution.kernel_size == convolution.stride)


def patches(convolution: Any, pixels: Any) -> Any:
    """A convolution of patches (B, C, H, W) → (B, d, h, w) as one product: libraries have no fast kernel for their odd sizes.

    In memory a patch's numbers are beside one another. Rows and columns that fill no patch are left out, as there.
    """
    import torch

    high, wide = convolution.kernel_size
    batch, channels = pixels.shape[:2]
    rows, columns = pixels.shape[2] // high, pixels.shape[3] // wide
    cut = pixels[:, :, : rows * high, : columns * wide].reshape(batch, channels, rows, high, columns, wide)
    table = cut.permute(0, 2, 4, 1, 3, 5).reshape(batch * rows * columns, -1)
    found = torch.nn.functional.linear(table, convolution.weight.flatten(1), convolution.bias)
    return found.view(batch, rows, columns, -1).permute(0, 3, 1, 2)


def is_of_gelu(module: Any) -> bool:
    """Whether it is a product, GELU as tanh approximates it, and a product again, of weights as they are."""
    import torch

    first, act = getattr(module, "fc1", None), getattr(module, "activation_fn", None)
    whole = type(first) is torch.nn.Linear and getattr(first, "bias", None) is not None and hasattr(module, "fc2")
    return bool(
        whole
        and _hf_layers.of_library(module)
        and (type(act).__name__ == "GELUTanh" or getattr(act, "approximate", None) == "tanh")
    )


def through_gelu(module: Any, plain: Callable[[Any], Any], states: Any) -> Any:
    """Such a feed-forward part with GELU at the end of the first product's kernel: its result is written once, and not read."""
    import torch

    if not _hf_kernels.half_on_gpu(states):
        return plain(states)
    first, table = module.fc1, states.reshape(-1, states.shape[-1])
    found = torch._addmm_activation(first.bias, table, first.weight.t(), use_gelu=True)
    return module.fc2(found).view(*states.shape[:-1], -1)


def normed(module: Any, plain: Callable[[Any], Any], states: Any) -> Any:
    """A LayerNorm by our kernel, or as it was (``plain``) where that cannot be."""
    return _hf_kernels.layer_norm(states, module) if _hf_kernels.half_on_gpu(states) and _hf_kernels.available() else plain(states)


def over_tokens(compiled: Callable[..., Any]) -> Callable[..., Any]:
    """``compiled`` over (…, size) as a table (tokens, size); heads of (B, H, T, size) are taken in the order they lie in."""

    def run(states: Any, *more: Any) -> Any:
        if more:
            return compiled(states, *more)
        heads = states.dim() == 4 and not states.is_contiguous()
        given = states.transpose(1, 2) if heads else states
        found = compiled(_table(given.reshape(-1, given.shape[-1]))).view(*given.shape[:-1], -1)
        return found.transpose(1, 2) if heads else found

    return run


def turned(compiled: Callable[..., Any]) -> Callable[..., Any]:
    """``compiled``, a family's rotary function of q and k (B, H, T, d) and cos, sin (B or 1, T, d), over tables of tokens."""

    def run(query: Any, key: Any, cos: Any, sin: Any, *more: Any, **named: Any) -> tuple[Any, Any]:
        if more or named or cos.dim() != 3 or query.dim() != 4:
            found: tuple[Any, Any] = compiled(query, key, cos, sin, *more, **named)
            return found
        rows, _, tokens, _ = query.shape
        own = [_table(states.transpose(1, 2).reshape(rows * tokens, *states.shape[1::2])) for states in (query, key)]
        where = [_table(one.expand(rows, -1, -1).reshape(rows * tokens, one.shape[-1])) for one in (cos, sin)]
        query, key = (one.view(rows, tokens, *one.shape[1:]).transpose(1, 2) for one in compiled(*own, *where))
        return query, key

    return run


def _table(tokens: Any) -> Any:
    """How many tokens there are is not to be compiled in; all else is."""
    import torch

    torch._dynamo.maybe_mark_dynamic(tokens, 0)
    torch._dynamo.mark_static(tokens, tuple(range(1, tokens.dim())))
    return tokens
