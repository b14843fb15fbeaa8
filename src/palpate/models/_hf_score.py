"""Margin and answer mass of a closed answer, from the logits of its first token.

margin = log Σ p(tokens that assert the condition) − log Σ p(tokens that deny it); mass = Σ p(all of them).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from palpate.models._hf_encode import Encoder
from palpate.nouns import Prompt

ROWS_AT_ONCE = 64
"""Rows of logits held in float64 at a time."""


@dataclass(frozen=True, slots=True)
class AnswerTokens:
    """First-token ids of the spellings that assert and of those that deny the condition; disjoint, both non-empty."""

    assert_ids: tuple[int, ...]
    deny_ids: tuple[int, ...]


def answer_tokens(encoder: Encoder, prompt: Prompt, rendered: str) -> AnswerTokens | None:
    """The tokens that start an answer in this place; None for open forms, or where no token tells the sides apart.

    Every spelling is tokenised where it will stand, after the rendered prompt, with and without a leading space: whether a
    checkpoint answers "Yes" or " Yes" depends on its template's last character. A spelling that is one token stands for
    itself. Where a side has none, the first tokens of its longer spellings do, unless they start the other side too.
    """
    spellings = prompt.answer_spellings
    if spellings is None:
        return None
    single, first = zip(*(_tokens(encoder, rendered, side) for side in spellings), strict=True)
    sides = [one or several for one, several in zip(single, first, strict=True)]
    both = sides[0] & sides[1]
    asserts, denies = (tuple(sorted(side - both)) for side in sides)
    return AnswerTokens(asserts, denies) if asserts and denies else None


def _tokens(encoder: Encoder, rendered: str, spellings: Iterable[str]) -> tuple[set[int], set[int]]:
    """(tokens that are a whole spelling, first tokens of the longer ones)."""
    base = encoder.ids(rendered)
    single: set[int] = set()
    first: set[int] = set()
    for spelling in spellings:
        for surface in (spelling, f" {spelling}"):
            whole = encoder.ids(rendered + surface)
            # A tokenizer may merge across the boundary; then the surface cannot follow these prompt tokens.
            added = whole[len(base) :] if whole[: len(base)] == base else []
            if len(added) == 1:
                single.add(added[0])
            elif added and encoder.loaded.tokenizer.decode(added[:1]).strip():
                first.add(added[0])
    return single, first


def margin_and_mass(logits: Any, tokens: AnswerTokens) -> tuple[float | None, float | None]:
    """From one row of logits (vocabulary,). None where a side has no probability at all."""
    return margins_and_masses([logits], [tokens])[0]


def margins_and_masses(logits: Sequence[Any], tokens: Sequence[AnswerTokens | None]) -> list[tuple[float | None, float | None]]:
    """The same for n rows (vocabulary,), (None, None) where there are no tokens: one look at the device for many rows."""
    import torch

    found: list[tuple[float | None, float | None]] = [(None, None)] * len(logits)
    asked = [i for i, one in enumerate(tokens) if one is not None]
    for start in range(0, len(asked), ROWS_AT_ONCE):
        some = asked[start : start + ROWS_AT_ONCE]
        table = torch.stack([logits[i] for i in some]).double()
        own = [one for one in (tokens[i] for i in some) if one is not None]
        sides = (_log_share(table, [one.assert_ids for one in own]), _log_share(table, [one.deny_ids for one in own]))
        log_z = torch.logsumexp(table, -1)
        for i, asserted, denied in zip(some, *(side.sub(log_z).tolist() for side in sides), strict=True):
            margin = asserted - denied
            if math.isfinite(margin):
                found[i] = margin, min(math.exp(asserted) + math.exp(denied), 1.0)
    return found


def _log_share(table: Any, ids: Sequence[tuple[int, ...]]) -> Any:
    """log Σ exp of row i's logits at ids[i]: (n,)."""
    import torch

    widest = max(map(len, ids))
    places = torch.tensor([[*own, *[own[0]] * (widest - len(own))] for own in ids], device=table.device)
    real = torch.tensor([[True] * len(own) + [False] * (widest - len(own)) for own in ids], device=table.device)
    return torch.logsumexp(table.gather(1, places).masked_fill(~real, -math.inf), -1)
