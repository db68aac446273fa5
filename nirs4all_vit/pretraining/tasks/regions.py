"""Tasks that hide a region of the spectrum, whose contents are predicted from the rest."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from ..data.batch import Draw, SpectralBatch
from .bands import check_count, gaussian_bands, random_view

#: Components that targets are drawn from, and points that have to stay or to be hidden.
_N_COMPONENTS, _MIN_SEEN, _MIN_HIDDEN = 5, 12, 4
#: Share of the range beside the region that is hidden with it: neighbours would tell it all.
_MARGIN = 0.024


class HiddenComponents:
    """Predict how the shape of a hidden region varies from one spectrum to the next.

    A region is cut out of all spectra, with a margin. What was there loses its line, half of the time also its
    contrast, and its principal components, each scaled to unit variance, are the answers: small directions count
    as much as large ones, as an analyte's do. Among forty ways of embedding a spectrum without a network this
    task ranks as calibrations of real constituents do (``benchmarks/research/LOG.md``, section 6).

    Most episodes show another material than the one that was measured: the axis reversed, the response bent, or a
    second material mixed in, made of the same spectra in another order.

    Parameters
    ----------
    n_targets : int
        Components to predict, of the first five.
    smallest, largest : float
        Bounds of the hidden share of the points, without margins.
    varied : float
        Share of episodes with another material.
    """

    def __init__(self, n_targets: int = 3, smallest: float = 0.08, largest: float = 0.24, varied: float = 0.8) -> None:
        if not 0 < smallest <= largest <= 0.5:
            raise ValueError(f"smallest={smallest}, largest={largest} must be shares, 0 < smallest <= largest <= 0.5.")
        if not 0 <= varied <= 1:
            raise ValueError(f"varied={varied} must lie between 0 and 1.")
        check_count("n_targets", n_targets)
        self.n_targets, self.smallest, self.largest, self.varied = n_targets, smallest, largest, varied

    def __call__(self, episode: SpectralBatch, draw: Draw) -> tuple[SpectralBatch, Tensor]:
        """Return what is left of the episode and targets (n, n_targets)."""
        spectra = _other_material(episode.spectra, draw) if draw.chance(self.varied) else episode.spectra
        length = spectra.shape[1]
        margin = round(_MARGIN * length)
        hidden = int(float(draw.uniform(1, low=self.smallest, high=self.largest)) * length)
        hidden = max(_MIN_HIDDEN, min(hidden, length - 2 * margin - _MIN_SEEN))
        first = draw.integer(0, max(0, length - hidden))
        targets = _components(spectra[:, first : first + hidden], draw, self.n_targets)
        mask = torch.ones(length, dtype=torch.bool)
        mask[max(0, first - margin) : first + hidden + margin] = False
        visible = dataclasses.replace(
            episode, spectra=spectra[:, mask].contiguous(), wavelengths=episode.wavelengths[mask], baseline=None
        )
        return visible, targets


def _components(region: Tensor, draw: Draw, n_targets: int) -> Tensor:
    """Return scores (n, n_targets) of principal components of unit variance, zeros where there are fewer."""
    x = region.double()
    ramp = torch.linspace(-1.0, 1.0, x.shape[1], dtype=x.dtype)
    ramp = ramp / ramp.norm()
    x = x - x.mean(dim=1, keepdim=True)
    x = x - (x @ ramp)[:, None] * ramp
    if draw.chance(0.5):
        x = x / x.square().mean(dim=1, keepdim=True).sqrt().clamp_min(1e-9)
    u, s, _ = torch.linalg.svd(x - x.mean(dim=0), full_matrices=False)
    # Rounding of the data is no component; neither is a single odd spectrum.
    u = u * ((s > 1e-5 * s[0]) & (s > 0) & (u.abs().amax(dim=0) < 0.99))
    columns = torch.randperm(min(_N_COMPONENTS, u.shape[1]), generator=draw.generator)[:n_targets]
    scores = u[:, columns] * len(u) ** 0.5
    return torch.nn.functional.pad(scores, (0, n_targets - scores.shape[1])).float()


def _other_material(spectra: Tensor, draw: Draw) -> Tensor:
    """Mix, reverse or bend spectra; scale and range stay near what they were."""
    if draw.chance(0.3):
        other = spectra.flip(1)[torch.randperm(len(spectra), generator=draw.generator)]
        spectra = spectra + float(draw.log_uniform(1, low=0.1, high=2.0)) * other
    if draw.chance(0.5):
        spectra = spectra.flip(1)
    if draw.chance(0.3):
        mean, deviation = spectra.mean(), spectra.std().clamp_min(1e-9)
        bend = float(draw.uniform(1, low=0.02, high=0.4)) * (1 if draw.chance(0.5) else -1)
        spectra = mean + deviation * torch.expm1(bend * (spectra - mean) / deviation) / bend
    return spectra.contiguous()


class RegionToRegion:
    """Predict band contrasts of a region from the spectrum of the rest.

    The range is cut in two; the encoder sees the larger part, the answers are contrasts of random bands of
    the other one, of its spectrum, derivative or SNV. Teaches which bands belong to one molecule.

    Parameters
    ----------
    n_targets : int
        Contrasts to predict.
    smallest, largest : float
        Bounds of the hidden share of the points.
    """

    min_points = 16

    def __init__(self, n_targets: int = 8, smallest: float = 0.15, largest: float = 0.4) -> None:
        if not 0 < smallest <= largest <= 0.5:
            raise ValueError(f"smallest={smallest}, largest={largest} must be shares, 0 < smallest <= largest <= 0.5.")
        check_count("n_targets", n_targets)
        self.n_targets, self.smallest, self.largest = n_targets, smallest, largest

    def __call__(self, episode: SpectralBatch, draw: Draw) -> tuple[SpectralBatch, Tensor]:
        """Return the visible part of the episode and targets (n, n_targets)."""
        length = episode.spectra.shape[1]
        hidden = int(float(draw.uniform(1, low=self.smallest, high=self.largest)) * length)
        hidden = max(2, min(hidden, length - self.min_points, length // 2))
        first = draw.chance(0.5)
        rest, other = (slice(hidden, None), slice(0, hidden)) if first else (slice(0, -hidden), slice(-hidden, None))
        axis = episode.wavelengths[other]
        bands = gaussian_bands(axis, draw, 2 * self.n_targets, wide=60.0)
        means = (
            random_view(episode.spectra[:, other], draw) @ (bands / bands.sum(dim=1, keepdim=True).clamp_min(1e-8)).T
        )
        targets = means[:, : self.n_targets] - means[:, self.n_targets :]
        visible = dataclasses.replace(
            episode, spectra=episode.spectra[:, rest].contiguous(), wavelengths=episode.wavelengths[rest], baseline=None
        )
        return visible, targets
