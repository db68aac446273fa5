"""Sampling that gives a dataset of 60 spectra as much say as one of 15,000."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler


class UniformDatasetSampler(Sampler[int]):
    """Rows of several datasets laid end to end: uniform by dataset, then uniform within.

    A sampler for `torch.utils.data.DataLoader` over a `ConcatDataset`, whose state can be saved within an
    epoch. `draw` is the same distribution for those who bring their own generator.

    Parameters
    ----------
    sizes : sequence of int
        Number of spectra of each dataset.
    weights : sequence of float, optional
        Share of each dataset, in any unit; equal shares by default.
    n_draws : int, optional
        Length of an epoch; the number of spectra by default.
    seed : int, default=0
        Seed; each epoch is another sequence.
    """

    def __init__(
        self, sizes: Sequence[int], weights: Sequence[float] | None = None, n_draws: int | None = None, seed: int = 0
    ) -> None:
        self.sizes = np.asarray(sizes, dtype=np.int64)
        shares = np.ones(len(self.sizes)) if weights is None else np.asarray(weights, dtype=np.float64)
        if not len(self.sizes) or (self.sizes < 1).any():
            raise ValueError(f"sizes must be positive, one per dataset; got {list(sizes)}.")
        if shares.shape != self.sizes.shape or not np.isfinite(shares).all() or (shares < 0).any() or not shares.any():
            raise ValueError(f"weights must be {len(self.sizes)} numbers >= 0, not all zero; got {list(shares)}.")
        self.probabilities = shares / shares.sum()
        self.n_draws = int(self.sizes.sum()) if n_draws is None else n_draws
        self.seed, self._epoch, self._position = seed, 0, 0
        self._next_epoch, self._start = 0, 0
        self._offsets = np.concatenate([[0], np.cumsum(self.sizes)[:-1]])

    def draw(
        self, generator: np.random.Generator, n: int, among: NDArray[np.intp] | None = None
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Draw n spectra, independently.

        Parameters
        ----------
        generator : numpy.random.Generator
            Source of randomness.
        n : int
            Number of spectra.
        among : ndarray of int, optional
            Datasets to draw from, in proportion to their weights; all by default.

        Returns
        -------
        datasets, rows : ndarray of shape (n,)
        """
        among = np.arange(len(self.sizes)) if among is None else among
        shares = self.probabilities[among]
        datasets = generator.choice(among, size=n, p=shares / shares.sum())
        return datasets, generator.integers(self.sizes[datasets])

    def draw_from_one(self, generator: np.random.Generator, n: int) -> tuple[int, NDArray[np.intp]]:
        """Draw a dataset and up to n of its spectra, without repeats."""
        dataset = int(generator.choice(len(self.sizes), p=self.probabilities))
        size = int(self.sizes[dataset])
        return dataset, generator.choice(size, size=min(n, size), replace=False)

    def __iter__(self) -> Iterator[int]:
        epoch, start = self._next_epoch, self._start
        self._next_epoch, self._start = epoch + 1, 0
        datasets, rows = self.draw(np.random.default_rng([self.seed, epoch]), self.n_draws)
        indices = self._offsets[datasets] + rows
        for position in range(start, self.n_draws):
            self._epoch, self._position = epoch, position + 1
            yield int(indices[position])

    def __len__(self) -> int:
        return self.n_draws

    def state_dict(self) -> dict[str, Any]:
        """Return how many draws of which epoch were given.

        A loader with workers takes draws ahead of the loop: set ``position`` to what the loop has used.
        """
        done = self._position == self.n_draws
        return {"seed": self.seed, "epoch": self._epoch + done, "position": 0 if done else self._position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved place at the next iteration."""
        self.seed = state["seed"]
        self._next_epoch = self._epoch = state["epoch"]
        self._start = self._position = state["position"]
