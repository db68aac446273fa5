"""Episodes: a few dozen spectra of one dataset, as a small calibration set would hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .bank import SpectralDataset


@dataclass(frozen=True)
class Episode:
    """Clean spectra of one dataset on one grid.

    Attributes
    ----------
    spectra : Tensor of shape (n, L), float32
        Absorbance.
    wavelengths : Tensor of shape (L,), float64
        In nm, ascending.
    deviation : float
        Typical standard deviation between the dataset's spectra, the unit in which spikes and
        corruptions are sized.
    """

    spectra: Tensor
    wavelengths: Tensor
    deviation: float


class EpisodeSampler:
    """Draw episodes uniformly over datasets, with random crops and point sub-sampling.

    Parameters
    ----------
    datasets : sequence of SpectralDataset
        The bank. Datasets of fewer than 12 spectra are left out: no calibration fits in them.
    size : int
        Largest number of spectra in an episode.
    crop_probability, thin_probability : float
        Share of episodes cropped to 40-100 % of their range, and thinned to every second point.
    """

    min_spectra, min_points = 12, 16

    def __init__(
        self,
        datasets: Sequence[SpectralDataset],
        size: int = 96,
        crop_probability: float = 0.4,
        thin_probability: float = 0.2,
    ) -> None:
        self.size, self.crop_probability, self.thin_probability = size, crop_probability, thin_probability
        self._data = []
        for dataset in datasets:
            if len(dataset.values) < self.min_spectra:
                continue
            values = torch.from_numpy(np.ascontiguousarray(dataset.absorbance(), dtype=np.float32))
            # Robust over wavelengths: a few saturated channels must not set the scale.
            deviation = float(np.median(values.numpy().std(axis=0)))
            if deviation > 0:
                self._data.append((values, torch.from_numpy(dataset.wavelengths.copy()), deviation))
        if not self._data:
            raise ValueError(f"no dataset has {self.min_spectra} spectra that differ; nothing to pretrain on.")

    def __len__(self) -> int:
        return len(self._data)

    def draw(self, generator: np.random.Generator) -> Episode:
        """Draw one episode; the generator alone decides which."""
        values, wavelengths, deviation = self._data[generator.integers(len(self._data))]
        rows = generator.permutation(len(values))[: self.size]
        start, stop, step = 0, len(wavelengths), 1
        if generator.random() < self.crop_probability:
            kept = max(self.min_points, int(generator.uniform(0.4, 1.0) * stop))
            if kept < stop:
                start = int(generator.integers(stop - kept))
                stop = start + kept
        if generator.random() < self.thin_probability and stop - start >= 2 * self.min_points:
            step = 2
        spectra = values[torch.from_numpy(rows)][:, start:stop:step]
        return Episode(spectra.contiguous(), wavelengths[start:stop:step], deviation)
