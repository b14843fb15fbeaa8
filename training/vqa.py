"""Trains a whole vision-language model on questions and answers, packed, and measures it on the validation phantoms."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from training.answers import base_pairs, modality_pair, tuned_pairs
from training.packing import Packed, Packer, Pair, answer_logits
from training.pictures import SCENE, Pictures
from training.scenes import scene_pairs
from training.schedule import optimizer, step_with
from training.vision import as_pixels
from training.wordings import all_prompts, bare_answer, task_wording

WATCHED = (
    "target.none",
    "normal.none",
    "ab.none",
    "ba.none",
    "target.negated.A-B.one-word.p1",
    "hints.one-word",  # held out
    "target.negated.yes-no.one-word.p2",  # held out
)
"""Prompts whose validation accuracy is logged during training."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """A source of training conversations: pictures, the share of medical images among them, and who writes the questions."""

    pictures: tuple[Pictures, ...]
    medical_share: float
    tuned: bool
    seed: int
    batch: int
    questions: int


class Conversations(IterableDataset[tuple[Tensor, dict[str, Tensor]]]):
    """An endless stream of (image rows, packed questions), different in each loader process and fixed by the seed."""

    def __init__(self, mixture: Mixture, packer: Packer) -> None:
        super().__init__()
        self._mixture, self._packer = mixture, packer
        facts = [f for pictures in mixture.pictures for f in pictures.facts]
        self._facts = facts
        self._medical = np.array([i for i, f in enumerate(facts) if f.modality != SCENE])
        self._scenes = np.array([i for i, f in enumerate(facts) if f.modality == SCENE])

    def __iter__(self) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        worker = get_worker_info()
        rng = np.random.default_rng([self._mixture.seed, worker.id if worker else 0])
        while True:
            medical = rng.random(self._mixture.batch) < self._mixture.medical_share
            rows = np.where(medical, rng.choice(self._medical, len(medical)), rng.choice(self._scenes, len(medical)))
            packed = self._packer.pack([self._pairs(row, rng) for row in rows])
            yield torch.from_numpy(rows), as_tensors(packed)

    def _pairs(self, row: int, rng: np.random.Generator) -> list[Pair]:
        facts, count = self._facts[row], self._mixture.questions
        if facts.modality == SCENE:
            return [modality_pair(SCENE, rng), *scene_pairs(facts.metadata["scene"], rng, count - 1)]
        return (tuned_pairs if self._mixture.tuned else base_pairs)(facts, rng, count)


def as_tensors(packed: Packed) -> dict[str, Tensor]:
    """The packed arrays as tensors, by name."""
    return {name: torch.from_numpy(getattr(packed, name)) for name in ("ids", "positions", "segments", "targets")}


def train_answers(
    model: Any,
    packer: Packer,
    mixture: Mixture,
    images: Tensor,
    validation: Pictures,
    plan: dict[str, Any],
    log: list[dict[str, Any]],
) -> None:
    """Train in place. ``images``: the mixture's pictures on the device. ``plan``: stage, steps, rate, vision_rate, log_every,
    loaders, seed."""
    device = images.device
    generator = torch.Generator(device).manual_seed(plan["seed"])
    tower = [p for n, p in model.named_parameters() if "vision_tower" in n]
    rest = [p for n, p in model.named_parameters() if "vision_tower" not in n]
    steering = optimizer([(rest, plan["rate"]), (tower, plan["vision_rate"])], plan["steps"])
    loader = DataLoader(
        Conversations(mixture, packer),
        batch_size=None,
        num_workers=plan["loaders"],
        pin_memory=images.is_cuda,
        prefetch_factor=4 if plan["loaders"] else None,
    )
    stream, start, waited = iter(loader), time.time(), 0.0
    for step in range(1, plan["steps"] + 1):
        asked = time.time()
        rows, packed = next(stream)
        waited += time.time() - asked
        batch = {name: tensor.to(device, non_blocking=True) for name, tensor in packed.items()}
        pixels = as_pixels(images[rows.to(device)], generator)
        with torch.autocast(device.type, torch.bfloat16):
            logits, wanted = answer_logits(model, packer, pixels, batch)
        loss = functional.cross_entropy(logits, wanted)
        step_with(steering, loss, tower + rest)
        if step % plan["log_every"] == 0 or step == plan["steps"]:
            entry = {"stage": plan["stage"], "step": step, "loss": loss.item(), "seconds": time.time() - start, "waited": waited}
            log.append(entry | {"accuracy": watched_accuracy(model, packer, validation, device)})
            print(packer.family, log[-1], flush=True)


@torch.no_grad()
def watched_accuracy(model: Any, packer: Packer, pictures: Pictures, device: torch.device) -> dict[str, dict[str, float]]:
    """Modality → prompt → share of images whose most likely first token is the right bare answer, over the whole vocabulary."""
    model.eval()
    scores: dict[str, dict[str, float]] = {}
    modalities = np.array([f.modality for f in pictures.facts])
    for modality in dict.fromkeys(modalities.tolist()):
        by_name = {p.name: p for p in all_prompts(task_wording(modality))}
        prompts = [by_name[name] for name in WATCHED]
        right: list[Tensor] = []
        for rows in np.array_split(np.flatnonzero(modalities == modality), 2):
            conversations: list[Sequence[Pair]] = [
                [(p.text, bare_answer(p, pictures.facts[i].label)) for p in prompts] for i in rows
            ]
            packed = {name: tensor.to(device) for name, tensor in as_tensors(packer.pack(conversations)).items()}
            with torch.autocast(device.type, torch.bfloat16):
                logits, wanted = answer_logits(model, packer, as_pixels(torch.from_numpy(pictures.images[rows]).to(device)), packed)
            # A bare answer is two tokens, the word and the end: the word is every other row.
            right.append((logits.argmax(-1) == wanted)[::2].view(len(rows), len(prompts)))
        share = torch.cat(right).float().mean(0).tolist()
        scores[modality] = {p.name: round(v, 4) for p, v in zip(prompts, share, strict=True)}
    model.train()
    return scores
