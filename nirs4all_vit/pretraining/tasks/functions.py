"""Small pieces that the task generators share."""

from __future__ import annotations

import torch
from torch import Tensor

from ..draw import Draw


def gaussian_bands(wavelengths: Tensor, draw: Draw, n_bands: int, narrow: float = 6.0, wide: float = 90.0) -> Tensor:
    """Gaussian bands of random centre and width (standard deviation in nm): (n_bands, L)."""
    axis = wavelengths.float()
    low, high = float(axis[0]), float(axis[-1])
    centre = draw.uniform(n_bands, 1, low=low, high=high)
    # No narrower than the grid can hold, no wider than half of the range.
    step = (high - low) / max(len(axis) - 1, 1)
    width = draw.log_uniform(n_bands, 1, low=narrow, high=wide).clamp(max=max((high - low) / 2, step)).clamp_min(step)
    return (-0.5 * ((axis - centre) / width).square()).exp()


def snv(spectra: Tensor) -> Tensor:
    """Standard normal variate of each row (Barnes, Dhanoa and Lister, 1989, Appl. Spectrosc. 43, 772)."""
    centred = spectra - spectra.mean(dim=1, keepdim=True)
    return centred / centred.std(dim=1, keepdim=True).clamp_min(1e-8)


def random_view(spectra: Tensor, draw: Draw) -> Tensor:
    """The spectrum, its first derivative (by smoothed differences), or its SNV, a third of the time each."""
    kind = draw.integer(0, 2)
    if kind == 0:
        return spectra
    if kind == 1:
        return snv(spectra)
    gap = max(1, min(5, spectra.shape[1] // 8))
    derivative = spectra[:, gap:] - spectra[:, :-gap]
    return torch.nn.functional.pad(derivative, (0, gap))


def standardise(columns: Tensor) -> Tensor:
    """Centre and scale each column; constant columns become zeros."""
    centred = columns - columns.mean(dim=0)
    deviation = centred.std(dim=0)
    return torch.where(deviation > 1e-9, centred / deviation.clamp_min(1e-9), torch.zeros_like(centred))


def check_count(name: str, value: int) -> None:
    """Raise ValueError unless a number of things is a positive integer."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name}={value!r} must be a positive integer.")
