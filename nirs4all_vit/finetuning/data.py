"""Spectra and targets as batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ..spectra import Spectra


class SpectralRows(Dataset):
    """Rows of a block of spectra with their targets.

    Parameters
    ----------
    spectra : Spectra
        On one axis, or padded.
    targets : ndarray of shape (n, ...), or None
    rows : ndarray of shape (n_rows,)
        Which rows there are.
    """

    def __init__(self, spectra: Spectra, targets: NDArray[Any] | None, rows: NDArray[np.intp]) -> None:
        self.spectra, self.targets, self.rows = spectra, targets, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple[dict[str, NDArray[Any]], Any]:
        row = self.rows[i]
        inputs = {"x": self.spectra.values[row].astype(np.float32)}
        if self.spectra.wavelengths.ndim == 2:
            inputs |= {"wavelengths": self.spectra.wavelengths[row], "valid": self.spectra.valid[row]}
        return inputs, 0 if self.targets is None else self.targets[row]


class Disturb:
    """Collate a batch and disturb each spectrum a little: gain, straight baseline and noise of the size instruments have.

    Parameters
    ----------
    deviation : float
        Typical deviation of a spectrum.
    """

    def __init__(self, deviation: float) -> None:
        self.deviation = deviation

    def __call__(self, items: list[tuple[dict[str, NDArray[Any]], Any]]) -> tuple[dict[str, Tensor], Tensor]:
        """Return inputs of the module and targets."""
        inputs, targets = torch.utils.data.default_collate(items)
        x = inputs["x"]
        n, length = x.shape
        drift = torch.randn(n, 2) @ torch.stack([torch.ones(length), torch.linspace(-1.0, 1.0, length)])
        noise = torch.randn(n, length)
        level = 10.0 ** (-4.0 + 2.0 * torch.rand(n, 1))
        gain = 1.0 + 0.03 * torch.randn(n, 1)
        inputs["x"] = x * gain + self.deviation * (0.03 * drift + level * noise)
        return inputs, targets
