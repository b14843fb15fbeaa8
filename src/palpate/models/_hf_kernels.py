"""Attention over a shared prefix and each row's own tokens, in one kernel each: for half precision on a GPU, where Triton is.

A decoding step reads every key and value once and computes little, so its time is that of reading. One program per image and
key-value head holds all of the image's queries, goes over the prefix once for all of them and then over every row's own tokens,
each seen by that row's queries alone: one softmax, no parts to merge, nothing copied into another order first.

What is seen is told by numbers, not by a mask: padding lies on the left, so a first token per image and per row is enough.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

MOST_QUERIES = 64
"""Queries of one program: rows of an image times query heads of a group. More are shared out over several."""
HOPPER = (9, 0)
"""The compute capability of H100 and H200."""
SIZES = (32, 64, 128, 256)
"""Sizes of a head the kernels are made for."""


def usable(query: Any, kv_heads: int) -> bool:
    """Whether the kernels can take this query (R, H, T, d): half precision, on a GPU, with Triton there."""
    fits = query.shape[-1] in SIZES and query.shape[1] // kv_heads <= MOST_QUERIES
    return bool(half_on_gpu(query) and fits and available())


def half_on_gpu(states: Any) -> bool:
    """Where there are kernels of their own for attention: half precision, on a GPU."""
    return bool(states.is_cuda and str(states.dtype) in ("torch.float16", "torch.bfloat16"))


@cache
def available() -> bool:
    """Whether Triton is installed: it comes with PyTorch's builds for GPUs."""
    return find_spec("triton") is not None


def library(query: Any, keys: Any, values: Any, steps: int) -> Callable[[float], tuple[Any, Any]] | None:
    """What attends all keys at once, by a library's kernel: scale → out (B, H, M, d) and log-normaliser (B, H, M); None: none can.

    query (B, H, M, d) of ``steps`` new tokens of every row; keys and values (B, KV, L, d), a group of H / KV heads to each.
    cuDNN's is up to twice as fast on Hopper. Elsewhere it was not measured, on Blackwell it is known for wrong decoding steps
    (pytorch issue 193893), and it plans anew for every shape: a step at a time would be planned a thousand times.
    """
    import torch

    cuda, aten = torch.backends.cuda, torch.ops.aten
    needs = cuda.SDPAParams(query, keys, values, None, 0.0, False, query.shape[1] != keys.shape[1])
    hopper = torch.cuda.get_device_capability(query.device) == HOPPER
    if hopper and steps > 1 and cuda.can_use_cudnn_attention(needs):

        def attend(scale: float) -> Any:
            return aten._scaled_dot_product_cudnn_attention(query, keys, values, None, True, 0.0, False, False, scale=scale)

    elif cuda.can_use_flash_attention(needs):

        def attend(scale: float) -> Any:
            return aten._scaled_dot_product_flash_attention(query, keys, values, 0.0, False, False, scale=scale)

    else:
        return None

    def run(scale: float) -> tuple[Any, Any]:
        out, lse = attend(scale)[:2]
        return out, lse.view(query.shape[:3])

    return run


def decode(
    query: Any, prefix: tuple[Any, Any], begins: Any, own: tuple[Any, Any], starts: Any, table: Any, used: Any, scale: float
) -> Any:
    """Attention of one new token of every row, (R, 1, H, d) in the query's number format.

    query (R, H, 1, d); prefix: keys and values (B, KV, L, d) of the images; begins (B,) int32: the first key that is no padding;
    own: keys and values (R, KV, S, d), the new token's among them; starts (R,) int32: likewise; table (B, W) int32: the rows of
    each image, −1 where it has fewer than W; used (1,) int32: how many of the S are written. Every image has at least one key.
    """
    import triton

    from palpate.models._hf_triton import decode_kernel

    rows, heads, _, size = query.shape
    keys, values = prefix
    kv_heads, length = keys.shape[1], keys.shape[2]
    group, width = heads // kv_heads, table.shape[1]
    queries = min(MOST_QUERIES, max(16, triton.next_power_of_2(width * group)))
    at_once = queries // group
    out = query.new_empty(rows, 1, heads, size)
    decode_kernel[(len(keys) * kv_heads, triton.cdiv(width, at_once))](
        *(query, keys, values, *own, table, begins, starts, used, out),
        *(scale * 1.4426950408889634, length, width),
        *(query.stride(0), query.stride(1)),
        *(keys.stride(0), keys.stride(1), keys.stride(2), values.stride(0), values.stride(1), values.stride(2)),
        *(stride for one in own for stride in one.stride()[:3]),
        *(out.stride(0), out.stride(2)),
        KV=kv_heads,
        GROUP=group,
        SIZE=size,
        QUERIES=queries,
        KEYS=64 if size > 128 and queries < 64 else 32,  # with more, GPUs of 99 KB of shared memory could not hold it
        num_warps=4,
        num_stages=2 if size > 128 else 4,
    )
    return out


def go_on(
    query: Any, prefix: tuple[Any, Any], own: tuple[Any, Any], starts: Any, places: Any, window: int | None, scale: float
) -> Any:
    """Attention of T new tokens of every row, (R, T, H, d) in the query's number format, where the prefix's part is known.

    query (R, H, T, d); prefix: out (B, KV, W, G, T, d) and log-normaliser (B, KV, W, G, T) over the images' keys; own: keys and
    values (R, KV, S, d), the last T those of the query, seen causally; starts (R,) int32: the first of them that is no padding;
    places (R,): image · W + which of its rows; window: how far back a query sees, in tokens, or all. The same softmax goes on,
    so that nothing is merged afterwards.
    """
    import triton

    from palpate.models._hf_triton import own_kernel

    rows, heads, steps, size = query.shape
    part, lse = prefix
    keys, values = own
    kv_heads, width, slots = keys.shape[1], part.shape[2], keys.shape[2]
    group = heads // kv_heads
    queries = min(MOST_QUERIES, max(16, triton.next_power_of_2(steps * group)))
    whole = query.new_empty(rows, steps, heads, size)
    own_kernel[(rows * kv_heads, triton.cdiv(steps, queries // group))](
        *(query, keys, values, part, lse, places, starts, whole),
        *(scale * 1.4426950408889634, width, steps, slots, window or slots),
        *query.stride()[:3],
        *keys.stride()[:3],
        *values.stride()[:3],
        *part.stride()[:5],
        *lse.stride(),
        KV=kv_heads,
        GROUP=group,
        SIZE=size,
        QUERIES=queries,
        KEYS=32,
        num_warps=4,
        num_stages=2,
    )
    return whole


def layer_norm(states: Any, module: Any) -> Any:
    """What a LayerNorm over the last dimension gives for states (…, d), each number read once."""
    import torch
    import triton

    from palpate.models._hf_triton import norm_kernel

    states = states.contiguous()
    size, out = states.shape[-1], torch.empty_like(states)
    places = triton.next_power_of_2(size)
    norm_kernel[(states.numel() // size,)](states, module.weight, module.bias, out, module.eps, SIZE=size, PLACES=places)
    return out
