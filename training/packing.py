"""Packed sequences: one image prefix and many independent questions after it, in one forward pass.

Each question sees the prefix and itself, never another question, and its positions restart after the prefix. The loss and
the gradients are those of asking each question alone, at about a quarter of the cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from training.architectures import GEMMA_IMAGE_TOKENS, PATCHES
from training.tokenizer import token_id

IGNORED = -100
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch of packed sequences, each (images, length): token ids, positions, segment (0 prefix, −1 padding), targets."""

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    segments: NDArray[np.int64]
    targets: NDArray[np.int64]


class Packer:
    """Turns questions and answers into packed sequences, exactly as the family's chat template would write them."""

    def __init__(self, family: str, tokenizer: Tokenizer) -> None:
        self.family = family
        self._tokenizer = tokenizer
        self._known: dict[Pair, tuple[list[int], list[int]]] = {}
        if family == "llava":
            self.image_token = token_id(tokenizer, "<image>")
            self.prefix = [token_id(tokenizer, "<s>"), *self._ids("USER: "), *[self.image_token] * PATCHES]
        else:
            self.image_token = token_id(tokenizer, "<image_soft_token>")
            opening = self._ids("<bos><start_of_turn>user\n\n\n<start_of_image>")
            self.prefix = [*opening, *[self.image_token] * GEMMA_IMAGE_TOKENS, *self._ids("<end_of_image>")]

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def pair(self, question: str, answer: str) -> tuple[list[int], list[int]]:
        """Token ids of what follows the image: the question with its turn marks, and the answer with its end mark."""
        key = (question, answer)
        if key not in self._known:
            if self.family == "llava":
                ids = self._ids(f"\n{question} ASSISTANT:"), self._ids(f" {answer}</s>")
            else:
                ids = self._ids(f"\n\n{question.strip()}<end_of_turn>\n<start_of_turn>model\n"), self._ids(f"{answer}<end_of_turn>")
            self._known[key] = ids
        return self._known[key]

    def pack(self, conversations: Sequence[Sequence[Pair]]) -> Packed:
        """One row per image. Targets are the next tokens, and only within answers."""
        rows = [self._row(pairs) for pairs in conversations]
        length = -(-max(len(row[0]) for row in rows) // 64) * 64  # few distinct lengths keep the allocator calm
        shape = (len(rows), length)
        batch = Packed(np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.full(shape, -1), np.full(shape, IGNORED))
        for i, columns in enumerate(rows):
            for array, values in zip((batch.ids, batch.positions, batch.segments, batch.targets), columns, strict=True):
                array[i, : len(values)] = values
        return batch

    def _row(self, pairs: Sequence[Pair]) -> tuple[list[int], list[int], list[int], list[int]]:
        start = len(self.prefix)
        ids, positions, segments, targets = list(self.prefix), list(range(start)), [0] * start, [IGNORED] * start
        for number, (question, answer) in enumerate(pairs, start=1):
            asked, said = self.pair(question, answer)
            whole = asked + said
            ids += whole
            positions += range(start, start + len(whole))
            segments += [number] * len(whole)
            targets += [IGNORED] * (len(asked) - 1) + said + [IGNORED]
        return ids, positions, segments, targets


def block_mask(segments: Tensor, image_tokens: Tensor | None) -> Tensor:
    """(images, 1, length, length), True where a token may look: earlier ones of its own segment or of the prefix.

    ``image_tokens`` marks tokens that see one another both ways (Gemma 3's image tokens), or None.
    """
    length = segments.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    allowed = causal & ((segments[:, None, :] == segments[:, :, None]) | (segments[:, None, :] == 0))
    if image_tokens is not None:
        allowed |= image_tokens[:, :, None] & image_tokens[:, None, :]
    allowed |= torch.eye(length, dtype=torch.bool, device=segments.device)  # a padding row must see something
    return allowed[:, None]


def answer_logits(model: Any, packer: Packer, pixels: Tensor, packed: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Logits at every answer token, and the tokens that should have come: (tokens, vocabulary) and (tokens,)."""
    features = model.model.get_image_features(pixels).pooler_output
    features = torch.cat(list(features), 0) if isinstance(features, list | tuple) else features
    ids = packed["ids"]
    embedded = model.get_input_embeddings()(ids)
    is_image = ids == packer.image_token
    features = features.reshape(-1, features.shape[-1]).to(embedded.dtype)
    embedded = embedded.masked_scatter(is_image[..., None].expand_as(embedded), features)
    mask: Any = block_mask(packed["segments"], is_image if packer.family == "gemma" else None)
    if packer.family == "gemma":
        mask = {"full_attention": mask, "sliding_attention": mask}
    hidden = model.model.language_model(
        inputs_embeds=embedded, attention_mask=mask, position_ids=packed["positions"], use_cache=False
    ).last_hidden_state
    wanted = packed["targets"] != IGNORED
    return model.lm_head(hidden[wanted]).float(), packed["targets"][wanted]
