"""Keys and values written in place: copying them at every token is what a growing cache otherwise spends its time on."""

from __future__ import annotations

from functools import cache
from typing import Any

ROOM = 64
"""Tokens there is room for after a question before its keys and values are copied to a larger place."""


@cache
def growing_layer() -> Any:
    """The class of a transformers cache layer with room behind its keys and values. Made late: transformers is heavy."""
    import torch
    from transformers.cache_utils import DynamicLayer

    class Growing(DynamicLayer):  # type: ignore[misc]
        room: tuple[Any, Any] | None = None
        slot: Any = None  # (1,) where the next token goes, while the places are not to move
        keys: Any
        values: Any

        def update(self, key_states: Any, value_states: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
            if self.slot is not None and self.room is not None:
                for place, new in zip(self.room, (key_states, value_states), strict=True):
                    place.index_copy_(-2, self.slot, new)
                return self.room
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
            before = self.get_seq_length()
            after = before + key_states.shape[-2]
            if self.room is None or self.room[0].shape[-2] < after:
                whole = (key_states, value_states)
                if before:
                    whole = torch.cat([self.keys, key_states], -2), torch.cat([self.values, value_states], -2)
                self.room = with_room(whole[0]), with_room(whole[1])
            else:
                self.room[0][..., before:after, :], self.room[1][..., before:after, :] = key_states, value_states
            self.keys, self.values = self.room[0][..., :after, :], self.room[1][..., :after, :]
            return self.keys, self.values

        def settle(self, length: int) -> None:
            """Grow again, from ``length`` tokens."""
            self.slot = None
            if self.room is not None:
                self.keys, self.values = self.room[0][..., :length, :], self.room[1][..., :length, :]

        def batch_select_indices(self, indices: Any) -> None:
            if self.room is not None:
                length = self.get_seq_length()
                self.room = self.room[0][indices], self.room[1][indices]
                self.keys, self.values = self.room[0][..., :length, :], self.room[1][..., :length, :]

    return Growing


@cache
def kept_layer() -> Any:
    """The class of a cache layer that takes the keys and values of one pass as they are: nothing is added to them later."""
    from transformers.cache_utils import DynamicLayer

    class Kept(DynamicLayer):  # type: ignore[misc]
        keys: Any
        values: Any

        def update(self, key_states: Any, value_states: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states, value_states
            return key_states, value_states

    return Kept


def together(parts: list[Any]) -> Any:
    """States (B, H, T, d) of several passes as one, shorter ones padded with 0 on the left: (Σ B, H, max T, d).

    In memory a token's heads are beside one another, as a projection writes them: copied as they come.
    """
    heads, size = parts[0].shape[1], parts[0].shape[3]
    longest = max(part.shape[2] for part in parts)
    make = parts[0].new_empty if all(part.shape[2] == longest for part in parts) else parts[0].new_zeros
    whole = make(sum(map(len, parts)), longest, heads, size).transpose(1, 2)
    start = 0
    for part in parts:
        whole[start : start + len(part), :, longest - part.shape[2] :] = part
        start += len(part)
    return whole


def with_room(states: Any) -> Any:
    """A copy of keys or values (…, T, d) with ROOM places of 0 behind it (…, T + ROOM, d): what is masked must be a number."""
    made = states.new_zeros(*states.shape[:-2], states.shape[-2] + ROOM, states.shape[-1])
    made[..., : states.shape[-2], :] = states
    return made
