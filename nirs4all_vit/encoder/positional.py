"""Wavelength positional encoding on real nanometres."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class WavelengthEncoding(nn.Module):
    """Sines and cosines of the wavelength, on a logarithmic or linear axis.

    A scale and a bias of the axis are learned. Periods run geometrically from 4 to 0.02 in
    ln(wavelength), that is from the whole range down to some 20 nm at 1,000 nm: finer ones would only
    tell one sampling grid from another.

    Parameters
    ----------
    n_frequencies : int
        Number of periods; the output has twice as many dimensions.
    axis_scale : {"log", "linear"}
        Encode ln(wavelength) or the wavelength in micrometres.
    """

    frequencies: Tensor

    def __init__(self, n_frequencies: int = 16, axis_scale: str = "log") -> None:
        super().__init__()
        self.axis_scale = axis_scale
        self.n_features = 2 * n_frequencies
        # On the CPU even where all else is built on "meta": a constant, which no checkpoint holds.
        ends = math.log10(4.0), math.log10(0.02)
        periods = torch.logspace(*ends, n_frequencies, dtype=torch.float32, device="cpu")
        self.register_buffer("frequencies", 2 * math.pi / periods, persistent=False)
        self.scale = nn.Parameter(torch.ones(()))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, log_wavelength: Tensor) -> Tensor:
        """Encode ln(wavelength / 1000 nm) of shape (...) into (..., 2 * n_frequencies)."""
        axis = log_wavelength if self.axis_scale == "log" else log_wavelength.exp()
        phase = (axis * self.scale + self.bias).unsqueeze(-1) * self.frequencies
        return torch.cat([phase.sin(), phase.cos()], dim=-1)
