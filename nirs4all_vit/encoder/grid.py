"""Wavelength grid of the encoder: coordinates, quadrature weights, means over bins."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor


class _Edges(NamedTuple):
    """Edges of equal bins: the grid point left of each, the distance from it, the points' gaps."""

    left: Tensor
    offset: Tensor
    gap: Tensor


@dataclass(frozen=True)
class Grid:
    """Coordinates of the points of one grid (L,), or of one grid per spectrum (B, L).

    Attributes
    ----------
    log_wavelength : Tensor of shape (..., L)
        ln(wavelength / 1000 nm).
    relative : Tensor of shape (..., L)
        Position within the range of the grid, 0 to 1, on the same logarithmic axis.
    span : Tensor of shape (..., 1)
        Length of the range in ln(wavelength), at least 1e-6.
    quadrature : Tensor of shape (..., L)
        Trapezoid weights in ln(wavelength), zero on padding.
    valid : bool Tensor of shape (B, L), or None
        False on padding.
    """

    log_wavelength: Tensor
    relative: Tensor
    span: Tensor
    quadrature: Tensor
    valid: Tensor | None = None
    _edges: dict[int, _Edges] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_wavelengths(cls, wavelengths: Tensor, valid: Tensor | None = None) -> Grid:
        """Build from ascending wavelengths in nm (..., L); padding repeats the last wavelength."""
        u = (wavelengths.double() / 1000.0).log()
        gap = u.diff(dim=-1)
        edge = torch.zeros_like(u[..., :1])
        left, right = torch.cat([edge, gap], -1), torch.cat([gap, edge], -1)
        quadrature = (left + right) / 2
        if valid is not None:
            quadrature = quadrature * valid
        total = quadrature.sum(-1, keepdim=True)
        # A single channel has no width to integrate over: its weight is one.
        first = torch.zeros_like(u)
        first[..., 0] = 1.0
        quadrature = torch.where(total > 0, quadrature, first)
        span = u[..., -1:] - u[..., :1]
        relative = torch.where(span > 0, (u - u[..., :1]) / span.clamp_min(1e-12), torch.full_like(u, 0.5))
        return cls(
            log_wavelength=u.float(),
            relative=relative.float(),
            span=span.clamp_min(1e-6).float(),
            quadrature=quadrature.float(),
            valid=valid,
        )

    def bin_means(self, x: Tensor, n_bins: int) -> Tensor:
        """Return the means of spectra over equal bins of the range, in ln(wavelength).

        A spectrum is interpolated linearly between its points, so that any sampling fills all
        bins. The mean is the difference of the integrals up to the two edges of the bin.

        Parameters
        ----------
        x : Tensor of shape (B, L)
            Zero where not valid.
        n_bins : int

        Returns
        -------
        Tensor of shape (B, n_bins), float64
        """
        x = x.double()
        if x.shape[1] == 1:
            return x.expand(-1, n_bins)
        left, offset, gap = self._bin_edges(n_bins)
        area = torch.nn.functional.pad(((x[:, 1:] + x[:, :-1]) * (0.5 * gap)).cumsum(dim=-1), (1, 0))
        at, following = _gathered(x, left), _gathered(x, left + 1)
        slope = (following - at) / _gathered(gap, left).clamp_min(1e-12)
        means = (_gathered(area, left) + offset * (at + 0.5 * offset * slope)).diff(dim=-1) * n_bins
        # An axis of zero length has nothing to integrate: its points fill all bins.
        flat = (x * self.quadrature).sum(dim=-1, keepdim=True)
        return torch.where(self.relative[..., -1:] > self.relative[..., :1], means, flat)

    def _bin_edges(self, n_bins: int) -> _Edges:
        if n_bins not in self._edges:
            # A grid first used in inference mode may be used with gradients later.
            with torch.inference_mode(False):
                u = self.relative.double()
                t = torch.linspace(0.0, 1.0, n_bins + 1, dtype=u.dtype, device=u.device).expand(*u.shape[:-1], -1)
                left = torch.searchsorted(u, t.contiguous(), right=True).sub(1).clamp(0, u.shape[-1] - 2)
                self._edges[n_bins] = _Edges(left, t - u.gather(-1, left), u.diff(dim=-1).clamp_min(0.0))
        return self._edges[n_bins]


def _gathered(values: Tensor, index: Tensor) -> Tensor:
    """Return values (..., L) at indices (n,) or (B, n)."""
    return values[..., index] if index.dim() == 1 else values.gather(-1, index)
