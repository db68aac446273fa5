"""A wavelength grid as the encoder sees it: coordinates, spacing, quadrature weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """Coordinates of the points of one grid (L,) or of a grid per spectrum (B, L).

    Attributes
    ----------
    log_wavelength : Tensor of shape (..., L)
        ln(wavelength / 1000 nm).
    relative : Tensor of shape (..., L)
        Position within the spectrum's own range on the same logarithmic axis, 0 to 1.
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

    @classmethod
    def from_wavelengths(cls, wavelengths: Tensor, valid: Tensor | None = None) -> Grid:
        """Build from ascending wavelengths in nm, padded (if at all) by repeating the last one."""
        u = (wavelengths.double() / 1000.0).log()
        gap = u.diff(dim=-1)
        edge = torch.zeros_like(u[..., :1])
        left, right = torch.cat([edge, gap], -1), torch.cat([gap, edge], -1)
        quadrature = (left + right) / 2
        if valid is not None:
            quadrature = quadrature * valid
        total = quadrature.sum(-1, keepdim=True)
        # A single channel has no width to integrate over: it counts as one.
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

    def per_distinct(self, compute: Callable[[Grid], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Compute once what rows of a 2-D grid share that are the same grid, and give each row its part."""
        unique = self.unique()
        if unique is None:
            return compute(self)
        distinct, member = unique
        return tuple(part[member] for part in compute(distinct))

    def rows(self, index: Tensor) -> Grid:
        """Return some rows of a 2-D grid."""
        parts: dict[str, Any] = {name: None if part is None else part[index] for name, part in vars(self).items()}
        return Grid(**parts)

    def unique(self) -> tuple[Grid, Tensor] | None:
        """Return the distinct rows of a 2-D grid and the index (B,) of each row's; None where all are distinct."""
        if self.log_wavelength.dim() == 1 or len(self.log_wavelength) < 2:
            return None
        # Padding is told by a number that no wavelength has.
        key = self.log_wavelength if self.valid is None else self.log_wavelength.where(self.valid, 1e9)
        distinct, member = key.unique(dim=0, return_inverse=True)
        if len(distinct) == len(key):
            return None
        first = torch.full((len(distinct),), len(key), device=member.device)
        first = first.scatter_reduce(0, member, torch.arange(len(key), device=member.device), "amin")
        return self.rows(first), member
