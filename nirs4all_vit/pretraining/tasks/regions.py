"""Tasks that hide a spectral region and predict it from the rest of the spectrum."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from ..data.batch import Draw, SpectralBatch
from .bands import band_contrasts, check_count, random_view

#: Number of components to draw targets from; smallest numbers of visible and hidden points.
_N_COMPONENTS, _MIN_VISIBLE, _MIN_HIDDEN = 5, 12, 4
#: Share of the points hidden on each side of the region: direct neighbours would reveal its
#: contents.
_MARGIN = 0.024
#: Additional directions and number of steps of the orthogonal iteration.
_OVERSAMPLING, _STEPS = 3, 24


class HiddenComponents:
    """Predict the principal components of a hidden spectral region.

    A region is removed from all spectra, with a margin. The region is detrended by a straight line
    and, in half of the episodes, scaled to unit contrast. The targets are its principal components,
    each scaled to unit variance, so that small directions count as much as large ones. Over forty
    embeddings without a network, the ranking by this task agrees with the ranking by calibrations
    of real constituents (research log, section 6).

    Most episodes show a modified material: the axis is reversed, the response is bent, or a second
    material, made of the same spectra in another order, is mixed in.

    Parameters
    ----------
    n_targets : int
        Number of components to predict, drawn from the first five.
    smallest, largest : float
        Bounds of the hidden share of the points, without the margins.
    varied : float
        Share of the episodes with a modified material.
    """

    def __init__(self, n_targets: int = 3, smallest: float = 0.08, largest: float = 0.24, varied: float = 0.8) -> None:
        if not 0 < smallest <= largest <= 0.5:
            raise ValueError(f"smallest={smallest}, largest={largest} must be shares, 0 < smallest <= largest <= 0.5.")
        if not 0 <= varied <= 1:
            raise ValueError(f"varied={varied} must be between 0 and 1.")
        check_count("n_targets", n_targets)
        self.n_targets, self.smallest, self.largest, self.varied = n_targets, smallest, largest, varied

    def __call__(self, batch: SpectralBatch, draw: Draw) -> tuple[SpectralBatch, Tensor]:
        """Return the visible part of the episodes and targets (n, n_targets)."""
        x = batch.by_episode(batch.spectra)
        x = torch.where(draw.whether(self.varied, len(x), 1, 1), _modified_material(x, draw), x)
        length = x.shape[-1]
        margin = round(_MARGIN * length)
        most = length - 2 * margin - _MIN_VISIBLE
        hidden = _integers(draw, len(x), self.smallest * length, self.largest * length, _MIN_HIDDEN, most)
        first = (draw.uniform(len(x)) * (length - hidden + 1)).floor().long()
        region, _ = _region(batch, x, first, hidden, math.ceil(self.largest * length))
        visible = _without_region(batch, x, (first - margin).clamp_min(0), (first + hidden + margin).clamp_max(length))
        return visible, _components(region, draw, self.n_targets).flatten(0, 1)


class RegionToRegion:
    """Predict band contrasts of one spectral region from the other region.

    The range is divided in two. The encoder receives the larger part; the targets are contrasts of
    random bands of the other part, in its spectrum, derivative or SNV. The task teaches which bands
    belong to one molecule.

    Parameters
    ----------
    n_targets : int
        Number of contrasts to predict.
    smallest, largest : float
        Bounds of the hidden share of the points.
    """

    min_points = 16

    def __init__(self, n_targets: int = 8, smallest: float = 0.15, largest: float = 0.4) -> None:
        if not 0 < smallest <= largest <= 0.5:
            raise ValueError(f"smallest={smallest}, largest={largest} must be shares, 0 < smallest <= largest <= 0.5.")
        check_count("n_targets", n_targets)
        self.n_targets, self.smallest, self.largest = n_targets, smallest, largest

    def __call__(self, batch: SpectralBatch, draw: Draw) -> tuple[SpectralBatch, Tensor]:
        """Return the visible part of the episodes and targets (n, n_targets)."""
        x = batch.by_episode(batch.spectra)
        length = x.shape[-1]
        most = min(length - self.min_points, length // 2)
        hidden = _integers(draw, len(x), self.smallest * length, self.largest * length, 2, most)
        first = torch.where(draw.whether(0.5, len(x)), 0, length - hidden)
        region, axes = _region(batch, x, first, hidden, math.ceil(self.largest * length))
        targets = band_contrasts(random_view(region, draw), axes, draw, self.n_targets)
        return _without_region(batch, x, first, first + hidden), targets.flatten(0, 1)


def _integers(draw: Draw, n: int, low: float, high: float, fewest: int, most: int) -> Tensor:
    """Return n integers between `low` and `high`, clipped to `fewest` ... `most` (at least 2)."""
    return draw.uniform(n, low=low, high=high).long().clamp_max(most).clamp_min(min(fewest, max(most, 2)))


def _region(batch: SpectralBatch, x: Tensor, first: Tensor, width: Tensor, n_points: int) -> tuple[Tensor, Tensor]:
    """Return regions (B, S, W) of spectra (B, S, L) and their axes (B, W).

    `first` is the first point and `width` the number of points of each region, (B,). On one grid a
    region keeps its points; otherwise each region is interpolated to `n_points` points.
    """
    axes = batch.axes
    if not batch.same_length:
        part = slice(int(first), int(first + width))
        return x[..., part], axes[:, part]
    place = torch.linspace(0.0, 1.0, n_points, dtype=torch.float64, device=x.device)
    return _read(x, axes, first.unsqueeze(1) + place * (width - 1).unsqueeze(1))


def _without_region(batch: SpectralBatch, x: Tensor, start: Tensor, stop: Tensor) -> SpectralBatch:
    """Return a batch of spectra (B, S, L) without the points from `start` to before `stop`, (B,).

    On one grid the remaining points are unchanged; otherwise they are interpolated to L points.
    """
    length = x.shape[-1]
    if not batch.same_length:
        seen = torch.ones(length, dtype=torch.bool)
        seen[int(start) : int(stop)] = False
        axis = batch.wavelengths[..., seen]
        return dataclasses.replace(batch, spectra=x[0][:, seen].contiguous(), wavelengths=axis, baseline=None)
    start, stop = start.unsqueeze(1), stop.unsqueeze(1)
    gap = stop - start
    place = torch.linspace(0.0, 1.0, length, dtype=torch.float64, device=x.device) * (length - gap - 1)
    # Do not interpolate across the gap.
    place = torch.where(place > start - 1, torch.maximum(place + gap, stop).clamp_max(length - 1), place)
    spectra, axes = _read(x, batch.axes, place)
    axes = axes.unsqueeze(1).expand(-1, x.shape[1], -1).flatten(0, 1)
    return dataclasses.replace(batch, spectra=spectra.flatten(0, 1), wavelengths=axes, baseline=None)


def _read(x: Tensor, axes: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """Interpolate spectra (B, S, L) and axes (B, L) at fractional indices (B, W)."""
    left = place.floor().clamp(0, x.shape[-1] - 2)
    share, left = place - left, left.long()
    index = left.unsqueeze(1).expand(-1, x.shape[1], -1)
    read = torch.lerp(x.gather(2, index), x.gather(2, index + 1), share.unsqueeze(1).to(x.dtype))
    return read, torch.lerp(axes.gather(1, left), axes.gather(1, left + 1), share)


def _components(region: Tensor, draw: Draw, n_targets: int) -> Tensor:
    """Return scores (B, S, n_targets) of principal components of unit variance, padded with 0."""
    x = region.double()
    ramp = torch.linspace(-1.0, 1.0, x.shape[-1], dtype=x.dtype, device=x.device)
    ramp = ramp / ramp.norm()
    x = x - x.mean(dim=-1, keepdim=True)
    x = x - (x @ ramp).unsqueeze(-1) * ramp
    contrast = x.square().mean(dim=-1, keepdim=True).sqrt().clamp_min(1e-9)
    x = torch.where(draw.whether(0.5, len(x), 1, 1), x / contrast, x)
    u, s = leading_directions(x - x.mean(dim=1, keepdim=True), draw, _N_COMPONENTS)
    # Exclude components that are rounding errors or a single outlying spectrum.
    u = u * ((s > 1e-5 * s[:, :1]) & (s > 0) & (u.abs().amax(dim=1) < 0.99)).unsqueeze(1)
    columns = draw.order(len(u), u.shape[2])[:, :n_targets]
    scores = u.gather(2, columns.unsqueeze(1).expand(-1, u.shape[1], -1)) * u.shape[1] ** 0.5
    return torch.nn.functional.pad(scores, (0, n_targets - scores.shape[2])).float()


def leading_directions(x: Tensor, draw: Draw, n: int) -> tuple[Tensor, Tensor]:
    """Return leading left singular vectors and singular values of matrices (B, S, W).

    The vectors (B, S, n) and values (B, n) are in descending order.

    Computed by orthogonal iteration, because a library decomposition synchronises with the GPU.
    Directions with nearly equal singular values are mixed.
    """
    size = min(n + _OVERSAMPLING, *x.shape[1:])
    u = draw.normal(len(x), x.shape[1], size).to(x.dtype)
    for _ in range(_STEPS):
        u = torch.linalg.qr(x @ (x.transpose(1, 2) @ u)).Q
    u = u[:, :, : min(n, size)]
    return u, (x.transpose(1, 2) @ u).norm(dim=1)


def _modified_material(spectra: Tensor, draw: Draw) -> Tensor:
    """Mix, reverse or bend episodes (B, S, L) of spectra; scale and range hardly change."""
    n, size, _ = spectra.shape
    other = spectra.flip(2).gather(1, draw.order(n, size).unsqueeze(2).expand_as(spectra))
    mixed = spectra + draw.log_uniform(n, 1, 1, low=0.1, high=2.0) * other
    spectra = torch.where(draw.whether(0.3, n, 1, 1), mixed, spectra)
    spectra = torch.where(draw.whether(0.5, n, 1, 1), spectra.flip(2), spectra)
    mean, deviation = spectra.mean(dim=(1, 2), keepdim=True), spectra.std(dim=(1, 2), keepdim=True).clamp_min(1e-9)
    bend = draw.uniform(n, 1, 1, low=0.02, high=0.4) * torch.where(draw.whether(0.5, n, 1, 1), 1.0, -1.0)
    bent = mean + deviation * torch.expm1(bend * (spectra - mean) / deviation) / bend
    return torch.where(draw.whether(0.3, n, 1, 1), bent, spectra)
