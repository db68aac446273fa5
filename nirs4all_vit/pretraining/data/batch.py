"""What a training step gets: a batch of spectra, and random numbers from one seed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ...encoder import Grid


@dataclass(frozen=True)
class SpectralBatch:
    """Clean spectra in absorbance, on one grid or padded.

    Attributes
    ----------
    spectra : Tensor of shape (n, L), float32
        Absorbance; zero on padding.
    wavelengths : Tensor of shape (L,) or (n, L), float64
        In nm, ascending; padding repeats the last one.
    deviation : float, or Tensor of shape (n, 1)
        Typical standard deviation between the spectra of the dataset, the unit in which spikes and
        corruptions are sized; a tensor where spectra come from several datasets.
    valid : bool Tensor of shape (n, L), or None
        False on padding; None on one grid.
    baseline : Tensor of shape (n, L), or None
        AsLS baseline; None if no dataset of the batch has one, NaN in rows of datasets without.
    datasets : Tensor of shape (n,), int64, or None
        Number of the dataset of each spectrum.
    rows : Tensor of shape (n,), int64, or None
        Row of each spectrum in its dataset.
    """

    spectra: Tensor
    wavelengths: Tensor
    deviation: float | Tensor
    valid: Tensor | None = None
    baseline: Tensor | None = None
    datasets: Tensor | None = None
    rows: Tensor | None = None

    def __len__(self) -> int:
        return len(self.spectra)

    def take(self, rows: Tensor) -> SpectralBatch:
        """Return some rows (a mask or indices)."""
        shared = ("wavelengths",) if self.wavelengths.dim() == 1 else ()
        fields = {k: v[rows] for k, v in vars(self).items() if isinstance(v, Tensor) and k not in shared}
        return dataclasses.replace(self, **fields)

    def grid(self) -> Grid:
        """Return the wavelengths as the encoder takes them."""
        from ...encoder import Grid

        return Grid.from_wavelengths(self.wavelengths, self.valid)

    def to(self, device: str | torch.device) -> SpectralBatch:
        """Return the batch on a device."""
        moved = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in vars(self).items()}
        return SpectralBatch(**moved)


class Draw:
    """Random draws from one seeded generator, in the ranges that tasks and augmentations are described by."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    @classmethod
    def seeded(cls, seed: int) -> Draw:
        """Return draws that the seed decides."""
        return cls(torch.Generator().manual_seed(seed))

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Uniform numbers of the given shape."""
        return torch.rand(shape, generator=self.generator) * (high - low) + low

    def log_uniform(self, *shape: int, low: float, high: float) -> Tensor:
        """Numbers whose logarithm is uniform between those of low and high."""
        bounds = torch.tensor([low, high]).log()
        return (self.uniform(*shape) * (bounds[1] - bounds[0]) + bounds[0]).exp()

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers."""
        return torch.randn(shape, generator=self.generator)

    def integer(self, low: int, high: int) -> int:
        """One integer, low <= i <= high."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return float(torch.rand((), generator=self.generator)) < probability
