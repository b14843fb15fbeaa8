"""The fast path: an image's tokens go through the model once, and all its questions continue from there.

Questions without an image share their beginning the same way: a description and what is asked of it, or a judge's instructions.

The token ids of all questions on one image share a beginning that covers the image. That beginning is run once (one batch
for several images, padded on the left). Its keys and values are repeated for every question, or attended as they are
(``_hf_attend``), and the rest of each question is appended, padded between beginning and rest. Positions count the tokens that
are not padding, so padding changes nothing; only where a sliding window counts cache slots instead are questions grouped by
length. Exact in float32 up to float noise for decoders whose image tokens do not attend to the text after them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol

from palpate.models._hf_ahead import Ahead
from palpate.models._hf_attend import Unrepeated
from palpate.models._hf_decode import Chooser, Row
from palpate.models._hf_encode import PER_TOKEN, Encoder, Shared, forget_positions, on_device, sent
from palpate.models._hf_features import Watch, image_token
from palpate.models._hf_last import keys_and_values_alone
from palpate.models._hf_load import Loaded
from palpate.models._hf_places import places_known
from palpate.models._hf_room import kept_layer, together

if TYPE_CHECKING:
    from PIL.Image import Image


def answer_shared(
    encoder: Encoder,
    chooser: Chooser,
    rows: Sequence[Sequence[Row]],
    images: Sequence[Image] | None,
    watch: Watch | None = None,
    ahead: Ahead | None = None,
) -> bool:
    """Fills in the rows of all images. False, with no row touched, where this model's questions cannot share their beginning.

    ``images`` None: questions without an image; each sequence of rows shares a beginning. ``watch``: keeps the inner states of
    these passes, of one image. ``ahead``: prepares the images of a batch in parts, while the model is at work on others.
    """
    import torch

    if images is not None and not hasattr(encoder.loaded.processor, "get_text_with_replacements"):
        return False  # an older transformers, which cannot tell how long an image's placeholder becomes
    questions = [[row.rendered for row in own] for own in rows]
    several = ahead is not None and images is not None and encoder.loaded.unrepeated and watch is None
    begun: list[Begun] = []
    ids: list[list[list[int]]] = []
    for shared in ahead.parts(questions, images) if several else [encoder.shared(questions, images)]:  # type: ignore[union-attr, arg-type]
        lengths = [_common(own) for own in shared.ids]
        if not _sound(encoder.loaded, shared, lengths):
            return False
        by_length = _window_is_short(encoder.loaded, shared, lengths, rows)
        if len(rows) > 1 and by_length:
            apart = [None] * len(rows) if images is None else [[image] for image in images]
            return all(answer_shared(encoder, chooser, [own], one) for own, one in zip(rows, apart, strict=True))
        with torch.inference_mode():
            begun.append(_prefill(encoder.loaded, shared, lengths, watch))
        ids += shared.ids
    with torch.inference_mode():
        _continue(encoder.loaded, chooser, list(_groups(rows, ids, by_length=by_length)), _joined(begun), watch)
    return True


def _continue(loaded: Loaded, chooser: Chooser, groups: Sequence[list[Numbered]], begun: Begun, watch: Watch | None) -> None:
    """Every group's questions to their end, from the beginnings they share."""
    import torch

    for number, group in enumerate(groups):
        owners = [b for b, _, _ in group]
        if loaded.unrepeated:
            state: Continued = Unrepeated(loaded, begun.cache, begun.mask, begun.lengths, owners)
        else:
            cache = begun.cache if number == len(groups) - 1 else copy.deepcopy(begun.cache)
            state = Repeated(loaded, cache, begun.mask, owners)
        shift = None if begun.shift is None else begun.shift[sent(torch.tensor(owners), loaded.device)]
        try:
            _decode(chooser, group, state, shift, begun.lengths, watch)
        finally:
            state.end()


@dataclass(slots=True)
class Begun:
    """B beginnings after their pass: keys and values, mask (B, L) of real tokens, position shift (B, 1) or None, their lengths."""

    cache: Any
    mask: Any
    shift: Any
    lengths: list[int]


def _joined(parts: list[Begun]) -> Begun:
    """The parts as one, shorter ones padded on the left. Each part's keys and values are let go as soon as they are copied."""
    import torch
    from torch.nn.functional import pad

    if len(parts) == 1:
        return parts[0]
    first = parts[0].cache
    for number, layer in enumerate(first.layers):
        own = [part.cache.layers[number] for part in parts]
        keys, values = together([one.keys for one in own]), together([one.values for one in own])
        for one in own:
            one.keys = one.values = None
        layer.keys, layer.values = keys, values
    width = max(part.mask.shape[1] for part in parts)
    mask = torch.cat([pad(part.mask, (width - part.mask.shape[1], 0)) for part in parts])
    shifts = [part.shift for part in parts]
    return Begun(first, mask, None if shifts[0] is None else torch.cat(shifts), [n for part in parts for n in part.lengths])


