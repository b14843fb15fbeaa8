"""Which token comes next: the same rule for both paths, row by row, so that no row's answer depends on its neighbours.

Drawing with a temperature uses the Gumbel-max rule: argmax(log p + g), g standard Gumbel, is a draw from p. Every row has its own
generator, seeded by its trial, so a draw is the same in any batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from palpate.models._hf_settings import Settings
from palpate.nouns import Block, Trial


@dataclass(slots=True, eq=False)
class Row:
    """One question on its way to an answer. ``budget``: the most new tokens; ``tokens``: the new ones so far, without the end."""

    block: Block
    trial: Trial
    rendered: str
    budget: int
    tokens: list[int] = field(default_factory=list)
    first_logits: Any = None
    tokens_in: int = 0
    ended: bool = False
    bad: bool = False
    generator: Any = None


class Chooser:
    """Greedy, or drawn with temperature and nucleus."""

    def __init__(self, settings: Settings, eos: frozenset[int]) -> None:
        self.settings, self.eos = settings, sorted(eos)
        self._ends: Any = None

    def scores(self, rows: Sequence[Row], logits: Any, step: int) -> Any:
        """(n, vocabulary) logits → scores whose argmax is the next token of each row. ``step`` counts new tokens from 0.

        Of the first token the logits stay as they are, for margins are read off them; later ones may be written into.
        """
        import torch

        settings, scores = self.settings, logits
        if step < settings.min_new_tokens:
            if self._ends is None:  # sent once: whatever is sent waits for all the GPU was given before
                self._ends = torch.tensor([token for token in self.eos if token < scores.shape[-1]], device=scores.device)
            held_back = scores.index_fill if step == 0 else scores.index_fill_
            scores = held_back(-1, self._ends, float("-inf"))
        if settings.temperature == 0:
            return scores
        scores = _nucleus(scores.float() / settings.temperature, settings.top_p)
        noise = torch.stack([self._gumbel(row, scores.shape[-1]) for row in rows])
        return scores + noise.to(scores.device)

    def chosen(self, rows: Sequence[Row], logits: Any, step: int) -> tuple[Any, Any]:
        """The next token of each row, and which rows' logits are ``usable``: (n,) and (n,) bool. Writes as ``scores`` does."""
        import torch

        if self.settings.temperature == 0 and step >= self.settings.min_new_tokens:
            best = logits.max(-1)  # one look at the whole vocabulary; of equals the first, as argmax
            return best.indices, torch.isfinite(best.values)
        sound = usable(logits)
        return self.scores(rows, logits, step).argmax(-1), sound

    def _gumbel(self, row: Row, size: int) -> Any:
        import torch

        if row.generator is None:
            row.generator = torch.Generator().manual_seed(_seed(self.settings.seed, row))
        uniform = torch.rand(size, generator=row.generator, dtype=torch.float64).clamp_min(1e-300)
        return -torch.log(-torch.log(uniform)).float()


def _nucleus(scores: Any, top_p: float) -> Any:
    """Outside the smallest set of tokens with probability ≥ top_p: −inf. The most probable token always stays."""
    if top_p >= 1:
        return scores
    ordered, order = scores.sort(dim=-1, descending=True)
    before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
    cut = (before >= top_p).scatter(-1, order, before >= top_p)
    return scores.masked_fill(cut, float("-inf"))


def _seed(seed: int, row: Row) -> int:
    place = (str(seed), row.block.case.digest, str(row.block.perturbation), row.trial.prompt.text, str(row.trial.repeat))
    return int.from_bytes(hashlib.blake2b("\x1f".join(place).encode(), digest_size=8).digest(), "big") >> 1


def usable(logits: Any) -> Any:
    """(n,) bool: rows whose logits give a distribution. NaN and +inf do not, nor −inf alone; −inf (a token ruled out) does."""
    import torch

    return torch.isfinite(logits.amax(-1))  # the largest is NaN where one is, and tells what log Σ exp would
