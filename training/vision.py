"""Teaches a vision tower to see: pretraining on everything the drawing knows about itself.

Beside the label, the tower learns the metadata of the drawing (sizes, sides, stains, shapes, colours) and a 12 × 12 map of
where the lesion is. The heads are thrown away afterwards; what they taught stays in the patch tokens.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from training.architectures import WIDTH
from training.pictures import SCENE, Pictures
from training.schedule import optimizer, step_with

GROUPS = (SCENE, "brain_mri", "chest_xray", "skin_lesion", "breast_histology")
TURNABLE = ("skin_lesion", "breast_histology")  # no side to these: mirrored, they are other valid images
LEFT_OUT = {"scene", "conspicuity", "evidence", "difficulty"}  # the first three are nested, or have a head of their own
MOVED = ("_x", "_y", "side", "angle", "lobe", "quadrant")  # facts a mirror image changes


@dataclass(frozen=True, slots=True)
class Facts:
    """Targets on the device: group (n,), label (n,), evidence (n,), metadata (n, F) NaN where absent, lesion map (n, 144)."""

    images: Tensor
    group: Tensor
    label: Tensor
    evidence: Tensor
    columns: Tensor
    lesions: Tensor
    stays: Tensor  # (F,) True for metadata that a mirror image leaves as it is
    diagnosed: Tensor  # (n,) True where label, evidence and lesion map are taught

    def __len__(self) -> int:
        return len(self.group)


def metadata_columns(records: Sequence[Mapping[str, Any]]) -> tuple[NDArray[np.float32], list[str]]:
    """Numbers as they are, words as indicators, all standardised; one set of columns per modality; NaN elsewhere, (n, F)."""
    cells: dict[str, list[tuple[int, float]]] = defaultdict(list)
    rows: dict[str, list[int]] = defaultdict(list)
    for i, record in enumerate(records):
        modality = record["modality"]
        rows[modality].append(i)
        for key, value in record["metadata"].items():
            if key not in LEFT_OUT and isinstance(value, str | int | float | bool):
                name = f"{modality}.{key}" + (f"={value}" if isinstance(value, str) else "")
                cells[name].append((i, 1.0 if isinstance(value, str) else float(value)))
    columns, names = [], []
    for name, filled in sorted(cells.items()):
        column = np.full(len(records), np.nan, np.float32)
        if "=" in name:
            column[rows[name.split(".")[0]]] = 0.0
        where, values = zip(*filled, strict=True)
        column[list(where)] = values
        spread = float(np.nanstd(column))
        if spread > 1e-6 and ("=" not in name or 0.01 < float(np.nanmean(column)) < 0.99):
            columns.append(np.clip((column - np.nanmean(column)) / spread, -4, 4))
            names.append(name)
    return (np.stack(columns, 1) if columns else np.zeros((len(records), 0), np.float32)), names


def facts_on(device: str, *sets: Pictures, medicine: bool) -> Facts:
    """The given sets as one, on the device. Without ``medicine``, a phantom teaches nothing but which modality it is."""
    records = [r for pictures in sets for r in pictures.records]
    told = [r if medicine or r["modality"] == SCENE else {**r, "metadata": {}} for r in records]
    columns, names = metadata_columns(told)
    stays = [not any(part in name for part in MOVED) for name in names]

    def tensor(values: Any) -> Tensor:
        return torch.as_tensor(np.asarray(values)).to(device)

    return Facts(
        torch.cat([tensor(np.array(p.images)) for p in sets]),
        tensor([GROUPS.index(r["modality"]) for r in records]),
        tensor(np.array([r["label"] for r in records], np.float32)),
        tensor(np.array([r["evidence"] for r in records], np.float32)).clamp(-4, 4),
        tensor(columns),
        torch.cat([tensor(np.array(p.lesions)) for p in sets]).float().flatten(1) / 255,
        tensor(np.array(stays, bool)),
        tensor(np.array([medicine and r["modality"] != SCENE for r in records])),
    )


class Heads(nn.Module):
    """Pools patch tokens (mean and max) into label, evidence, metadata and modality; maps each token to lesion coverage."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.pooled = nn.Sequential(nn.Linear(2 * WIDTH, 2 * WIDTH), nn.GELU())
        self.label = nn.Linear(2 * WIDTH, len(GROUPS))
        self.evidence = nn.Linear(2 * WIDTH, len(GROUPS))
        self.columns = nn.Linear(2 * WIDTH, columns)
        self.group = nn.Linear(2 * WIDTH, len(GROUPS))
        self.lesion = nn.Linear(WIDTH, len(GROUPS))

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """tokens (n, 144, width) → each head's output."""
        tokens = self.norm(tokens.float())
        pooled = self.pooled(torch.cat([tokens.mean(1), tokens.amax(1)], 1))
        heads = {name: getattr(self, name)(pooled) for name in ("label", "evidence", "columns", "group")}
        return heads | {"lesion": self.lesion(tokens)}


def patch_tokens(family: str, tower: Any, pixels: Tensor) -> Tensor:
    """What the projector reads: LLaVA takes the last layer's patch tokens, Gemma 3 the tower's normalised output."""
    if family == "llava":
        return tower(pixels, output_hidden_states=True).hidden_states[-1][:, 1:]
    return tower(pixels).last_hidden_state