def _common(ids: Sequence[Sequence[int]]) -> int:
    """Length of the longest beginning common to all; at least one token is left for every question to run."""
    shortest = min(map(len, ids))
    same = next((i for i in range(shortest) if len({one[i] for one in ids}) > 1), shortest)
    return min(same, shortest - 1)


def _sound(loaded: Loaded, shared: Shared, lengths: Sequence[int]) -> bool:
    """There is a beginning, the image lies wholly in it, and our ids of the first question are the processor's own."""
    placeholder = image_token(loaded)
    if (placeholder is None and not loaded.causal) or min(lengths) < 1:
        return False
    if any(placeholder in one[n:] for ids, n in zip(shared.ids, lengths, strict=True) for one in ids):
        return False
    given, mask = shared.inputs["input_ids"].tolist(), shared.inputs["attention_mask"].tolist()
    firsts = [[token for token, real in zip(*pair, strict=True) if real] for pair in zip(given, mask, strict=True)]
    left_padded = all(one[-1] for one in mask)
    return left_padded and firsts == [ids[0] for ids in shared.ids]


def _window_is_short(loaded: Loaded, shared: Shared, lengths: Sequence[int], rows: Sequence[Sequence[Row]]) -> bool:
    """True where some layer's sliding window would count padding between beginning and rest."""
    from transformers import DynamicCache

    if loaded.unrepeated:
        return False  # windows are then measured in positions
    if not any(DynamicCache(config=loaded.model.config).is_sliding):
        return False
    rest = max(len(one) - n for ids, n in zip(shared.ids, lengths, strict=True) for one in ids)
    slots = max(lengths) + rest + max(row.budget for own in rows for row in own)
    return bool(slots > loaded.model.config.get_text_config().sliding_window)


def _prefill(loaded: Loaded, shared: Shared, lengths: list[int], watch: Watch | None) -> Begun:
    """The beginnings' pass."""
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
    placeholder = image_token(loaded)
    count = 0 if placeholder is None else int((inputs["input_ids"] == placeholder).sum())
    forget_positions(loaded.model)
    grid = hasattr(loaded.model.base_model, "rope_deltas")
    own_positions = grid and not inputs.keys() <= PER_TOKEN  # it works them out from the image
    if not own_positions:
        counted = (mask.cumsum(1) - 1).clamp(min=0)
        inputs["position_ids"] = _in_space(counted, torch.zeros(len(lengths), 1, dtype=torch.long) if grid else None)
    inputs = on_device(inputs, loaded)
    real = inputs["attention_mask"]
    if loaded.unrepeated and not own_positions and min(lengths) == width:
        inputs["attention_mask"] = None  # all are real; to find out would be to ask the device
    cache = DynamicCache() if loaded.unrepeated else DynamicCache(config=loaded.model.config)
    if loaded.unrepeated:
        cache.layer_class_to_replicate = kept_layer()
    given = inputs if watch is None else watch.vision(inputs) | {"output_hidden_states": True}
    with places_known(loaded.model.base_model, placeholder, count), _kept(loaded, watch):
        out = loaded.model(**given, **loaded.keeping(cache), logits_to_keep=1)
    if watch is not None:
        watch.image(out.hidden_states, inputs["input_ids"])
    shift = loaded.model.base_model.rope_deltas if own_positions else mask.new_zeros(len(lengths), 1) if grid else None
    shift = None if shift is None else shift.to(loaded.device)
    return Begun(cache, real, shift, lengths)


def _kept(loaded: Loaded, watch: Watch | None) -> AbstractContextManager[None]:
    """Of the beginnings' pass: keys and values alone, but where its inner states are watched."""
    return keys_and_values_alone(loaded.model) if watch is None else nullcontext()


def _in_space(counted: Any, shift: Any) -> Any:
    """Positions (n, T); for Qwen-VL (``shift`` given) (3, n, T), one each for time, height and width, equal for text."""
    return counted if shift is None else (counted + shift)[None].expand(3, -1, -1)


Numbered = tuple[int, Row, list[int]]  # which image, the row, its token ids


def _groups(rows: Sequence[Sequence[Row]], ids: Sequence[Sequence[list[int]]], *, by_length: bool) -> Iterator[list[Numbered]]:
    """All rows together or, ``by_length``, those of one length together."""
    numbered = [(b, row, one) for b, own in enumerate(rows) for row, one in zip(own, ids[b], strict=True)]
    if not by_length:
        yield numbered
        return
    for _, same in groupby(sorted(numbered, key=lambda one: len(one[2])), key=lambda one: len(one[2])):
        yield list(same)


class Continued(Protocol):
    """What every question adds to the beginning it shares."""

    @property
    def loaded(self) -> Loaded:
        """The model that continues."""
        ...

    def extend(self, real: Any) -> Any:
        """Announce tokens, ``real`` (n, T) where they are no padding; their positions (n, T)."""
        ...

    def forward(self, **inputs: Any) -> Any:
        """Run the tokens announced last."""
        ...

    def steady(self, left: int) -> bool:
        """Whether rows that end from now on stay until half have."""
        ...

    def keep(self, rows: Any) -> None:
        """Only these rows go on."""
        ...

    def end(self) -> None:
        """Let go of what only the next step would have needed."""
        ...


