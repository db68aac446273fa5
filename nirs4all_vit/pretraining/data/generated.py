"""Datasets whose spectra are generated from seeds, in views of the same samples."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Self

import numpy as np

from .dataset import SpectralDataset


class GeneratedDataset(SpectralDataset):
    """Spectra that are generated on first access.

    Attributes
    ----------
    index : int
        Number of the dataset.
    n_spectra : int
        Number of spectra.
    seed : int
        Seed; with `index` and `view` it determines all random numbers.
    view : int
        Number of the view. Views have the same samples, row by row.
    """

    index: int
    n_spectra: int
    seed: int
    view: int

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (n_spectra, n_wavelengths), without generating the spectra."""
        return self.n_spectra, self.wavelengths.size

    def __len__(self) -> int:
        return self.n_spectra

    def paired(self) -> Self:
        """Return the next view: the same samples, row by row, measured again."""
        return self._next_view

    @cached_property
    def _next_view(self) -> Self:
        return self._of_view(self.view + 1)

    @abstractmethod
    def _of_view(self, view: int) -> Self:
        """Return another view."""

    def _generator(self, part: int, view: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.index, part, view])
