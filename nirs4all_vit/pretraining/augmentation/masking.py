"""Masks of contiguous blocks of wavelengths."""

from __future__ import annotations

import torch
from torch import Tensor

from ..data.batch import Draw


def block_mask(
    wavelengths: Tensor,
    n_spectra: int,
    draw: Draw,
    ratio: tuple[float, float] = (0.6, 0.8),
    block: tuple[float, float] = (15.0, 150.0),
    valid: Tensor | None = None,
) -> Tensor:
    """Mask a share of each spectrum in contiguous blocks of nanometres.

    The range of each spectrum is cut into blocks of one width at a random offset, and blocks are masked
    in random order until the share drawn for it is reached, to within half a block. The share is one of
    wavelength, not of points, so that grids of any spacing lose the same bands.

    Parameters
    ----------
    wavelengths : Tensor of shape (L,) or (n_spectra, L)
        In nm, ascending.
    n_spectra : int
        Number of spectra.
    draw : Draw
        Source of randomness.
    ratio : (float, float), default=(0.6, 0.8)
        Bounds of the masked share, drawn per spectrum.
    block : (float, float), default=(15, 150)
        Bounds of the block width in nm, drawn log-uniformly per spectrum; never more than a sixth of the
        range, nor less than a point.
    valid : bool Tensor of shape (n_spectra, L), optional
        False on padding, which is never masked.

    Returns
    -------
    bool Tensor of shape (n_spectra, L)
        True where masked. Every spectrum of two or more points has masked and visible ones.

    Raises
    ------
    ValueError
        Bounds that are not 0 < low <= high < 1 (ratio) or 0 < low <= high (block).
    """
    check_bounds(ratio, block)
    axis = wavelengths.double().expand(n_spectra, -1)
    inside = torch.ones_like(axis, dtype=torch.bool) if valid is None else valid
    low, span = axis[:, :1], (axis[:, -1:] - axis[:, :1]).clamp_min(1e-9)
    n_points = inside.sum(dim=1, keepdim=True).clamp_min(2)
    width = draw.log_uniform(n_spectra, 1, low=block[0], high=block[1]).double()
    width = torch.minimum(torch.maximum(width, span / (n_points - 1)), span / torch.clamp(n_points - 1, max=6))
    offset = draw.uniform(n_spectra, 1).double() * width
    index = ((axis - low + offset) / width).long()
    n_blocks = int(index.max()) + 1
    # Trapezoid widths of the points, summed by block; padding has none.
    gaps = axis.diff(dim=1)
    edge = torch.zeros_like(axis[:, :1])
    share = (torch.cat([edge, gaps], 1) + torch.cat([gaps, edge], 1)) / (2 * span) * inside
    measure = axis.new_zeros(n_spectra, n_blocks).scatter_add_(1, index, share)
    filled = axis.new_zeros(n_spectra, n_blocks).scatter_add_(1, index, inside.double()) > 0
    order = (draw.uniform(n_spectra, n_blocks).double() + 2.0 * ~filled).argsort(dim=1)
    ordered = measure.gather(1, order)
    target = draw.uniform(n_spectra, 1, low=ratio[0], high=ratio[1]).double()
    count = (ordered.cumsum(dim=1) - ordered / 2 < target).sum(dim=1, keepdim=True)
    count = torch.minimum(count, filled.sum(dim=1, keepdim=True) - 1).clamp_min(1)
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(n_blocks).expand_as(order).contiguous())
    return (rank < count).gather(1, index) & inside


def check_bounds(ratio: tuple[float, float], block: tuple[float, float]) -> None:
    """Refuse bounds that no mask can keep, by a ValueError."""
    if not 0 < ratio[0] <= ratio[1] < 1:
        raise ValueError(f"ratio={ratio} must be two shares, 0 < low <= high < 1.")
    if not 0 < block[0] <= block[1]:
        raise ValueError(f"block={block} must be two widths in nm, 0 < low <= high.")