class Repeated:
    """The beginning's keys and values repeated for every question: transformers' own attention, whatever it is."""

    def __init__(self, loaded: Loaded, cache: Any, mask: Any, owners: Sequence[int]) -> None:
        import torch

        which = torch.tensor(owners, device=mask.device)
        cache.reorder_cache(which)
        self.loaded, self.cache, self.mask = loaded, cache, mask[which]

    def extend(self, real: Any) -> Any:
        """Positions count real tokens."""
        import torch

        self.mask = torch.cat([self.mask, real], 1)
        return (self.mask.cumsum(1) - 1).clamp(min=0)[:, -real.shape[1] :]

    def forward(self, **inputs: Any) -> Any:
        """With the mask over beginning, padding and rest."""
        return self.loaded.model(attention_mask=self.mask, **self.loaded.keeping(self.cache), **inputs)

    def steady(self, left: int) -> bool:
        """Never: whoever has ended leaves."""
        return False

    def keep(self, rows: Any) -> None:
        """Drops the others' keys and values."""
        self.cache.reorder_cache(rows)
        self.mask = self.mask[rows]

    def end(self) -> None:
        """Nothing is held but what goes with it."""


def _decode(
    chooser: Chooser, group: list[Numbered], state: Continued, shift: Any, lengths: Sequence[int], watch: Watch | None
) -> None:
    """Every question's rest in one pass, then token by token; a row that has ended leaves the batch, at once or with half of it."""
    import torch

    loaded = state.loaded
    rests = [ids[lengths[b] :] for b, _, ids in group]
    longest = max(map(len, rests))
    padded = [[loaded.pad] * (longest - len(rest)) + rest for rest in rests]
    tokens = sent(torch.tensor(padded), loaded.device)
    real = sent((torch.arange(longest) >= longest - torch.tensor([[len(rest)] for rest in rests])).long(), loaded.device)
    active = [row for _, row, _ in group]
    for _, row, ids in group:
        row.tokens_in = len(ids)
    budget = max(row.budget for row in active)
    kept, waiting = list(range(len(active))), None
    for step in range(budget):
        steady = step > 0 and state.steady(budget - step)
        positions = _in_space(state.extend(real), shift)
        watched = {"output_hidden_states": True} if watch is not None and step == 0 else {}
        out = state.forward(input_ids=tokens, position_ids=positions, logits_to_keep=1, **watched)
        if watch is not None and step == 0:
            watch.questions(out.hidden_states, active)
        chosen = Chosen(chooser, active, out.logits[:, -1], step)
        kept = kept if waiting is None else _advance(loaded, active, waiting)
        waiting = chosen if steady and 2 * len(kept) > len(active) else None
        tokens = chosen.tokens[:, None]
        if waiting is None:
            kept = _advance(loaded, active, chosen) if kept else kept
            if not kept:
                return
            if len(kept) < len(active):
                stay = sent(torch.tensor(kept), loaded.device)
                state.keep(stay)
                tokens = tokens[stay]
                shift = None if shift is None else shift[stay]
                active = [active[i] for i in kept]
                kept = list(range(len(active)))
        real = torch.ones_like(tokens)
    if waiting is not None:
        _advance(loaded, active, waiting)


class Chosen:
    """The next token of every row, on its way to the host: a steady batch goes on meanwhile, for it needs no word from there."""

    def __init__(self, chooser: Chooser, rows: Sequence[Row], logits: Any, step: int) -> None:
        """``logits`` (n, vocabulary). ``tokens`` (n,) stay on the device."""
        import torch

        if step == 0:
            for row, own in zip(rows, logits.float().unbind(), strict=True):
                row.first_logits = own
        self.tokens, sound = chooser.chosen(rows, logits, step)
        both = torch.stack([self.tokens, sound])
        self._there: Any = None
        self._told = both
        if both.is_cuda:
            self._told = torch.empty(both.shape, dtype=both.dtype, pin_memory=True).copy_(both, non_blocking=True)
            self._there = torch.cuda.Event()
            self._there.record()

    def read(self) -> list[list[int]]:
        """[every row's token, whether its logits are usable]."""
        if self._there is not None:
            self._there.synchronize()
        told: list[list[int]] = self._told.tolist()
        return told


def _advance(loaded: Loaded, active: Sequence[Row], chosen: Chosen) -> list[int]:
    """Every row's next token into its answer; the rows that go on."""
    kept = []
    for i, (row, token, sound) in enumerate(zip(active, *chosen.read(), strict=True)):
        if row.ended or row.bad or len(row.tokens) >= row.budget:
            continue  # it stays only for the batch's shape
        row.bad = not sound
        row.ended = bool(sound) and token in loaded.eos
        if row.bad or row.ended:
            continue
        row.tokens.append(token)
        if len(row.tokens) < row.budget:
            kept.append(i)
    return kept
