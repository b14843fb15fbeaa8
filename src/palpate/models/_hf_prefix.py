"""The fast path: an image's tokens go through the model once, and all its questions continue from there.

Questions without an image share their beginning the same way: a description and what is asked of it, or a judge's instructions.

The token ids of all questions on one image share a beginning that covers the image. That beginning is run once (one batch
for several images, padded on the left), its keys and values are repeated for every question, and the rest of each question is
appended, padded between beginning and rest. Positions count the tokens that are not padding, so padding changes nothing;
only where a sliding window counts cache slots instead are questions grouped by length. Exact in float32 up to float noise for
decoders whose image tokens do not attend to the text after them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from palpate.models._hf_decode import Chooser, Row, usable
from palpate.models._hf_encode import Encoder, Shared
from palpate.models._hf_load import Loaded
from palpate.models._hf_plain import forget_positions, on_device

if TYPE_CHECKING:
    from PIL.Image import Image

PER_TOKEN = {"input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"}
"""Inputs with one value per token; all others belong to the images."""


def answer_shared(encoder: Encoder, chooser: Chooser, rows: Sequence[Sequence[Row]], images: Sequence[Image] | None) -> bool:
    """Fills in the rows of all images. False, with no row touched, where this model's questions cannot share their beginning.

    ``images`` None: questions without an image; each sequence of rows shares a beginning.
    """
    import torch

    if images is not None and not hasattr(encoder.loaded.processor, "get_text_with_replacements"):
        return False  # an older transformers, which cannot tell how long an image's placeholder becomes
    shared = encoder.shared([[row.rendered for row in own] for own in rows], images)
    lengths = [_common(ids) for ids in shared.ids]
    if not _sound(encoder.loaded, shared, lengths):
        return False
    if len(rows) > 1 and _window_is_short(encoder.loaded, shared, lengths, rows):
        apart = [None] * len(rows) if images is None else [[image] for image in images]
        return all(answer_shared(encoder, chooser, [own], one) for own, one in zip(rows, apart, strict=True))
    with torch.inference_mode():
        cache, mask, shift = _prefill(encoder.loaded, shared, lengths)
        grouped = _window_is_short(encoder.loaded, shared, lengths, rows)
        groups = list(_groups(rows, shared, by_length=grouped))
        for number, group in enumerate(groups):
            own_cache = cache if number == len(groups) - 1 else copy.deepcopy(cache)
            _decode(encoder.loaded, chooser, group, own_cache, (mask, shift, lengths))
    return True


def _common(ids: Sequence[Sequence[int]]) -> int:
    """Length of the longest beginning common to all; at least one token is left for every question to run."""
    shortest = min(map(len, ids))
    same = next((i for i in range(shortest) if len({one[i] for one in ids}) > 1), shortest)
    return min(same, shortest - 1)


def _sound(loaded: Loaded, shared: Shared, lengths: Sequence[int]) -> bool:
    """There is a beginning, the image lies wholly in it, and our ids of the first question are the processor's own."""
    config = loaded.model.config
    image_token = getattr(config, "image_token_id", getattr(config, "image_token_index", None))
    if (image_token is None and not loaded.causal) or min(lengths) < 1:
        return False
    if any(image_token in one[n:] for ids, n in zip(shared.ids, lengths, strict=True) for one in ids):
        return False
    given, mask = shared.inputs["input_ids"].tolist(), shared.inputs["attention_mask"].tolist()
    firsts = [[token for token, real in zip(*pair, strict=True) if real] for pair in zip(given, mask, strict=True)]
    left_padded = all(one[-1] for one in mask)
    return left_padded and firsts == [ids[0] for ids in shared.ids]


def _window_is_short(loaded: Loaded, shared: Shared, lengths: Sequence[int], rows: Sequence[Sequence[Row]]) -> bool:
    """True where some layer's sliding window would count padding between beginning and rest."""
    from transformers import DynamicCache

    if not any(DynamicCache(config=loaded.model.config).is_sliding):
        return False
    rest = max(len(one) - n for ids, n in zip(shared.ids, lengths, strict=True) for one in ids)
    slots = max(lengths) + rest + max(row.budget for own in rows for row in own)
    return bool(slots > loaded.model.config.get_text_config().sliding_window)


