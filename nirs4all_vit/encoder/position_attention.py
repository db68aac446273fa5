"""Cross-attention whose weights depend on wavelength only: windows, computed once per grid."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .banded import Banded, weighted
from .grid import Grid

# Layout of the windows around a latent's anchor, in units of the latents' spacing: two broad views of
# the neighbourhood, then narrower ones beside each other whose small differences carry the chemistry.
_OFFSETS = (0.0, 0.0, -0.25, 0.25, -0.4, -0.13, 0.13, 0.4)
_WIDTHS = (1.0, 0.35, 0.2, 0.2, 0.1, 0.1, 0.1, 0.1)
# Differences between windows of one latent are several times smaller than the level they share; brought to
# its size they survive the layer norm. Measured on the bank, untrained: RMSEP -3 %; flat from 3 to 10.
_CONTRAST = 6.0
# Weights below this one are rounding errors of float64.
_NEGLIGIBLE = 1e-12
# Gaps in ln(wavelength) below this one are none.
_TOUCHING = 1e-9
_ABSOLUTE_RANGE = (350.0, 2500.0)


class Windows(NamedTuple):
    """What the windows see of a grid.

    Attributes
    ----------
    weights : Tensor of shape (M * H, L) or (B, M * H, L), or Banded
        Rows sum to one over the valid points.
    coverage : Tensor of shape (M, H) or (B, M, H)
        1 where points lie under the window, fading to 0 outside of the spectrum's range.
    position : Tensor of shape (M, H) or (B, M, H)
        Mean ln(wavelength / 1000 nm) under the window.
    """

    weights: Tensor | Banded
    coverage: Tensor
    position: Tensor


class PositionKeyedAttention(nn.Module):
    """Gaussian windows in ln(wavelength), per latent and head, with learned centres and widths.

    Half of the latents are anchored on absolute wavelengths (350 to 2,500 nm), half on the position
    within the spectrum's own range, so that a short-range instrument is resolved as finely as a
    full-range one. Each window value is the integral of the window times the spectrum, taken as straight
    between its points, hence nearly independent of the sampling step.

    Parameters
    ----------
    n_latents : int
        Number of latents (M).
    n_windows : int
        Windows per latent (H).
    """

    anchor: Tensor
    spacing: Tensor

    def __init__(self, n_latents: int, n_windows: int) -> None:
        super().__init__()
        self.n_latents, self.n_windows = n_latents, n_windows
        self.n_absolute = (n_latents + 1) // 2
        # Small, and reckoned on the CPU where all else is built on "meta", whose arithmetic loads torch's tracer.
        with torch.device("cpu"):
            self._lay_out()

    def _lay_out(self) -> None:
        start, stop = (math.log(v / 1000.0) for v in _ABSOLUTE_RANGE)
        absolute, spacing = _anchors(self.n_absolute, start, stop)
        relative, relative_spacing = _anchors(self.n_latents - self.n_absolute, 0.0, 1.0)
        self.register_buffer("anchor", torch.cat([absolute, relative]).unsqueeze(1))
        spacings = [torch.full_like(absolute, spacing), torch.full_like(relative, relative_spacing)]
        self.register_buffer("spacing", torch.cat(spacings).unsqueeze(1))
        repeats = -(-self.n_windows // len(_OFFSETS))
        # Beyond eight windows the layout repeats at half the width.
        widths = [width * 0.5**k for k in range(repeats) for width in _WIDTHS]
        # Learned in units of the spacing: a step of the optimizer moves a window by a small part of its width.
        self.offset = nn.Parameter(torch.tensor(_OFFSETS * repeats)[: self.n_windows].repeat(self.n_latents, 1))
        self.log_width = nn.Parameter(torch.tensor(widths)[: self.n_windows].log().repeat(self.n_latents, 1))

    def windows(self, grid: Grid, dtype: torch.dtype = torch.float32) -> Windows:
        """Compute the windows of a grid; weights in `dtype`, whatever the ambient precision."""
        with torch.autocast(grid.log_wavelength.device.type, enabled=False):
            u, span = grid.log_wavelength.double(), grid.span.double()
            start, stop = u[..., :1], u[..., -1:]
            centre, width = self._placed(start, span)
            # Beyond the range a window reads the edge, and fades.
            inside = centre.clamp(min=start, max=stop)
            coverage = (-0.25 * ((centre - inside) / width).square()).exp()
            weights = gaussian_weights(u, inside, width)
            # An axis without extent has nothing to integrate.
            mass = weights.sum(-1, keepdim=True)
            weights = torch.where(mass > 1e-9, weights / mass.clamp_min(1e-9), grid.quadrature.double().unsqueeze(-2))
            position = (weights @ u.unsqueeze(-1)).squeeze(-1)
            layout = (*u.shape[:-1], self.n_latents, self.n_windows)
            return Windows(weights.to(dtype), coverage.reshape(layout).float(), position.reshape(layout).float())

    def _placed(self, start: Tensor, span: Tensor) -> tuple[Tensor, Tensor]:
        """Return centres and widths (..., M * H) in ln(wavelength) of windows on a range."""
        n = self.n_absolute * self.n_windows
        centre = (self.anchor + self.spacing * self.offset).double().flatten()
        width = (self.spacing * self.log_width.exp()).double().flatten()
        centre = torch.cat([centre[:n].expand(*span.shape[:-1], -1), start + span * centre[n:]], dim=-1)
        return centre, torch.cat([width[:n].expand(*span.shape[:-1], -1), span * width[n:]], dim=-1)

    def forward(self, x: Tensor, windows: Windows, visible: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Read normalised spectra through the windows.

        Parameters
        ----------
        x : Tensor of shape (B, L)
            Normalised spectra, zero where not valid or not visible.
        windows : Windows
            Of their grid.
        visible : bool Tensor of shape (B, L), optional
            Points that may be seen; the windows are renormalised over them.

        Returns
        -------
        values : Tensor of shape (B, M, H)
            Mean under a latent's first, broadest window, and the amplified differences of the others
            from it, all faded by the coverage.
        coverage : Tensor of shape (B, M, H), or (M, H) where spectra share it
        """
        with torch.autocast(x.device.type, enabled=False):
            return self._read(x, windows, visible)

    def _read(self, x: Tensor, windows: Windows, visible: Tensor | None) -> tuple[Tensor, Tensor]:
        values = weighted(windows.weights, x)
        coverage = windows.coverage
        if visible is not None:
            share = weighted(windows.weights, visible)
            values = values / share.clamp_min(1e-4)
            share = share.float()
            # Not from 0, where the slope of the square root is infinite.
            coverage = coverage * share.reshape(-1, *coverage.shape[-2:]).clamp(1e-6, 1.0).sqrt()
        values = values.reshape(-1, *coverage.shape[-2:])
        # The differences are taken in the precision of the windows, before anything is rounded to float32.
        level = values[..., :1]
        values = torch.cat([level, _CONTRAST * (values[..., 1:] - level)], dim=-1)
        return values.float() * coverage, coverage


