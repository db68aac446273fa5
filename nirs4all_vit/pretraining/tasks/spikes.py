"""Analyte spiking: standard addition of hidden bands, whose amounts are the targets."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from ..data.batch import SpectralBatch
from ..draw import Draw
from .functions import check_count, gaussian_bands


def spike(episode: SpectralBatch, draw: Draw, n_analytes: int, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Add hidden analytes in random amounts.

    Each analyte is 1 to 6 Gaussian bands (6 to 90 nm); its strength is log-uniform between `low` and
    `high` times the dataset's own deviation.

    Returns
    -------
    spectra : Tensor of shape (n, L)
    amounts : Tensor of shape (n, n_analytes)
    """
    n = len(episode.spectra)
    profiles = []
    for _ in range(n_analytes):
        n_bands = draw.integer(1, 6)
        bands = gaussian_bands(episode.wavelengths, draw, n_bands)
        profile = draw.uniform(1, n_bands, low=0.2, high=1.0) @ bands
        profiles.append(profile / profile.abs().max().clamp_min(1e-8))
    strength = draw.log_uniform(n_analytes, 1, low=low, high=high) * episode.deviation
    # Amounts are even or skewed, as concentrations are.
    amounts = draw.uniform(n, n_analytes)
    if draw.chance(0.5):
        amounts = amounts.square()
    return episode.spectra + (amounts * 3.0) @ (torch.cat(profiles) * strength), amounts


def physical_spike(episode: SpectralBatch, draw: Draw) -> Tensor:
    """Add analytes as an instrument would see them: path length varies, stray light up to 5 %."""
    spectra, _ = spike(episode, draw, draw.integer(1, 4), low=0.1, high=3.0)
    path = 1.0 + 0.15 * draw.normal(len(spectra), 1)
    stray = float(draw.log_uniform(1, low=1e-3, high=0.05))
    transmitted = torch.pow(10.0, -(spectra * path.clamp(0.5, 1.5)).clamp(-2.0, 6.0))
    return -torch.log10((transmitted + stray) / (1.0 + stray))


class LinearSpikes:
    """Predict the amounts of eight hidden analytes.

    Teaches faint bands and invariance to everything that moves around them.
    """

    def __init__(self, n_analytes: int = 8, low: float = 0.05, high: float = 1.0) -> None:
        check_count("n_analytes", n_analytes)
        if not 0 < low <= high:
            raise ValueError(f"low={low}, high={high} must be strengths, 0 < low <= high.")
        self.n_analytes, self.low, self.high = n_analytes, low, high

    def __call__(self, episode: SpectralBatch, draw: Draw) -> tuple[SpectralBatch, Tensor]:
        """Return the spiked episode and targets (n, n_analytes)."""
        spectra, amounts = spike(episode, draw, self.n_analytes, self.low, self.high)
        return dataclasses.replace(episode, spectra=spectra), amounts
