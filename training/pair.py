"""Trains one base model and, from it, its tuned model; saves both and measures both."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from training.architectures import build, parameter_count, tokenizer_for
from training.evaluate import Asker, difficulty_curve, task_figures
from training.packing import Packer
from training.pictures import Pictures, load
from training.recipe import MODALITIES, Recipe
from training.saving import save
from training.vision import facts_on, train_tower
from training.vqa import Mixture, train_answers

NAMES = {"llava": ("phantom-llava", "phantom-llava-med"), "gemma": ("phantom-gemma", "phantom-medgemma")}
Log = list[dict[str, Any]]


def train_pair(family: str, recipe: Recipe, drawn: Path, out: Path, seed: int, device: str) -> None:
    """Base, then tuned from the base's own weights. Writes the two folders and ``out``/logs/``family``.json."""
    torch.manual_seed(seed)
    if device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
    tokenizer = tokenizer_for(family, seed)
    model = build(family, tokenizer).to(device)
    base, tuned = NAMES[family]
    validation = load(drawn, "validation")
    scenes, easy = load(drawn, "scenes"), load(drawn, "base")
    log: Log = []
    start = time.time()
    stage = Stage(family, recipe, tokenizer, seed, device, validation, log)
    stage.run(model, base, (scenes, easy), tuned=False)
    save(model, family, tokenizer, out / base)
    stage.run(model, tuned, (scenes, load(drawn, "tuned")), tuned=True)
    save(model, family, tokenizer, out / tuned)
    seconds, parameters = time.time() - start, parameter_count(model)
    del model
    figures = {name: measure(out / name, recipe, drawn, device) for name in (base, tuned)}
    summary = {"family": family, "parameters": parameters, "training_seconds": seconds, "total_seconds": time.time() - start}
    (out / "logs").mkdir(parents=True, exist_ok=True)
    (out / "logs" / f"{family}.json").write_text(json.dumps(summary | {"log": log, "figures": figures}), encoding="utf-8")


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
        facts = facts_on(self._device, *pictures)
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
        train_tower(self._family, model.model.vision_tower, facts, facts_on(self._device, self._validation), plan, self._log)
        plan |= {
            "stage": f"{name}/answers",
            "steps": recipe.tuned_steps if tuned else recipe.base_steps,
            "rate": 1e-3 if tuned else 2e-3,
            "vision_rate": 3e-4,
            "loaders": recipe.loaders,
        }
        mixture = Mixture(pictures, 0.92 if tuned else 0.3, tuned, seed, recipe.batch, recipe.questions)
        train_answers(model, self._packer, mixture, facts.images, self._validation, plan, self._log)
        model.eval()


def measure(folder: Path, recipe: Recipe, drawn: Path, device: str) -> dict[str, Any]:
    """The card's figures for one saved model, per task."""
    asker = Asker(folder, device)
    test = load(drawn, "test")
    tasks = {m: task_figures(asker, test, m, ("reference", "core")) for m in MODALITIES}
    curves = {f"{d:g}": load(drawn, f"test-{d:g}") for d in recipe.curve}
    for modality, figures in tasks.items():
        figures["target_none_by_d_prime"] = {d: difficulty_curve(asker, pictures, modality) for d, pictures in curves.items()}
    return tasks
