"""Masked spectral modelling."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...encoder import SpectralPerceiver
from ...encoder.decoder import MaskedSpectrumDecoder
from ..augmentation.masking import block_mask
from ..config import MaskedModelingConfig
from .inputs import Inputs, Source


class MaskedModeling(nn.Module):
    """Predict what masked blocks of a spectrum hold from its visible points: points, or the contents of patches.

    The loss is the squared error on masked tokens only, weighted, if so configured, by how much the
    batch varies there.

    References
    ----------
    He, K. et al. (2022). Masked Autoencoders Are Scalable Vision Learners. CVPR.
    """

    def __init__(self, settings: MaskedModelingConfig, encoder: SpectralPerceiver) -> None:
        super().__init__()
        self.settings = settings
        self.decoder = MaskedSpectrumDecoder(encoder)

    @staticmethod
    def prepare(settings: MaskedModelingConfig, source: Source) -> Inputs:
        """Augment and mask."""
        batch = source.augment(source.batch, source.draw)
        mask = block_mask(batch.wavelengths, len(batch), source.draw, settings.ratio, settings.block, batch.valid)
        return Inputs([batch], {"mask": mask})

    def forward(self, encoder: SpectralPerceiver, inputs: Inputs) -> Tensor:
        """Return the loss."""
        batch, mask = inputs.views[0], inputs.tensors["mask"]
        grid = batch.grid()
        visible = ~mask if batch.valid is None else ~mask & batch.valid
        latents = inputs.encode(encoder, visible=visible)
        predicted = self.decoder(encoder, latents[:, 1:], grid).float()
        with torch.no_grad():
            tokenizer = encoder.tokenizer
            target = tokenizer.target(tokenizer.content(encoder.normalisation(batch.spectra, grid)[0], grid))
            weight = tokenizer.hidden(grid, visible).float().unsqueeze(-1).expand_as(target)
            if self.settings.variance_weights:
                weight = weight * _variation(target, batch.valid)
        return ((predicted - target).square() * weight).sum() / weight.sum().clamp_min(1e-6)


def _variation(target: Tensor, valid: Tensor | None) -> Tensor:
    """Standard deviation over the batch of each number, relative to its mean over all: (N, n_target)."""
    if valid is not None:
        return torch.ones_like(target[0])  # padded rows share no grid to compare them on
    deviation = target.std(dim=0)
    return (deviation / deviation.mean().clamp_min(1e-6)).clamp(0.1, 10.0)
