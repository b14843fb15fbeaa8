"""The reference path: questions through transformers' own generate(), alone or as one ordinary left-padded batch.

In a batch about one image the vision tower runs once where the model takes its output in place of pixels: also where the image
attends to the question (PaliGemma), or stands after it, and its keys and values cannot be shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from palpate.models._hf_decode import Chooser, Row, usable
from palpate.models._hf_encode import Encoder, forget_positions, on_device
from palpate.models._hf_features import repeated, see, seen

if TYPE_CHECKING:
    from PIL.Image import Image


def answer_plain(encoder: Encoder, chooser: Chooser, rows: Sequence[Row], image: Image | None, *, tower_once: bool = False) -> None:
    """Fills in the rows of one block. Rows of one budget go together, so that no answer runs longer than it may.

    ``tower_once``: the vision tower's output is shared by all rows; without it every row's image goes through the tower.
    """
    ordered = sorted(rows, key=lambda row: row.budget)
    for _, same in groupby(ordered, key=lambda row: row.budget):
        _generate(encoder, chooser, list(same), image, tower_once=tower_once)


def answer_single(encoder: Encoder, chooser: Chooser, rows: Sequence[Row], image: Image | None) -> None:
    """Every row by itself: no padding, nothing shared. What is certain for any architecture."""
    for row in rows:
        _generate(encoder, chooser, [row], image, tower_once=False)


def _generate(encoder: Encoder, chooser: Chooser, rows: list[Row], image: Image | None, *, tower_once: bool) -> None:
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

    counts = inputs["attention_mask"].sum(-1).tolist()
    forget_positions(loaded.model)
    with torch.inference_mode():
        if tower_once and image is not None and len(rows) > 1:
            one = on_device(encoder.batch([rows[0].rendered], [image]), loaded)
            inputs = seen(loaded, inputs, repeated(see(loaded, one, layers=False), len(rows)))
        out = loaded.model.generate(
            **inputs, max_new_tokens=rows[0].budget, do_sample=False, logits_processor=LogitsProcessorList([Choose()])
        )
    for i, row in enumerate(rows):
        new = out[i, width:].tolist()
        end = next((n for n, token in enumerate(new) if token in loaded.eos), None)
        row.tokens, row.ended = new[:end], end is not None
        row.first_logits, row.tokens_in = first[0][i], counts[i]
