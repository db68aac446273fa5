"""The augmentations that every step uses, vectorised in torch: drift, scatter, noise, shift.

Each draws from the same distribution as the nirs4all operator that it names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..data.batch import SpectralBatch
from ..draw import Draw


@dataclass(frozen=True)
class BaselineDrift:
    """Add a polynomial baseline (nirs4all's `PolynomialBaselineDrift`).

    Parameters
    ----------
    degree : int, default=3
        Degree of the polynomial over the range scaled to -1 ... 1.
    coeff_ranges : sequence of (float, float), optional
        Bounds of each coefficient; 0.1 / (k + 1) around zero by default.
    relative : bool, default=False
        Coefficients in units of the dataset's deviation instead of absorbance.
    """

    degree: int = 3
    coeff_ranges: Sequence[tuple[float, float]] | None = None
    relative: bool = False

    def __post_init__(self) -> None:
        if self.degree < 0 or (self.coeff_ranges is not None and len(self.coeff_ranges) != self.degree + 1):
            raise ValueError(f"degree={self.degree} needs {self.degree + 1} coeff_ranges.")

    def __call__(self, spectra: Tensor, batch: SpectralBatch, draw: Draw) -> Tensor:
        """Return spectra of the same shape (n, L)."""
        low, high = batch.wavelengths[..., :1], batch.wavelengths[..., -1:]
        axis = (2 * (batch.wavelengths - low) / (high - low).clamp_min(1e-9) - 1).to(spectra.dtype)
        ranges = self.coeff_ranges or [(-0.1 / (k + 1), 0.1 / (k + 1)) for k in range(self.degree + 1)]
        drift = torch.zeros_like(spectra)
        for power, (lowest, highest) in enumerate(ranges):
            drift = drift + draw.uniform(len(spectra), 1, low=lowest, high=highest) * axis**power
        return spectra + (batch.deviation * drift if self.relative else drift)


@dataclass(frozen=True)
class MultiplicativeScatter:
    """Multiply each spectrum by a random gain around 1 (nirs4all's `MultiplicativeNoise`).

    Parameters
    ----------
    sigma_gain : float, default=0.05
        Standard deviation of the gain.
    """

    sigma_gain: float = 0.05

    def __call__(self, spectra: Tensor, batch: SpectralBatch, draw: Draw) -> Tensor:  # noqa: ARG002
        """Return spectra of the same shape (n, L)."""
        return spectra * (1 + self.sigma_gain * draw.normal(len(spectra), 1))


@dataclass(frozen=True)
class MSCScatter:
    """Offset and slope, a + b x, as multiplicative scatter correction undoes them (`ScatterSimulationMSC`).

    Parameters
    ----------
    a_range, b_range : (float, float), default=(-0.1, 0.1), (0.9, 1.1)
        Bounds of offset and slope.
    """

    a_range: tuple[float, float] = (-0.1, 0.1)
    b_range: tuple[float, float] = (0.9, 1.1)

    def __call__(self, spectra: Tensor, batch: SpectralBatch, draw: Draw) -> Tensor:  # noqa: ARG002
        """Return spectra of the same shape (n, L)."""
        offset = draw.uniform(len(spectra), 1, low=self.a_range[0], high=self.a_range[1])
        slope = draw.uniform(len(spectra), 1, low=self.b_range[0], high=self.b_range[1])
        return offset + slope * spectra


@dataclass(frozen=True)
class GaussianNoise:
    """Add white noise (nirs4all's `GaussianAdditiveNoise`).

    Parameters
    ----------
    sigma : float, default=0.01
        Standard deviation, in units of the spectrum's own standard deviation over its points.
    relative : bool, default=False
        In units of the dataset's deviation instead.
    """

    sigma: float = 0.01
    relative: bool = False

    def __call__(self, spectra: Tensor, batch: SpectralBatch, draw: Draw) -> Tensor:
        """Return spectra of the same shape (n, L)."""
        unit = batch.deviation if self.relative else _spread(spectra, batch.valid)
        return spectra + self.sigma * unit * draw.normal(*spectra.shape)


@dataclass(frozen=True)
class HeteroscedasticNoise:
    """Add noise that grows with absorbance (nirs4all's `HeteroscedasticNoiseAugmenter`).

    Parameters
    ----------
    noise_base, noise_signal_dep : float, default=0.001, 0.005
        Standard deviation at zero absorbance, and its growth per unit.
    """

    noise_base: float = 0.001
    noise_signal_dep: float = 0.005

    def __call__(self, spectra: Tensor, batch: SpectralBatch, draw: Draw) -> Tensor:  # noqa: ARG002
        """Return spectra of the same shape (n, L)."""
        return spectra + (self.noise_base + self.noise_signal_dep * spectra.abs()) * draw.normal(*spectra.shape)


@dataclass(frozen=True)
class WavelengthShift:
    """Shift each spectrum along the axis by linear interpolation (nirs4all's `WavelengthShift`).

    Parameters
    ----------
    shift_range : (float, float), default=(-2, 2)
        Bounds of the shift in nm. What comes in from beyond the range repeats its last value.
    """

    shift_range: tuple[float, float] = (-2.0, 2.0)

    def __call__(self, spectra: Tensor, batch: SpectralBatch, draw: Draw) -> Tensor:
        """Return spectra of the same shape (n, L)."""
        shift = draw.uniform(len(spectra), 1, low=self.shift_range[0], high=self.shift_range[1]).double()
        axis = batch.wavelengths.expand(len(spectra), -1).contiguous()
        if axis.shape[1] < 2:
            return spectra
        query = (axis - shift).clamp(min=axis[:, :1], max=axis[:, -1:]).contiguous()
        right = torch.searchsorted(axis, query).clamp(1, axis.shape[1] - 1)
        left = right - 1
        near, far = axis.gather(1, left), axis.gather(1, right)
        # Padding repeats the last wavelength: an interval without width takes its left end.
        weight = torch.where(far > near, (query - near) / (far - near).clamp_min(1e-12), 0.0).to(spectra.dtype)
        return torch.lerp(spectra.gather(1, left), spectra.gather(1, right), weight)


def _spread(spectra: Tensor, valid: Tensor | None) -> Tensor:
    """Standard deviation of each spectrum over its points, (n, 1)."""
    if valid is None:
        return spectra.std(dim=1, keepdim=True, correction=0)
    count = valid.sum(dim=1, keepdim=True).clamp_min(1)
    mean = (spectra * valid).sum(dim=1, keepdim=True) / count
    return (((spectra - mean) * valid).square().sum(dim=1, keepdim=True) / count).sqrt()
