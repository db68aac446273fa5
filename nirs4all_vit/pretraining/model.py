"""The model that is trained: an encoder with its objectives."""

from __future__ import annotations

from torch import Tensor, nn

from ..encoder import SpectralPerceiver
from .config import PretrainingConfig
from .inputs import Inputs
from .objectives import OBJECTIVES, DatasetAdversary


class PretrainingModel(nn.Module):
    """Encoder and objectives; the dataset adversary distinguishes `n_datasets` classes."""

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
        """Return the weighted sum and the loss of each objective in `prepared`.

        `encoder` replaces the own encoder, if given.
        """
        losses = {name: self.objectives[name](encoder or self.encoder, inputs) for name, inputs in prepared.items()}
        # Other processes wait for the gradient, even if no objective applies to this micro-batch.
        total = 0.0 * self.encoder.latents.sum()
        for name, loss in losses.items():
            total = total + self.weights[name] * loss
        return total, {name: loss.detach() for name, loss in losses.items()}


def total_steps(config: PretrainingConfig, epoch: int) -> int:
    """Return the number of optimizer steps; `epoch` is the number of micro-batches per epoch."""
    if config.optim.steps is not None:
        return config.optim.steps
    return max(1, config.optim.epochs * epoch // config.optim.accumulate)
