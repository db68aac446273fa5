"""Learning rate and weight decay."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import nn

from .config import PretrainingConfig


def total_steps(config: PretrainingConfig, epoch: int) -> int:
    """Return the optimizer steps of a run; `epoch` is the length of a virtual epoch in micro-batches."""
    if config.optim.steps is not None:
        return config.optim.steps
    return max(1, config.optim.epochs * epoch // config.optim.accumulate)


def learning_rate_factor(steps: int, warmup: float) -> Callable[[int], float]:
    """Return the schedule: linear warm-up, then half a cosine to zero."""
    rising = warmup * steps if warmup < 1 else warmup

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - rising) / max(1.0, steps - rising))))

    return factor


def parameter_groups(model: nn.Module, weight_decay: float, learning_rate: float) -> list[dict[str, Any]]:
    """Split parameters: biases, norms, scalars and latents are not decayed; scales of local contrast learn ten times faster.

    These are logarithms of factors, a few hundred numbers that every spectrum informs.
    """
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    scales: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if "contrast.log_" in name:
            scales.append(parameter)
        else:
            (plain if parameter.dim() < 2 or name.endswith("encoder.latents") else decayed).append(parameter)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
        {"params": scales, "weight_decay": 0.0, "lr": 10.0 * learning_rate},
    ]
