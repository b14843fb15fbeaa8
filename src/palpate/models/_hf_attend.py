"""Attending a prefix that many questions share without repeating it: memory does not grow with the number of questions.

Attention over prefix and suffix is the sum of two softmaxes weighted by their normalisers, so each may be computed by itself:

    out = Σ_parts exp(lse_part − lse) · out_part,   lse = log Σ_parts exp(lse_part)

The prefix part has one copy of keys and values per image: the questions on it, the query heads of a group and the query positions
are folded into rows of one product. The suffix part is short and has keys of its own for every question. Windows are measured in
positions, not in cache slots, so that padding between prefix and suffix does not count.

Equal to plain attention up to float noise: tested in float32 on the CPU, layer by layer and answer by answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from palpate.models import _hf_kernels
from palpate.models._hf_encode import sent
from palpate.models._hf_kernels import half_on_gpu
from palpate.models._hf_load import Loaded
from palpate.models._hf_room import growing_layer
from palpate.models._hf_step import Step, worth

NAME = "palpate_unrepeated"
"""Under which the function below is registered with transformers."""
SCORES_AT_ONCE = 2**28
"""At most so many attention scores of the prefix are held at a time (1 GiB in float32): more images go one after another."""


class Unrepeated:
    """One copy of every image's keys and values, and what each question adds to them."""

    def __init__(self, loaded: Loaded, prefix: Any, mask: Any, lengths: Sequence[int], owners: Sequence[int]) -> None:
        """``prefix``: the cache after the prefill of B images; ``mask`` (B, L): its real tokens, the last ``lengths`` of each.

        ``owners``: each row's image. Nothing here is asked of the device: it may still be at the prefill.
        """
        import torch
        from transformers import DynamicCache

        _register()
        self.loaded = loaded
        self.layers = [(layer.keys, layer.values) for layer in prefix.layers]
        self.valid = mask.bool()
        self.positions = (mask.cumsum(1) - 1).clamp(min=0)
        self.whole, self.longest = min(lengths) == mask.shape[1], max(lengths)
        self.suffix = DynamicCache()
        self.suffix.layer_class_to_replicate = growing_layer()
        self.device = str(mask.device)
        self.owners = sent(torch.tensor(owners), self.device)
        self._made: dict[tuple[str, int | None], Any] = {}
        self.stays, self.step = False, cast("Step | None", None)
        self.kernels = False  # whether the last pass was attended by kernels of our own
        self.suffix_valid = torch.zeros(len(owners), 0, dtype=torch.bool, device=self.device)
        self.suffix_positions = torch.zeros(len(owners), 0, dtype=torch.long, device=self.device)
        self.starts = torch.zeros(len(owners), dtype=torch.int32, device=self.device)
        self._arrange(owners)

    def extend(self, real: Any) -> Any:
        """``real`` (R, T): which of the tokens about to be run are no padding. Their positions (R, T), counted over real tokens."""
        import torch

        if not self.suffix_valid.shape[1]:
            self.starts = (real.shape[1] - real.sum(1)).int()  # padding is on the left, and there is none later
        seen = self.valid.sum(1)[self.owners] + self.suffix_valid.sum(1)
        positions = (seen[:, None] + real.cumsum(1) - 1).clamp(min=0)
        self.suffix_valid = torch.cat([self.suffix_valid, real.bool()], 1)
        self.suffix_positions = torch.cat([self.suffix_positions, positions], 1)
        self._made.clear()
        return positions

    def forward(self, **inputs: Any) -> Any:
        """A pass of the model over the tokens last announced to ``extend``."""
        with _attending(self):
            if self.stays and self.step is None:
                self.step = Step(self, inputs)
            if self.step is not None:
                return self.step(inputs)
            return self.loaded.model(**self.loaded.keeping(self.suffix), **inputs)

    def steady(self, left: int) -> bool:
        """Whether rows that end from now on stay until half have; ``left``: tokens at most still to come."""
        if self.step is not None and self.suffix_positions.shape[1] >= self.step.capacity:
            self._grow_again()
        if not self.stays:
            self.stays = worth(self, left)
        return self.stays

    def _grow_again(self) -> None:
        if self.step is not None:
            self.step.end()
        self.step, self.stays = None, False

    def end(self) -> None:
        """Let go of what a captured step holds: gigabytes, which the next batch needs."""
        self._grow_again()

    def keep(self, rows: Any) -> None:
        """Only these rows go on. Images nobody asks about any more are dropped once they are half of all."""
        self._grow_again()
        self.owners = self.owners[rows]
        self.suffix_valid, self.suffix_positions = self.suffix_valid[rows], self.suffix_positions[rows]
        self.starts = self.starts[rows]
        for layer in self.suffix.layers:
            layer.batch_select_indices(rows)
        asked = self.owners.unique()
        if 2 * len(asked) <= len(self.valid):
            self.layers = [(keys[asked], values[asked]) for keys, values in self.layers]
            self.valid, self.positions = self.valid[asked], self.positions[asked]
            self.owners = (self.owners[:, None] == asked[None]).int().argmax(1)
        self._arrange(self.owners.tolist())

    def _arrange(self, owners: Sequence[int]) -> None:
        """Where each row goes in a table of images × questions."""
        import torch

        counts: dict[int, int] = {}
        places = []
        for owner in owners:
            places.append((owner, counts.get(owner, 0)))
            counts[owner] = counts.get(owner, 0) + 1
        self.images, self.width = len(self.valid), max(counts.values(), default=1)
        flat = [owner * self.width + nth for owner, nth in places]
        self.full = flat == list(range(self.images * self.width))
        self.places = sent(torch.tensor(flat), self.device)
        rows_of = torch.full((self.images * self.width,), -1, dtype=torch.int32)
        rows_of[flat] = torch.arange(len(flat), dtype=torch.int32)
        self.rows_of = sent(rows_of.view(self.images, self.width), self.device)
        self.begins = (self.valid.shape[1] - self.valid.sum(1)).int()

    # ------------------------------------------------------------ the two parts

    def fold(self, rows: Any) -> Any:
        """(R, …) → (images, questions, …), empty places 0."""
        table = rows
        if not self.full:
            table = rows.new_zeros(self.images * self.width, *rows.shape[1:])
            table[self.places] = rows
        return table.view(self.images, self.width, *rows.shape[1:])

    def unfold(self, table: Any) -> Any:
        """(images, questions, …) → (R, …)."""
        flat = table.reshape(self.images * self.width, *table.shape[2:])
        return flat if self.full else flat[self.places]

    def over_prefix(self, layer: int, query: Any, scale: float, window: int | None, cap: float | None) -> tuple[Any, Any]:
        """query (R, KV, G, T, d) → out (images, KV, W, G, T, d) and lse (images, KV, W, G, T) float32 over the images' keys.

        W: the most rows of an image.
        """
        keys, values = self.layers[layer]
        length = keys.shape[-2]
        _, heads, group, steps, size = query.shape
        allowed = self._once(f"prefix of {length}", window, lambda: self._allowed(length, steps, group, window))
        table, shape = self.fold(query), (self.images, heads, self.width, group, steps)
        if half_on_gpu(query) and cap is None and allowed is None:
            # Where all images have as many rows, these and their tokens are one dimension as they lie in memory: nothing is copied.
            wide = table.permute(0, 2, 3, 1, 4, 5).reshape(self.images, heads * group, self.width * steps, size)
            fused = _hf_kernels.library(wide, keys, values, steps)
            if fused is not None:
                out, lse = fused(scale)
                turned = (self.images, heads, group, self.width, steps)
                return out.view(*turned, size).transpose(2, 3), lse.view(turned).transpose(2, 3)
        rows = table.permute(0, 2, 1, 3, 4, 5).reshape(self.images, heads, self.width * group * steps, size)
        out, lse = _scored(rows, keys, values, scale, cap, allowed)
        return out.view(*shape, size), lse.view(shape)

    def by_row(self, out: Any, lse: Any) -> tuple[Any, Any]:
        """What ``over_prefix`` found, row by row: (R, KV, G, T, d) and (R, KV, G, T)."""
        return self.unfold(out.permute(0, 2, 1, 3, 4, 5)), self.unfold(lse.permute(0, 2, 1, 3, 4))

    def at_once(self, layer: int, query: Any, keys: Any, values: Any, scale: float) -> Any:
        """One new token of every row, query (R, H, 1, d), over prefix and own tokens in one kernel: (R, 1, H, d)."""
        import torch

        slots = self.suffix_valid.shape[1]
        step, device = self.step, query.device
        used = step.used if step else self._once("used", None, lambda: torch.full((1,), slots, dtype=torch.int32, device=device))
        own = keys, values
        return _hf_kernels.decode(query, self.layers[layer], self.begins, own, self.starts, self.rows_of, used, scale)

    def reaches(self, window: int | None) -> bool:
        """Whether every query sees the whole prefix. An upper bound: to ask the device would make every layer wait for it."""
        return window is None or self.longest + self.suffix_positions.shape[1] <= window

    def _allowed(self, length: int, steps: int, group: int, window: int | None) -> Any:
        """(images, 1, 1 or rows, length) which keys a query may see; None where it may see all."""
        reaches = self.reaches(window)
        if reaches and self.whole:
            return None
        valid = self.valid[:, None, None, -length:]
        if reaches:
            return valid
        at, latest = self.positions[:, -length:], self.suffix_positions[:, -steps:]
        query = self.fold(latest)[:, :, None].expand(-1, -1, group, -1).reshape(self.images, 1, -1, 1)
        return valid & (query - at[:, None, None] < window)

    def over_suffix(
        self, query: Any, keys: Any, values: Any, scale: float, window: int | None, cap: float | None
    ) -> tuple[Any, Any]:
        """The same over each row's own keys (R, KV, S, d), causally: (R, KV, G·T, d) and (R, KV, G·T)."""
        rows, heads, group, steps, size = query.shape
        step, folded = self.step, query.reshape(rows, heads, group * steps, size)
        allowed = step.allowed if step else self._once("suffix", window, lambda: self._allowed_suffix(steps, group, window))
        if half_on_gpu(query) and cap is None:
            bias = step.bias if step else self._once("bias", window, lambda: bias_of(allowed, query.dtype))
            return _biased(folded, keys, values, scale, bias)
        return _scored(folded, keys, values, scale, cap, allowed)

    def _allowed_suffix(self, steps: int, group: int, window: int | None) -> Any:
        """(R, 1, rows of a group, S) which of a question's own tokens its queries may see."""
        import torch

        rows, slots = self.suffix_valid.shape
        device = self.suffix_valid.device
        own = torch.arange(slots - steps, slots, device=device)[:, None]
        slot = torch.arange(slots, device=device)[None]
        # A padding token sees itself, so that its softmax is one of something; nobody sees it.
        allowed = ((slot <= own) & self.suffix_valid[:, None]) | (slot == own)
        if window is not None:
            apart = self.suffix_positions[:, -steps:, None] - self.suffix_positions[:, None]
            allowed = allowed & ((apart < window) | (slot == own))
        return allowed[:, None, None].expand(-1, 1, group, -1, -1).reshape(rows, 1, group * steps, slots)

    def _once(self, part: str, window: int | None, make: Callable[[], Any]) -> Any:
        """What is the same for all layers of one pass."""
        key = part, window
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


