"""The kernels themselves; ``_hf_kernels`` says what they take. Importing this needs Triton, whose language has no types."""
# ruff: noqa: ANN001, ANN202

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def seen(scores, keys_seen, values, most, total, out):
    """A further block of keys into a running softmax: the largest score so far, the sum of weights, their sum over values."""
    scores = tl.where(keys_seen, scores, float("-inf"))
    larger = tl.maximum(most, tl.max(scores, 1))
    weights = tl.exp2(scores - larger[:, None])
    shrink = tl.exp2(most - larger)
    total = total * shrink + tl.sum(weights, 1)
    out = tl.dot(weights.to(values.dtype), values, out * shrink[:, None])
    return larger, total, out


@triton.jit(do_not_specialize=["length", "width"])
def decode_kernel(
    query, keys, values, own_keys, own_values, table, begins, starts, used, out,
    scale, length, width,
    query_row, query_head,
    keys_image, keys_head, keys_slot, values_image, values_head, values_slot,
    own_keys_row, own_keys_head, own_keys_slot, own_values_row, own_values_head, own_values_slot,
    out_row, out_head,
    KV: tl.constexpr, GROUP: tl.constexpr, SIZE: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """``_hf_kernels.decode``: a program per image and key-value head, and per QUERIES of its queries."""
    image = (tl.program_id(0) // KV).to(tl.int64)
    head = tl.program_id(0) % KV
    at_once: tl.constexpr = QUERIES // GROUP
    first = tl.program_id(1) * at_once
    places = tl.arange(0, QUERIES)
    nth = first + places // GROUP
    there = (places < at_once * GROUP) & (nth < width)
    row = tl.load(table + image * width + nth, mask=there, other=-1).to(tl.int64)
    there = row >= 0
    heads = head * GROUP + places % GROUP
    size = tl.arange(0, SIZE)
    slots = tl.arange(0, KEYS)
    asked = tl.load(query + (row * query_row + heads * query_head)[:, None] + size[None, :], mask=there[:, None], other=0.0)

    most = tl.full([QUERIES], float("-inf"), tl.float32)
    total = tl.zeros([QUERIES], tl.float32)
    found = tl.zeros([QUERIES, SIZE], tl.float32)
    begin = tl.load(begins + image)
    key_at = keys + image * keys_image + head * keys_head
    value_at = values + image * values_image + head * values_head
    for block in range((begin // KEYS) * KEYS, length, KEYS):
        slot = (block + slots).to(tl.int64)
        inside = (slot >= begin) & (slot < length)
        key = tl.load(key_at + slot[None, :] * keys_slot + size[:, None], mask=inside[None, :], other=0.0)
        value = tl.load(value_at + slot[:, None] * values_slot + size[None, :], mask=inside[:, None], other=0.0)
        most, total, found = seen(tl.dot(asked, key) * scale, inside[None, :], value, most, total, found)

    written = tl.load(used)
    blocks = tl.cdiv(written, KEYS)
    for turn in range(0, (min(first + at_once, width) - first) * blocks):  # one loop, so that reading runs ahead over all rows
        n = first + turn // blocks
        slot = (turn % blocks * KEYS + slots).to(tl.int64)
        mine = tl.load(table + image * width + n).to(tl.int64)
        start = tl.load(starts + tl.maximum(mine, 0))
        inside = (slot >= start) & (slot < tl.where(mine >= 0, written, 0))
        own_key_at = own_keys + mine * own_keys_row + head * own_keys_head
        own_value_at = own_values + mine * own_values_row + head * own_values_head
        key = tl.load(own_key_at + slot[None, :] * own_keys_slot + size[:, None], mask=inside[None, :], other=0.0)
        value = tl.load(own_value_at + slot[:, None] * own_values_slot + size[None, :], mask=inside[:, None], other=0.0)
        scores = tl.dot(asked, key) * scale
        most, total, found = seen(scores, (nth == n)[:, None] & inside[None, :], value, most, total, found)

    at = out + (row * out_row + heads * out_head)[:, None] + size[None, :]
    tl.store(at, (found / total[:, None]).to(out.dtype.element_ty), mask=there[:, None])


@triton.jit(do_not_specialize=["width", "steps"])
def merge_kernel(
    out, lse, other, other_lse, places, whole,
    width, steps,
    out_image, out_head, out_slot, lse_image, lse_head,
    other_row, other_head, other_slot, other_lse_row, other_lse_head,
    KV: tl.constexpr, GROUP: tl.constexpr, HEADS: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    """``_hf_kernels.merge``: a program per row and step."""
    row = (tl.program_id(0) // steps).to(tl.int64)
    step = tl.program_id(0) % steps
    place = tl.load(places + row).to(tl.int64)
    image, nth = place // width, place % width
    heads = tl.arange(0, HEADS)
    there = heads < KV * GROUP
    kv, within = heads // GROUP, (heads % GROUP) * steps + step
    size = tl.arange(0, SIZE)
    slot = nth * GROUP * steps + within
    one = tl.load(lse + image * lse_image + kv * lse_head + slot, mask=there, other=0.0)
    two = tl.load(other_lse + row * other_lse_row + kv * other_lse_head + within, mask=there, other=0.0)
    most = tl.maximum(one, two)
    first, second = tl.exp(one - most), tl.exp(two - most)
    mask = there[:, None]
    a = tl.load(out + (image * out_image + kv * out_head + slot * out_slot)[:, None] + size[None, :], mask=mask, other=0.0)
    b = tl.load(other + (row * other_row + kv * other_head + within * other_slot)[:, None] + size[None, :], mask=mask, other=0.0)
    both = (a.to(tl.float32) * first[:, None] + b.to(tl.float32) * second[:, None]) / (first + second)[:, None]
    at = whole + ((row * steps + step) * (KV * GROUP) + heads)[:, None] * SIZE + size[None, :]
    tl.store(at, both.to(whole.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["epsilon"])
def norm_kernel(states, weight, bias, out, epsilon, SIZE: tl.constexpr, PLACES: tl.constexpr):
    """``_hf_kernels.layer_norm``: a program per token."""
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, PLACES)
    there = at < SIZE
    own = tl.load(states + row * SIZE + at, mask=there, other=0.0).to(tl.float32)
    centred = tl.where(there, own - tl.sum(own, 0) / SIZE, 0.0)
    spread = tl.sum(centred * centred, 0) / SIZE
    scaled = centred * tl.rsqrt(spread + epsilon) * tl.load(weight + at, mask=there, other=0.0).to(tl.float32)
    whole = scaled + tl.load(bias + at, mask=there, other=0.0).to(tl.float32)
    tl.store(out + row * SIZE + at, whole.to(out.dtype.element_ty), mask=there)
