"""Random draws from one seeded generator."""

from __future__ import annotations

import torch
from torch import Tensor


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
