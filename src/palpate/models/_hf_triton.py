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


@triton.jit(do_not_specialize=["width", "steps", "slots", "window"])
def own_kernel(
    query, keys, values, part, lse, places, starts, whole,
    scale, width, steps, slots, window,
    query_row, query_head, query_step,
    keys_row, keys_head, keys_slot, values_row, values_head, values_slot,
    part_image, part_head, part_nth, part_group, part_step, lse_image, lse_head, lse_nth, lse_group, lse_step,
    KV: tl.constexpr, GROUP: tl.constexpr, SIZE: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """``_hf_kernels.go_on``: a program per row and key-value head, and per QUERIES of its queries."""
    row = (tl.program_id(0) // KV).to(tl.int64)
    head = tl.program_id(0) % KV
    at_once: tl.constexpr = QUERIES // GROUP
    first = tl.program_id(1) * at_once
    order = tl.arange(0, QUERIES)
    step, group = first + order // GROUP, order % GROUP
    there = (order < at_once * GROUP) & (step < steps)
    size = tl.arange(0, SIZE)
    at = query + row * query_row + ((head * GROUP + group) * query_head + step * query_step)[:, None] + size[None, :]
    asked = tl.load(at, mask=there[:, None], other=0.0)

    place = tl.load(places + row).to(tl.int64)
    image, nth = place // width, place % width
    at = lse + image * lse_image + head * lse_head + nth * lse_nth + group * lse_group + step * lse_step
    so_far = tl.load(at, mask=there, other=0.0)
    at = part + image * part_image + head * part_head + nth * part_nth
    at += (group * part_group + step * part_step)[:, None] + size[None, :]
    found = tl.load(at, mask=there[:, None], other=0.0).to(tl.float32)
    total = tl.where(so_far == float("-inf"), 0.0, 1.0)
    most = tl.maximum(so_far * 1.4426950408889634, -1e30)  # finite, or a block of which nothing is seen would give NaN

    own = slots - steps + step
    start = tl.load(starts + row)
    last = tl.minimum(slots - steps + first + at_once, slots)
    key_at = keys + row * keys_row + head * keys_head
    value_at = values + row * values_row + head * values_head
    for block in range(0, last, KEYS):
        slot = block + tl.arange(0, KEYS)
        inside = slot < last
        key = tl.load(key_at + slot[None, :] * keys_slot + size[:, None], mask=inside[None, :], other=0.0)
        value = tl.load(value_at + slot[:, None] * values_slot + size[None, :], mask=inside[:, None], other=0.0)
        apart = own[:, None] - slot[None, :]
        # A padding token sees itself: its softmax is of something, and its state a number.
        allowed = ((apart >= 0) & (apart < window) & (slot >= start)[None, :]) | (apart == 0)
        most, total, found = seen(tl.dot(asked, key) * scale, allowed & inside[None, :], value, most, total, found)
    at = whole + (((row * steps + step) * KV + head) * GROUP + group)[:, None] * SIZE + size[None, :]
    tl.store(at, (found / total[:, None]).to(whole.dtype.element_ty), mask=there[:, None])


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
