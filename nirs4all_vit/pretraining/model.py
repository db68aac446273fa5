"""What is trained, the encoder with its objectives, and how fast: learning rates and weight decay."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ..encoder import SpectralPerceiver
from .config import PretrainingConfig
from .objectives import OBJECTIVES, DatasetAdversary, Inputs


class PretrainingModel(nn.Module):
    """Compute the losses of one micro-batch; the adversary tells `n_datasets` apart."""

    def __init__(self, config: PretrainingConfig, n_datasets: int) -> None:
        super().__init__()
        self.encoder = SpectralPerceiver(config.encoder)
        self.encoder.gradient_checkpointing = config.run.gradient_checkpointing
        self.objectives = nn.ModuleDict()
        self.weights = {}
        for name, settings in config.objectives.active().items():
            objective = OBJECTIVES[name]
            extra = (n_datasets,) if objective is DatasetAdversary else ()
            self.objectives[name] = objective(settings, self.encoder, *extra)
            self.weights[name] = settings.weight

    def forward(
        self, prepared: dict[str, Inputs], encoder: SpectralPerceiver | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum and the loss of each objective that applies; of another encoder, if one is given."""
        losses = {name: self.objectives[name](encoder or self.encoder, inputs) for name, inputs in prepared.items()}
        # A micro-batch that asks for nothing still has a (zero) gradient, which other processes wait for.
        total = 0.0 * self.encoder.latents.sum()
        for name, loss in losses.items():
            total = total + self.weights[name] * loss
        return total, {name: loss.detach() for name, loss in losses.items()}


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
