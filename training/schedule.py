"""One optimizer and one learning-rate schedule for all stages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

WARM_UP, FLOOR = 0.06, 0.02


def optimizer(groups: Sequence[tuple[list[Any], float]], steps: int) -> tuple[torch.optim.Optimizer, Any]:
    """AdamW over (parameters, peak rate) groups, warmed up linearly and lowered along a cosine to 2 % of the peak."""
    fused = groups[0][0][0].is_cuda
    adam = torch.optim.AdamW([{"params": p, "lr": rate} for p, rate in groups], weight_decay=0.03, betas=(0.9, 0.98), fused=fused)
    warm = max(1, int(WARM_UP * steps))

    def scale(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        along = (step - warm) / max(1, steps - warm)
        return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * min(1.0, along)))

    return adam, torch.optim.lr_scheduler.LambdaLR(adam, scale)


def step_with(steering: tuple[torch.optim.Optimizer, Any], loss: Tensor, params: list[Any]) -> None:
    """One update, gradients clipped to norm 1."""
    adam, schedule = steering
    adam.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(params, 1.0)
    adam.step()
    schedule.step()
