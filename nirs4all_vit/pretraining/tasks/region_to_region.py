"""One region of the spectrum from another."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from ..data.batch import SpectralBatch
from ..draw import Draw
from .functions import check_count, gaussian_bands, random_view


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
