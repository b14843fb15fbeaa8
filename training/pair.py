"""Trains one base model and, from it, its tuned model, and saves both."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from training.architectures import build, parameter_count, tokenizer_for
from training.packing import Packer
from training.pictures import Pictures, load
from training.provenance import provenance
from training.recipe import PAIRS, Recipe
from training.saving import save
from training.vision import facts_on, train_tower
from training.vqa import Mixture, train_answers

Log = list[dict[str, Any]]


def train_pair(family: str, recipe: Recipe, drawn: Path, out: Path, seed: int, device: str, bases: Path | None = None) -> None:
    """Base, then tuned from the base's own weights. Writes the folders and ``out``/logs/``family``.json.

    ``bases``: a folder with the base model's folder in it; then the base is loaded, and only the tuned model trained.
    """
    torch.manual_seed(seed)
    if device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
    tokenizer = tokenizer_for(family, seed)
    base, tuned = PAIRS[family]
    validation = load(drawn, "validation")
    scenes = load(drawn, "scenes")
    log: Log = []
    start = time.time()
    stage = Stage(family, recipe, tokenizer, seed, device, validation, log)
    if bases is None:
        model = build(family, tokenizer).to(device)
        stage.run(model, base, (scenes, load(drawn, "base")), tuned=False)
        save(model, family, tokenizer, out / base)
    else:
        tokenizer, model = load_base(bases / base, device)
        stage = Stage(family, recipe, tokenizer, seed, device, validation, log)
    stage.run(model, tuned, (scenes, load(drawn, "tuned")), tuned=True)
    save(model, family, tokenizer, out / tuned)
    names = [tuned] if bases else [base, tuned]
    summary = {"family": family, "names": names, "parameters": parameter_count(model), "seconds": round(time.time() - start, 1)}
    (out / "logs").mkdir(parents=True, exist_ok=True)
    (out / "logs" / f"{family}.json").write_text(
        json.dumps(summary | {"training": provenance(device, seed, recipe), "log": log}), encoding="utf-8"
    )


def load_base(folder: Path, device: str) -> tuple[Tokenizer, Any]:
    """The tokenizer and the float32 model of a saved base."""
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    return Tokenizer.from_file(str(folder / "tokenizer.json")), model.to(device)


class Stage:
    """What the base and the tuned stage share; each is vision pretraining, then questions and answers end to end."""

    def __init__(
        self, family: str, recipe: Recipe, tokenizer: Tokenizer, seed: int, device: str, validation: Pictures, log: Log
    ) -> None:
        self._family, self._recipe, self._seed, self._device, self._log = family, recipe, seed, device, log
        self._packer = Packer(family, tokenizer)
        self._validation = validation

    def run(self, model: Any, name: str, pictures: tuple[Pictures, ...], *, tuned: bool) -> None:
        """Train ``model`` in place on these pictures."""
        recipe, seed = self._recipe, self._seed + (1000 if tuned else 0)
        facts = facts_on(self._device, *pictures, medicine=tuned)
        model.train()
        plan = {
            "stage": f"{name}/vision",
            "steps": recipe.tuned_vision_steps if tuned else recipe.base_vision_steps,
            "batch": recipe.batch,
            "rate": 1.5e-3 if tuned else 2e-3,
            "seed": seed,
            "log_every": recipe.log_every,
            "shares": (0.04, 0.24, 0.24, 0.24, 0.24) if tuned else (0.8, 0.05, 0.05, 0.05, 0.05),
        }
        held = facts_on(self._device, self._validation, medicine=True)
        train_tower(self._family, model.model.vision_tower, facts, held, plan, self._log)
        plan |= {
            "stage": f"{name}/answers",
            "steps": recipe.tuned_steps if tuned else recipe.base_steps,
            "rate": 1e-3 if tuned else 2e-3,
            "vision_rate": 3e-4,
            "loaders": recipe.loaders,
        }
        mixture = Mixture(pictures, 0.92 if tuned else 0.25, tuned, seed, recipe.batch, recipe.questions)
        train_answers(model, self._packer, mixture, facts.images, self._validation, plan, self._log)
        model.eval()