def as_pixels(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """uint8 (n, 96, 96, 3) → (n, 3, 96, 96) in [−1, 1], as the processors do; with a generator, brightness and noise vary."""
    pixels = images.permute(0, 3, 1, 2).float() / 127.5 - 1
    if generator is None:
        return pixels
    gain = torch.empty(len(pixels), 1, 1, 1, device=pixels.device).uniform_(0.93, 1.07, generator=generator)
    noise = torch.empty_like(pixels).normal_(0, 1, generator=generator)
    return (pixels * gain + 0.02 * noise).clamp(-1, 1)


def mirrored(batch: Tensor, lesions: Tensor, turn: Tensor, dims: int) -> tuple[Tensor, Tensor]:
    """Images (n, H, W, 3) and their lesion maps, mirrored along axis ``dims`` (1 or 2) where ``turn``."""
    maps = lesions.view(-1, 12, 12)
    maps = torch.where(turn[:, None, None], maps.flip(dims), maps).flatten(1)
    return torch.where(turn[:, None, None, None], batch.flip(dims), batch), maps


def loss_of(heads: dict[str, Tensor], facts: Facts, rows: Tensor, lesions: Tensor, turned: Tensor) -> Tensor:
    """Sum of the heads' losses; where nothing is diagnosed, label, evidence and lesion do not count."""
    group = facts.group[rows]
    each = torch.arange(len(rows), device=rows.device)
    columns = facts.columns[rows]
    known = torch.isfinite(columns) & (~turned[:, None] | facts.stays)
    miss = torch.where(known, heads["columns"] - columns.nan_to_num(), 0.0).square().sum() / known.sum().clamp(min=1)
    truth = facts.label[rows].clamp(min=0)
    label = functional.binary_cross_entropy_with_logits(heads["label"][each, group], truth, reduction="none")
    evidence = (heads["evidence"][each, group] - facts.evidence[rows]).square()
    lesion = (heads["lesion"][each, :, group] - lesions).square().mean(1)
    weight = facts.diagnosed[rows].float() / facts.diagnosed[rows].sum().clamp(min=1)
    naming = functional.cross_entropy(heads["group"], group)
    return ((label + 0.5 * evidence + 5 * lesion) * weight).sum() + 0.5 * miss + 0.2 * naming


def train_tower(family: str, tower: Any, facts: Facts, validation: Facts, plan: dict[str, Any], log: list[dict[str, Any]]) -> None:
    """Train the tower in place. ``plan``: stage, steps, batch, rate, seed, log_every, shares (per group, relative)."""
    device = facts.group.device
    generator = torch.Generator(device).manual_seed(plan["seed"])
    heads = Heads(facts.columns.shape[1]).to(device)
    params = [*tower.parameters(), *heads.parameters()]
    steering = optimizer([(params, plan["rate"])], plan["steps"])
    shares = torch.tensor(plan["shares"], device=device)
    counts = torch.bincount(facts.group, minlength=len(GROUPS)).clamp(min=1)
    weights = (shares / counts)[facts.group]
    turnable = torch.tensor([g in TURNABLE for g in GROUPS], device=device)
    start = time.time()
    for step in range(1, plan["steps"] + 1):
        rows = torch.multinomial(weights, plan["batch"], replacement=True, generator=generator)
        images, lesions, turned = facts.images[rows], facts.lesions[rows], torch.zeros(len(rows), dtype=torch.bool, device=device)
        for axis in (1, 2):
            turn = turnable[facts.group[rows]] & (torch.rand(len(rows), device=device, generator=generator) < 0.5)
            images, lesions = mirrored(images, lesions, turn, axis)
            turned |= turn
        with torch.autocast(device.type, torch.bfloat16):
            tokens = patch_tokens(family, tower, as_pixels(images, generator))
        loss = loss_of(heads(tokens), facts, rows, lesions, turned)
        step_with(steering, loss, params)
        if step % plan["log_every"] == 0 or step == plan["steps"]:
            accuracy = probe_accuracy(family, tower, heads, validation)
            entry = {"stage": plan["stage"], "step": step, "loss": loss.item(), "seconds": time.time() - start}
            log.append(entry | {"accuracy": accuracy})
            print(family, log[-1], flush=True)


@torch.no_grad()
def probe_accuracy(family: str, tower: Any, heads: Heads, facts: Facts) -> dict[str, float]:
    """Accuracy of the label head per modality."""
    right: list[Tensor] = []
    for rows in torch.arange(len(facts), device=facts.group.device).split(200):
        with torch.autocast(facts.group.device.type, torch.bfloat16):
            tokens = patch_tokens(family, tower, as_pixels(facts.images[rows]))
        logits = heads(tokens)["label"][torch.arange(len(rows), device=rows.device), facts.group[rows]]
        right.append((logits > 0) == (facts.label[rows] > 0))
    all_right = torch.cat(right)
    shares = {g: all_right[facts.group == i].float().mean() for i, g in enumerate(GROUPS) if (facts.group == i).any()}
    return {g: round(float(share), 4) for g, share in shares.items()}
