"""Normalisation of each spectrum, the only preprocessing in the encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .grid import Grid


class SpectrumNormalisation(nn.Module):
    """Centre and scale each spectrum by its own location and spread.

    Mean and standard deviation are integrals over the axis (each point is weighted by its width),
    so they do not depend on the sampling density. A constant spectrum becomes zeros.

    Parameters
    ----------
    kind : {"standard", "robust"}
        Mean and standard deviation, or median and 1.4826 MAD (all points have equal weight).
    """

    def __init__(self, kind: str = "standard") -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor, grid: Grid, visible: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Normalise spectra.

        Parameters
        ----------
        x : Tensor of shape (B, L)
            Spectra, any floating type.
        grid : Grid
            Wavelength grid of the spectra.
        visible : bool Tensor of shape (B, L), optional
            Points that are not masked (masked modelling); the others are ignored.

        Returns
        -------
        normalised : Tensor of shape (B, L), float32
        statistics : Tensor of shape (B, 2), float32
            asinh of the location and log of the spread, both clipped at -20 and 20.
        """
        # Float64, after division by the largest value: detector counts of 60,000 with a signal in
        # the last digits, or a spectrum of 1e-30, keep their precision. This costs a few percent of
        # the encoder's time.
        x = x.double()
        seen = grid.valid if visible is None else visible if grid.valid is None else visible & grid.valid
        if seen is not None:
            x = torch.where(seen, x, torch.zeros_like(x))
        scale = torch.linalg.vector_norm(x, torch.inf, dim=1, keepdim=True)
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        x = x / scale
        if self.kind == "standard":
            weight = grid.quadrature.double()
            if seen is not None:
                weight = weight * seen
            weight = weight / weight.sum(dim=-1, keepdim=True)
            location = (x * weight).sum(dim=1, keepdim=True)
            centred = x - location
            spread = _mean_square(centred, grid, seen).sqrt()
        else:
            nan = x if seen is None else torch.where(seen, x, torch.full_like(x, torch.nan))
            location = nan.nanmedian(dim=1, keepdim=True).values
            centred = x - location
            spread = 1.4826 * (nan - location).abs().nanmedian(dim=1, keepdim=True).values
        # A spread below 1e-7 of the largest value is rounding of float32 data.
        varies = spread > 1e-7
        normalised = centred * torch.where(varies, 1.0 / torch.where(varies, spread, 1.0), 0.0)
        if seen is not None:
            normalised = torch.where(seen, normalised, torch.zeros_like(x))
        # MAD is near zero if half of the points are equal; the clip bounds the other points then.
        normalised = normalised.clamp(-100.0, 100.0)
        log_spread = spread.clamp_min(1e-7).log() + scale.log()
        statistics = torch.cat([torch.asinh(location * scale), log_spread], dim=1).clamp(-20.0, 20.0)
        return normalised.float(), statistics.float()


def _mean_square(x: Tensor, grid: Grid, seen: Tensor | None) -> Tensor:
    """Return the mean square (B, 1) of curves interpolated linearly between their points."""
    a, b = x[:, :-1], x[:, 1:]
    gap = grid.log_wavelength.double().diff(dim=-1)
    squares = x.square()
    square, share = squares[:, :-1] + squares[:, 1:] + a * b, 3.0 * gap
    if seen is not None:
        # In a segment with one masked end, only the other end counts.
        left, right = seen[..., :-1].to(x.dtype), seen[..., 1:].to(x.dtype)
        square = a.square() * left + a * b * left * right + b.square() * right
        share = gap * (left + left * right + right)
    return (square * gap).sum(dim=1, keepdim=True) / share.sum(dim=-1, keepdim=True).clamp_min(1e-30)
