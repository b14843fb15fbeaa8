"""The reference path: the questions of one block as one ordinary left-padded batch through transformers' own generate()."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from palpate.models._hf_decode import Chooser, Row, usable
from palpate.models._hf_encode import Encoder

if TYPE_CHECKING:
    from PIL.Image import Image


def answer_plain(encoder: Encoder, chooser: Chooser, rows: Sequence[Row], image: Image | None) -> None:
    """Fills in the rows of one block. Rows of one budget go together, so that no answer runs longer than it may."""
    ordered = sorted(rows, key=lambda row: row.budget)
    for _, same in groupby(ordered, key=lambda row: row.budget):
        _generate(encoder, chooser, list(same), image)


def _generate(encoder: Encoder, chooser: Chooser, rows: list[Row], image: Image | None) -> None:
    import torch
    from transformers import LogitsProcessor, LogitsProcessorList

    loaded = encoder.loaded
    inputs = encoder.batch([row.rendered for row in rows], None if image is None else [image] * len(rows))
    inputs = on_device(inputs, loaded)
    width = inputs["input_ids"].shape[1]
    eos = torch.tensor(sorted(loaded.eos), device=loaded.device)
    first: list[Any] = []

    class Choose(LogitsProcessor):  # type: ignore[misc]
        def __call__(self, input_ids: Any, scores: Any) -> Any:
            step = input_ids.shape[1] - width
            if not first:
                first.append(scores.float())
            over = torch.isin(input_ids[:, width:], eos).any(-1)  # what the padding of a finished row predicts is of no account
            for row, fine in zip(rows, (usable(scores) | over).tolist(), strict=True):
                row.bad = row.bad or not fine
            return chooser.scores(rows, scores, step)

    forget_positions(loaded.model)
    with torch.inference_mode():
        out = loaded.model.generate(
            **inputs, max_new_tokens=rows[0].budget, do_sample=False, logits_processor=LogitsProcessorList([Choose()])
        )
    counts = inputs["attention_mask"].sum(-1).tolist()
    for i, row in enumerate(rows):
        new = out[i, width:].tolist()
        end = next((n for n, token in enumerate(new) if token in loaded.eos), None)
        row.tokens, row.ended = new[:end], end is not None
        row.first_logits, row.tokens_in = first[0][i], counts[i]


def on_device(inputs: dict[str, Any], loaded: Any) -> dict[str, Any]:
    """Tensors on the model's device, images in its number format."""
    moved = {}
    for name, value in inputs.items():
        if hasattr(value, "to"):
            value = value.to(loaded.device)
            value = value.to(loaded.model.dtype) if value.is_floating_point() else value
        moved[name] = value
    return moved


def forget_positions(model: Any) -> None:
    """Qwen-VL keeps the last image's position offset on the module: it must not reach the next question."""
    if hasattr(model.base_model, "rope_deltas"):
        model.base_model.rope_deltas = None
