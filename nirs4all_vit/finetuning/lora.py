"""Low-rank updates of linear layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LoRALinear(nn.Module):
    """A frozen linear layer plus a trained update of low rank, zero at the start.

    Parameters
    ----------
    linear : nn.Linear
        Frozen here.
    rank : int
        Of the update.
    generator : torch.Generator

    References
    ----------
    Hu, E. J. et al. (2022). LoRA: Low-Rank ColumnWeighting of Large Language Models. ICLR.
    """

    def __init__(self, linear: nn.Linear, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self.linear = linear.requires_grad_(False)
        rank = min(rank, linear.in_features, linear.out_features)
        down = torch.randn(rank, linear.in_features, generator=generator, dtype=torch.float32)
        self.down = nn.Parameter(down / linear.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(linear.out_features, rank, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer and its update to (..., in_features)."""
        return self.linear(x) + (x @ self.down.T) @ self.up.T

    def merged(self) -> nn.Linear:
        """Return a plain layer that does the same."""
        with torch.no_grad():
            self.linear.weight += self.up @ self.down
        return self.linear


def add_lora(module: nn.Module, rank: int, generator: torch.Generator) -> None:
    """Freeze a module and give each of its linear layers an update of low rank."""
    module.requires_grad_(False)
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Linear):
            setattr(module, name, LoRALinear(child, rank, generator))
        else:
            add_lora(child, rank, generator)


def merge_lora(module: nn.Module) -> None:
    """Put plain linear layers back, updates included."""
    for name, child in list(module.named_children()):
        if isinstance(child, LoRALinear):
            setattr(module, name, child.merged())
        else:
            merge_lora(child)
