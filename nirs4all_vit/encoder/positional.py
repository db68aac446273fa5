"""Wavelength positional encoding on real nanometres."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class WavelengthPositionalEncoding(nn.Module):
    """Sines and cosines of the wavelength, on a logarithmic or linear axis.

    A scale and a bias of the axis are learned. Periods form a geometric series from 4 to 0.02 in
    ln(wavelength), that is from the whole range to about 20 nm at 1,000 nm. Shorter periods would
    only distinguish sampling grids.

    Parameters
    ----------
    d_model : int
        Dimensions of the encoding, an even number.
    use_log : bool, default=True
        Encode ln(wavelength) instead of the wavelength in micrometres.
    """

    frequencies: Tensor

    def __init__(self, d_model: int = 32, use_log: bool = True) -> None:
        super().__init__()
        if d_model < 2 or d_model % 2:
            raise ValueError(f"d_model={d_model} must be an even number of at least 2: a sine and a cosine per period.")
        self.d_model, self.use_log = d_model, use_log
        # On the CPU even if the module is built on "meta": checkpoints omit this constant.
        ends = math.log10(4.0), math.log10(0.02)
        periods = torch.logspace(*ends, d_model // 2, dtype=torch.float32, device="cpu")
        self.register_buffer("frequencies", 2 * math.pi / periods, persistent=False)
        self.scale = nn.Parameter(torch.ones(()))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, wavelengths: Tensor) -> Tensor:
        """Encode wavelengths in nm of shape (...) into (..., d_model)."""
        return self.of_log((wavelengths / 1000.0).log())

    def of_log(self, log_wavelength: Tensor) -> Tensor:
        """Encode ln(wavelength / 1000 nm) of shape (...) into (..., d_model)."""
        axis = log_wavelength if self.use_log else log_wavelength.exp()
        phase = (axis * self.scale + self.bias).unsqueeze(-1) * self.frequencies
        return torch.cat([phase.sin(), phase.cos()], dim=-1)