def gaussian_weights(u: Tensor, centre: Tensor, width: Tensor) -> Tensor:
    """Integrate Gaussians against a curve that is straight between its points.

    The weight of a point is the integral of the Gaussian times the tent that stands on the point, which is a
    difference of divided differences of the Gaussian's second antiderivative. Coarse sampling, gaps and windows
    narrower than the step need no other case: they interpolate.

    Parameters
    ----------
    u : float64 Tensor of shape (..., L)
        Positions, ascending; repeated ones at the end are padding.
    centre, width : float64 Tensor of shape (..., W)
        Of normal densities.

    Returns
    -------
    Tensor of shape (..., W, L)
        Rows sum to the part of the density within the range.
    """
    t = (u.unsqueeze(-2) - centre.unsqueeze(-1)) / width.unsqueeze(-1)
    below = torch.special.ndtr(t)
    twice = t * below + (-0.5 * t.square()).exp() * (0.5 / math.pi) ** 0.5
    gap = u.diff(dim=-1).unsqueeze(-2)
    slope = twice.diff(dim=-1) * (width.unsqueeze(-1) / gap.clamp_min(_TOUCHING))
    slope = torch.where(gap > _TOUCHING, slope, below[..., :-1])
    weights = torch.cat([slope, below[..., -1:]], -1) - torch.cat([below[..., :1], slope], -1)
    # Far from the centre only rounding is left.
    return nn.functional.threshold(weights, _NEGLIGIBLE, 0.0)


def _anchors(n: int, start: float, stop: float) -> tuple[Tensor, float]:
    spacing = (stop - start) / max(n, 1)
    return start + spacing * (torch.arange(n) + 0.5), spacing
