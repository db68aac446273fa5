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
    """Predict the masked blocks of a normalised spectrum from its visible points.

    The loss is the squared error on masked points only, weighted, if so configured, by how much the
    batch varies at each wavelength.

    References
    ----------
    He, K. et al. (2022). Masked Autoencoders Are Scalable Vision Learners. CVPR.
    """

    def __init__(self, settings: MaskedModelingConfig, encoder: SpectralPerceiver) -> None:
        super().__init__()
        self.settings = settings
        self.decoder = MaskedSpectrumDecoder(encoder.config)

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
        width = encoder.config.d_model
        latents = inputs.encode(encoder, visible=~mask if batch.valid is None else ~mask & batch.valid)
        predicted = self.decoder(latents.layers[..., -width:], grid).float()
        with torch.no_grad():
            target, _ = encoder.normalisation(batch.spectra, grid)
            weight = mask.float()
            if self.settings.variance_weights:
                weight = weight * _variation(target, batch.valid)
        return ((predicted - target).square() * weight).sum() / weight.sum().clamp_min(1e-6)


def _variation(target: Tensor, valid: Tensor | None) -> Tensor:
    """Standard deviation over the batch at each point, relative to its mean over points: (L,)."""
    if valid is not None:
        return torch.ones_like(target[0])  # padded rows share no grid to compare them on
    deviation = target.std(dim=0)
    return (deviation / deviation.mean().clamp_min(1e-6)).clamp(0.1, 10.0)
