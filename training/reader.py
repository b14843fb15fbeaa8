"""Trains the reader: a small text-only Llama that reads a description and says whether it asserts the condition."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from training.architectures import build, parameter_count, tokenizer_for
from training.packing import IGNORED
from training.provenance import provenance
from training.recipe import Recipe
from training.reports import reader_example
from training.saving import READER, save
from training.schedule import optimizer, step_with

NAME = "phantom-reader"


def train_reader(recipe: Recipe, out: Path, seed: int, device: str) -> None:
    """Train, save and measure. Writes the folder and ``out``/logs/reader.json."""
    torch.manual_seed(seed)
    start = time.time()
    tokenizer = tokenizer_for("llava", seed)
    model = build(READER, tokenizer).to(device)
    ids, targets = examples(tokenizer, recipe.reader_examples, seed, "train")
    rows = np.random.default_rng(seed)
    params = list(model.parameters())
    steering = optimizer([(params, 2e-3)], recipe.reader_steps)
    log: list[dict[str, Any]] = []
    fresh = examples(tokenizer, min(4000, recipe.reader_examples), seed + 1, "validation")
    for step in range(1, recipe.reader_steps + 1):
        picked = torch.from_numpy(rows.integers(len(ids), size=recipe.batch))
        with torch.autocast(device, torch.bfloat16):
            loss = loss_of(model, ids[picked].to(device), targets[picked].to(device))[0]
        step_with(steering, loss, params)
        if step % recipe.log_every == 0 or step == recipe.reader_steps:
            log.append({"stage": NAME, "step": step, "loss": loss.item(), "accuracy": accuracy(model, fresh, device)})
            print(NAME, log[-1], flush=True)
    save(model, READER, tokenizer, out / NAME)
    test = accuracy(model, examples(tokenizer, min(8000, recipe.reader_examples), seed + 2, "test"), device)
    figures = {"accuracy_fresh_reports": test, "n": min(8000, recipe.reader_examples)}
    summary = {"family": READER, "names": [NAME], "parameters": parameter_count(model), "seconds": round(time.time() - start, 1)}
    (out / "logs").mkdir(parents=True, exist_ok=True)
    (out / "logs" / "reader.json").write_text(
        json.dumps(summary | {"training": provenance(device, seed, recipe), "log": log, "figures": figures}), encoding="utf-8"
    )


def examples(tokenizer: Tokenizer, count: int, seed: int, split: str) -> tuple[Tensor, Tensor]:
    """Token ids and next-token targets, each (count, length), padded on the right; targets only within the answers."""
    rng = np.random.default_rng([seed, len(split)])
    pairs = [reader_example(rng) for _ in range(count)]
    asked = [e.ids for e in tokenizer.encode_batch([f"USER: {q} ASSISTANT:" for q, _ in pairs])]
    said = [e.ids for e in tokenizer.encode_batch([f" {a}</s>" for _, a in pairs], add_special_tokens=False)]
    length = max(len(a) + len(s) for a, s in zip(asked, said, strict=True))
    ids, targets = np.zeros((count, length), np.int64), np.full((count, length), IGNORED)
    for i, (question, answer) in enumerate(zip(asked, said, strict=True)):
        ids[i, : len(question) + len(answer)] = question + answer
        targets[i, len(question) - 1 : len(question) + len(answer) - 1] = answer
    return torch.from_numpy(ids), torch.from_numpy(targets)


def loss_of(model: Any, ids: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, and the logits and targets at the answer tokens. Padding comes last, so a causal model never sees it."""
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    wanted = targets != IGNORED
    logits = model.lm_head(hidden[wanted]).float()
    return functional.cross_entropy(logits, targets[wanted]), logits, targets[wanted]


@torch.no_grad()
def accuracy(model: Any, data: tuple[Tensor, Tensor], device: str) -> float:
    """Share of reports whose most likely answer is the right one."""
    right: list[Tensor] = []
    for ids, targets in zip(data[0].split(500), data[1].split(500), strict=True):
        _, logits, wanted = loss_of(model, ids.to(device), targets.to(device))
        right.append((logits.argmax(-1) == wanted)[::2])  # an answer is a word and the end
    return round(float(torch.cat(right).float().mean()), 4)
