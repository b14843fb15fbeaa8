"""Margin and answer mass of a closed answer, from the logits of its first token.

margin = log Σ p(tokens that assert the condition) − log Σ p(tokens that deny it); mass = Σ p(all of them).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from palpate.models._hf_encode import Encoder
from palpate.nouns import Prompt


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
    import math

    import torch

    row = logits.double()
    log_z = torch.logsumexp(row, -1)
    asserted = (torch.logsumexp(row[list(tokens.assert_ids)], -1) - log_z).item()
    denied = (torch.logsumexp(row[list(tokens.deny_ids)], -1) - log_z).item()
    margin = asserted - denied
    return (margin, min(math.exp(asserted) + math.exp(denied), 1.0)) if math.isfinite(margin) else (None, None)