def _prefill(loaded: Loaded, shared: Shared, lengths: Sequence[int]) -> tuple[Any, Any, Any]:
    """(keys and values, mask (B, longest beginning), position shift (B, 1) or None) after the beginnings."""
    import torch
    from transformers import DynamicCache

    width, total = max(lengths), shared.inputs["input_ids"].shape[1]
    inputs = {}
    mask = torch.zeros(len(lengths), width, dtype=torch.long)
    for b, length in enumerate(lengths):
        mask[b, width - length :] = 1
    for name, value in shared.inputs.items():
        inputs[name] = value
        if name in PER_TOKEN:
            inputs[name] = torch.zeros(len(lengths), width, dtype=value.dtype)
            for b, length in enumerate(lengths):
                start = total - len(shared.ids[b][0])
                inputs[name][b, width - length :] = value[b, start : start + length]
    inputs["attention_mask"] = mask
    forget_positions(loaded.model)
    grid = hasattr(loaded.model.base_model, "rope_deltas")
    own_positions = grid and not inputs.keys() <= PER_TOKEN  # it works them out from the image
    if not own_positions:
        inputs["position_ids"] = _positions(mask, width, torch.zeros(len(lengths), 1, dtype=torch.long) if grid else None)
    inputs = on_device(inputs, loaded)
    cache = DynamicCache(config=loaded.model.config)
    loaded.model(**inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
    shift = loaded.model.base_model.rope_deltas if own_positions else mask.new_zeros(len(lengths), 1) if grid else None
    return cache, inputs["attention_mask"], shift


def _positions(mask: Any, width: int, shift: Any) -> Any:
    """Of the last ``width`` tokens, (n, width): how many real tokens stand before each. Qwen-VL (``shift`` given): (3, n, width),
    one each for time, height and width, equal for text."""
    counted = (mask.cumsum(1) - 1).clamp(min=0)[:, -width:]
    return counted if shift is None else (counted + shift)[None].expand(3, -1, -1)


Numbered = tuple[int, Row, list[int]]  # which image, the row, its token ids


def _groups(rows: Sequence[Sequence[Row]], shared: Shared, *, by_length: bool) -> Iterator[list[Numbered]]:
    """All rows together or, ``by_length``, those of one length together."""
    numbered = [(b, row, ids) for b, own in enumerate(rows) for row, ids in zip(own, shared.ids[b], strict=True)]
    if not by_length:
        yield numbered
        return
    for _, same in groupby(sorted(numbered, key=lambda one: len(one[2])), key=lambda one: len(one[2])):
        yield list(same)


def _decode(loaded: Loaded, chooser: Chooser, group: list[Numbered], cache: Any, prefix: tuple[Any, Any, Sequence[int]]) -> None:
    """Every question's rest in one pass, then token by token; a row that has ended leaves the batch."""
    import torch

    mask, shift, lengths = prefix
    device = loaded.device
    which = torch.tensor([b for b, _, _ in group], device=device)
    rests = [ids[lengths[b] :] for b, _, ids in group]
    tokens = torch.full((len(group), max(map(len, rests))), loaded.pad)
    real = torch.zeros_like(tokens)
    for i, rest in enumerate(rests):
        tokens[i, -len(rest) :] = torch.tensor(rest)
        real[i, -len(rest) :] = 1
    cache.reorder_cache(which)
    tokens, mask = tokens.to(device), torch.cat([mask[which], real.to(device)], 1)
    shift = None if shift is None else shift.to(device)[which]
    active = [row for _, row, _ in group]
    for _, row, ids in group:
        row.tokens_in = len(ids)
    for step in range(max(row.budget for row in active)):
        positions = _positions(mask, tokens.shape[1], shift)
        out = loaded.model(
            input_ids=tokens, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1
        )
        kept, chosen = _advance(loaded, chooser, active, out.logits[:, -1], step)
        if not kept:
            return
        if len(kept) < len(active):
            stay = torch.tensor(kept, device=device)
            cache.reorder_cache(stay)
            mask, chosen = mask[stay], chosen[stay]
            shift = None if shift is None else shift[stay]
            active = [active[i] for i in kept]
        tokens = chosen[:, None]
        mask = torch.cat([mask, mask.new_ones(len(active), 1)], 1)


def _advance(loaded: Loaded, chooser: Chooser, active: Sequence[Row], logits: Any, step: int) -> tuple[list[int], Any]:
    """(rows that go on, the chosen token of every row)."""
    if step == 0:
        firsts = logits.float()
        for i, row in enumerate(active):
            row.first_logits = firsts[i]
    chosen = chooser.scores(active, logits, step).argmax(-1)
    kept = []
    for i, (row, token, fine) in enumerate(zip(active, chosen.tolist(), usable(logits).tolist(), strict=True)):
        row.bad = not fine
        row.ended = fine and token in loaded.eos
        if row.bad or row.ended:
            continue
        row.tokens.append(token)
        if len(row.tokens) < row.budget:
            kept.append(i)
    return kept, chosen
