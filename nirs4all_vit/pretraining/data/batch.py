"""Batches of spectra, and random draws from one seed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ...encoder import Grid


@dataclass(frozen=True)
class SpectralBatch:
    """Clean absorbance spectra, on one grid or padded.

    Attributes
    ----------
    spectra : Tensor of shape (n, L), float32
        Absorbance; 0 at padding.
    wavelengths : Tensor of shape (L,) or (n, L), float64
        In nm, ascending; padding repeats the last one.
    deviation : float, or Tensor of shape (n, 1)
        Typical standard deviation between the spectra of the dataset, the unit of spikes and
        corruptions; a tensor for spectra of several datasets.
    valid : bool Tensor of shape (n, L), or None
        False at padding; None without padding.
    baseline : Tensor of shape (n, L), or None
        AsLS baseline; None if no dataset of the batch has one, NaN for spectra without one.
    datasets : Tensor of shape (n,), int64, or None
        Number of the dataset of each spectrum.
    rows : Tensor of shape (n,), int64, or None
        Row of each spectrum in its dataset.
    n_episodes : int
        Number of episodes: equal blocks of rows, each of one dataset. By default all spectra are
        one episode.
    repeated : bool Tensor of shape (n,), or None
        True for repeated spectra, which fill up the end of the episode of a small dataset.
    numbers : tuple of int
        Number of the dataset of each episode, as in `datasets`, without access to the device; empty
        for mixed batches.
    """

    spectra: Tensor
    wavelengths: Tensor
    deviation: float | Tensor
    valid: Tensor | None = None
    baseline: Tensor | None = None
    datasets: Tensor | None = None
    rows: Tensor | None = None
    n_episodes: int = 1
    repeated: Tensor | None = None
    numbers: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.spectra)

    def take(self, rows: Tensor | slice) -> SpectralBatch:
        """Return the given rows (a mask, indices or a slice)."""
        shared = ("wavelengths",) if self.wavelengths.dim() == 1 else ()
        fields: dict[str, Any] = {
            k: v[rows] for k, v in vars(self).items() if isinstance(v, Tensor) and k not in shared
        }
        return dataclasses.replace(self, **fields)

    def episodes(self, first: int, last: int) -> SpectralBatch:
        """Return the episodes from `first` to before `last`."""
        if (first, last) == (0, self.n_episodes):
            return self
        size = len(self) // self.n_episodes
        batch = self.take(slice(first * size, last * size))
        return dataclasses.replace(batch, n_episodes=last - first, numbers=self.numbers[first:last])

    def reordered(self, order: Tensor) -> SpectralBatch:
        """Return the episodes in the order given by indices (n_episodes,)."""
        size = len(self) // self.n_episodes
        rows = order.unsqueeze(1) * size + torch.arange(size, device=order.device)
        return dataclasses.replace(self.take(rows.flatten()), numbers=())

    @classmethod
    def joined(cls, parts: Sequence[SpectralBatch]) -> SpectralBatch:
        """Concatenate the episodes of several batches of equal length."""

        def joined(name: str) -> Any:
            values = [getattr(part, name) for part in parts]
            return torch.cat(values) if all(isinstance(value, Tensor) for value in values) else None

        names = ("spectra", "wavelengths", "deviation", "datasets", "rows", "repeated")
        fields: dict[str, Any] = {name: joined(name) for name in names}
        return cls(**fields, n_episodes=sum(part.n_episodes for part in parts))

    def by_episode(self, values: Tensor) -> Tensor:
        """Reshape values (n, ...) of the spectra to (n_episodes, n / n_episodes, ...)."""
        return values.unflatten(0, (self.n_episodes, -1))

    @property
    def axes(self) -> Tensor:
        """Wavelengths of each episode, (n_episodes, L)."""
        axes = self.wavelengths
        return axes.expand(self.n_episodes, -1) if axes.dim() == 1 else self.by_episode(axes)[:, 0]

    @property
    def deviations(self) -> Tensor | float:
        """Standard deviation of each episode, (n_episodes, 1, 1), or a number for one dataset."""
        deviation = self.deviation
        return self.by_episode(deviation)[:, :1] if isinstance(deviation, Tensor) else deviation

    @property
    def same_length(self) -> bool:
        """Whether there is no padding and each spectrum has its own axis."""
        return self.valid is None and self.wavelengths.dim() == 2

    def grid(self) -> Grid:
        """Return the wavelengths as a `Grid`, the input of the encoder."""
        from ...encoder import Grid

        return Grid.from_wavelengths(self.wavelengths, self.valid)

    def to(self, device: str | torch.device) -> SpectralBatch:
        """Return the batch on a device."""
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
            for name, value in vars(self).items()
        }
        return SpectralBatch(**moved)


class Draw:
    """Random draws from one seed.

    Tensors are drawn on the device of the generator. Python numbers are drawn on the CPU, which
    avoids synchronisation with a GPU.
    """

    def __init__(self, generator: torch.Generator, host: torch.Generator | None = None) -> None:
        self.generator, self.host = generator, generator if host is None else host

    @classmethod
    def seeded(cls, seed: int, device: torch.device | str = "cpu") -> Draw:
        """Return draws determined by the seed and the type of device."""
        host = torch.Generator().manual_seed(seed)
        if torch.device(device).type == "cpu":
            return cls(host)
        return cls(torch.Generator(device).manual_seed(seed), host)

    @property
    def device(self) -> torch.device:
        """Device on which tensors are drawn."""
        return self.generator.device

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Uniform numbers of the given shape."""
        return torch.rand(shape, generator=self.generator, device=self.device) * (high - low) + low

    def log_uniform(self, *shape: int, low: float, high: float) -> Tensor:
        """Numbers whose logarithm is uniform between those of low and high."""
        return self.uniform(*shape, low=math.log(low), high=math.log(high)).exp()

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers."""
        return torch.randn(shape, generator=self.generator, device=self.device)

    def whether(self, probability: float, *shape: int) -> Tensor:
        """Booleans that are True with the given probability."""
        return self.uniform(*shape) < probability

    def order(self, *shape: int) -> Tensor:
        """Random permutations along the last dimension."""
        return self.uniform(*shape).argsort(dim=-1)

    def integer(self, low: int, high: int) -> int:
        """Random integer i with low <= i <= high."""
        return int(torch.randint(low, high + 1, (), generator=self.host))

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return float(torch.rand((), generator=self.host)) < probability

    def counts(self, n: int, shares: Sequence[float]) -> list[int]:
        """Draw the number of n items in each category, given the shares of the categories."""
        drawn = torch.multinomial(torch.tensor(shares, dtype=torch.float64), n, replacement=True, generator=self.host)
        return torch.bincount(drawn, minlength=len(shares)).tolist()
