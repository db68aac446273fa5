"""Nuisance that an embedding must see through: gain, drift, noise."""

from __future__ import annotations

import torch
from torch import Tensor

from ..draw import Draw


def corrupt(spectra: Tensor, deviation: float, draw: Draw, probability: float = 0.6) -> Tensor:
    """Corrupt spectra with gain, degree-4 baseline drift and white noise.

    Parameters
    ----------
    spectra : Tensor of shape (n, L)
        Clean spectra.
    deviation : float
        Typical deviation of the dataset, in which drift and noise are sized.
    draw : Draw
        Source of randomness.
    probability : float
        Share of episodes that are corrupted at all.

    Returns
    -------
    Tensor of shape (n, L)
    """
    if not draw.chance(probability):
        return spectra
    n, length = spectra.shape
    gain = (draw.log_uniform(1, low=0.005, high=0.15) * draw.normal(n, 1)).exp()
    axis = torch.linspace(-1.0, 1.0, length)
    powers = torch.stack([axis**k for k in range(5)])
    drift = draw.normal(n, 5) * draw.log_uniform(1, low=0.02, high=1.0) @ powers
    noise = draw.normal(n, length) * draw.log_uniform(1, low=1e-4, high=3e-2)
    return spectra * gain + deviation * (drift + noise)
