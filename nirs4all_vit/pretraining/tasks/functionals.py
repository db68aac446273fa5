"""Functionals of the clean spectrum as targets, linear and nonlinear."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from ..data.batch import SpectralBatch
from ..draw import Draw
from .functions import check_count, gaussian_bands, random_view, standardise
from .spikes import physical_spike


class LinearFunctionals:
    """Predict contrasts of random bands of the clean spectrum, its derivative or its SNV."""

    def __init__(self, n_targets: int = 8) -> None:
        check_count("n_targets", n_targets)
        self.n_targets = n_targets

    def __call__(self, episode: SpectralBatch, draw: Draw) -> tuple[SpectralBatch, Tensor]:
        """Return the episode and targets (n, n_targets)."""
        view = random_view(episode.spectra, draw)
        bands = gaussian_bands(episode.wavelengths, draw, 2 * self.n_targets, wide=60.0)
        bands = bands / bands.sum(dim=1, keepdim=True).clamp_min(1e-8)
        means = view @ bands.T
        return episode, means[:, : self.n_targets] - means[:, self.n_targets :]


class NonlinearFunctionals:
    """Predict random smooth functions of a few band means.

    Two to six band means of the spectrum, its derivative or its SNV pass through a random network of
    ten tanh units beside a linear part. Half of the time the means are whitened first, so that small
    directions count; half of the time the spectra carry a physical spike, so that the encoder meets
    large amplitudes and nonlinear responses.
    """

    def __init__(self, n_targets: int = 8, n_hidden: int = 10) -> None:
        check_count("n_targets", n_targets)
        check_count("n_hidden", n_hidden)
        self.n_targets, self.n_hidden = n_targets, n_hidden

    def __call__(self, episode: SpectralBatch, draw: Draw) -> tuple[SpectralBatch, Tensor]:
        """Return the episode and targets (n, n_targets)."""
        spectra = physical_spike(episode, draw) if draw.chance(0.5) else episode.spectra
        view = random_view(spectra, draw)
        whiten = draw.chance(0.5)
        targets = []
        for _ in range(self.n_targets):
            n_bands = draw.integer(2, 6)
            bands = gaussian_bands(episode.wavelengths, draw, n_bands)
            means = standardise(view @ (bands / bands.sum(dim=1, keepdim=True).clamp_min(1e-8)).T)
            if whiten:
                means = _whiten(means)
            hidden = torch.tanh(means @ draw.normal(n_bands, self.n_hidden) / n_bands**0.5 + draw.normal(self.n_hidden))
            nonlinear = hidden @ draw.normal(self.n_hidden, 1) / self.n_hidden**0.5
            targets.append(nonlinear + means @ draw.normal(n_bands, 1) / n_bands**0.5)
        return dataclasses.replace(episode, spectra=spectra), torch.cat(targets, dim=1)


def _whiten(columns: Tensor) -> Tensor:
    """Decorrelate and scale columns, leaving out directions that are rounding only."""
    u, s, _ = torch.linalg.svd(columns - columns.mean(dim=0), full_matrices=False)
    keep = (s > 1e-4 * s[0].clamp_min(1e-12)).to(u.dtype)
    return u * keep * len(columns) ** 0.5
