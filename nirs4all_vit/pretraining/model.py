"""What is trained: the encoder with its objectives."""

from __future__ import annotations

from torch import Tensor, nn

from ..encoder import SpectralPerceiver
from .config import PretrainingConfig
from .inputs import Inputs
from .objectives import OBJECTIVES, DatasetAdversary


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
