"""An embedding that does not tell where it comes from."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...encoder import SpectralPerceiver
from ..config import DatasetAdversaryConfig
from .inputs import Inputs, Source


class DatasetAdversary(nn.Module):
    """Classify the dataset from the mean latent; the encoder receives the reversed gradient.

    The factor of the reversal grows from 0 to `reversal` by a logistic schedule, so that the
    classifier learns first.

    References
    ----------
    Ganin, Y. and Lempitsky, V. (2015). Unsupervised domain adaptation by backpropagation. ICML.
    """

    def __init__(self, settings: DatasetAdversaryConfig, encoder: SpectralPerceiver, n_datasets: int) -> None:
        super().__init__()
        self.settings = settings
        width = encoder.config.d_model
        self.classifier = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, n_datasets))

    @staticmethod
    def prepare(settings: DatasetAdversaryConfig, source: Source) -> Inputs:  # noqa: ARG004
        """Augment; the dataset's number is the class."""
        batch = source.augment(source.batch, source.draw)
        return Inputs([batch], {"datasets": batch.datasets})

    def forward(self, encoder: SpectralPerceiver, inputs: Inputs) -> Tensor:
        """Return the classifier's loss."""
        factor = self.settings.reversal * (2.0 / (1.0 + math.exp(-10.0 * inputs.progress)) - 1.0)
        z = inputs.embed(encoder, "mean")
        return F.cross_entropy(self.classifier(_Reversal.apply(z, factor)).float(), inputs.tensors["datasets"])


class _Reversal(torch.autograd.Function):
    """Identity forwards, minus `factor` times the gradient backwards."""

    @staticmethod
    def forward(context: Any, z: Tensor, factor: float) -> Tensor:
        context.factor = factor
        return z.view_as(z)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -context.factor * gradient, None