def _scored(query: Any, keys: Any, values: Any, scale: float, cap: float | None, allowed: Any) -> tuple[Any, Any]:
    """Softmax attention with its normaliser: query (B, H, M, d), keys (B, H, L, d) → (B, H, M, d) and (B, H, M) in float32."""
    import torch

    at_once = max(1, SCORES_AT_ONCE // max(query.shape[1] * query.shape[2] * keys.shape[2], 1))
    parts = []
    for start in range(0, len(query), at_once):
        some = slice(start, start + at_once)
        scores = (query[some] @ keys[some].transpose(-1, -2)).float() * scale
        if cap is not None:
            scores = cap * torch.tanh(scores / cap)
        if allowed is not None:
            scores = scores.masked_fill(~allowed[some], float("-inf"))
        lse = torch.logsumexp(scores, -1)
        # A query that may see nothing here (all beyond its window) has weight 0 in the sum: lse −inf, and no NaN.
        weights = torch.exp(scores - lse.masked_fill(lse == float("-inf"), 0.0)[..., None])
        parts.append(((weights.to(values.dtype) @ values[some]).float(), lse))
    outs, lses = zip(*parts, strict=True)
    return (outs[0], lses[0]) if len(parts) == 1 else (torch.cat(outs), torch.cat(lses))


def bias_of(allowed: Any, dtype: Any) -> Any:
    """0 where a key is seen, −inf where not: (R, 1, M, S), with room behind it, for the kernel reads eight at a time."""
    import torch

    rows, _, queries, slots = allowed.shape
    room = torch.full((rows, 1, queries, -(-slots // 8) * 8), float("-inf"), dtype=dtype, device=allowed.device)
    return room[..., :slots].masked_fill_(allowed, 0.0)


def _biased(query: Any, keys: Any, values: Any, scale: float, bias: Any) -> tuple[Any, Any]:
    """As ``_scored``, in one kernel for half precision on a GPU. Every query sees at least one key."""
    import torch

    wide = bias.expand(-1, query.shape[1], -1, -1)
    out, lse = torch.ops.aten._scaled_dot_product_efficient_attention(query, keys, values, wide, True, scale=scale)[:2]
    return out, lse[..., : query.shape[2]]


def attend(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Any, None]:
    """transformers' attention interface: query (R, H, T, d), key and value (R, KV, S, d) of the suffix → ((R, T, H, d), None)."""
    state = _current[-1]
    rows, heads, steps, size = query.shape
    scale = size**-0.5 if scaling is None else scaling
    kernels = state.kernels = softcap is None and _hf_kernels.usable(query, key.shape[1])
    if kernels and steps == 1 and state.reaches(sliding_window):
        return state.at_once(module.layer_idx, query, key, value, scale), None
    grouped = query.view(rows, key.shape[1], heads // key.shape[1], steps, size)
    prefix = state.over_prefix(module.layer_idx, grouped, scale, sliding_window, softcap)
    if kernels:
        return _hf_kernels.go_on(query, prefix, (key, value), state.starts, state.places, sliding_window, scale), None
    own = state.over_suffix(grouped, key, value, scale, sliding_window, softcap)
    out, lse = state.by_row(*prefix)
    return merged(out, lse, own[0].view(grouped.shape), own[1].view(lse.shape), query), None


def merged(out: Any, lse: Any, other: Any, other_lse: Any, query: Any) -> Any:
    """Two parts (R, KV, G, T, d) of an attention and their normalisers as one (R, T, H, d), in the query's number format."""
    import torch

    whole = torch.logaddexp(lse, other_lse)
    both = out * torch.exp(lse - whole)[..., None] + other * torch.exp(other_lse - whole)[..., None]
    rows, heads, steps, size = query.shape
    return both.reshape(rows, heads, steps, size).transpose(1, 2).to(query.dtype).contiguous()


_current: list[Unrepeated] = []
"""What the attention function attends to; transformers hands it no such thing."""


@contextmanager
def _attending(state: Unrepeated) -> Iterator[None]:
    """The language model's attention is ours while this lasts; the vision tower's stays its own."""
    config = state.loaded.model.config.get_text_config()
    own = config._attn_implementation
    config._attn_implementation = NAME
    _current.append(state)
    try:
        yield
    finally:
        _current.pop()
        config._attn_implementation = own


def _register() -> None:
    """No mask function goes with it: transformers then builds no mask, and ``attend`` knows better what may be seen."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attend)
