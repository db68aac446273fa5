"""Embedding of optional metadata, added to the latents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .fields import UNKNOWN, value_and_mask

#: Numeric values are clipped at this number of standard deviations.
_CLIP = 5.0


class MetadataEmbedding(nn.Module):
    """Embed sparse metadata dictionaries.

    Each category has a vector; missing and new categories share that of UNKNOWN. Numeric fields
    enter as (value, mask), standardised by `standardise` and clipped at 5 standard deviations. The
    output projection starts at zero: before training, metadata have no effect.

    Parameters
    ----------
    categorical : mapping of str to sequence of str
        Categorical fields and their categories.
    numeric : sequence of str
        Numeric fields.
    d_model : int
        Width of a latent.
    d_meta : int
        Width of the embedding of each field.
    """

    centre: Tensor
    spread: Tensor

    def __init__(
        self, categorical: Mapping[str, Sequence[str]], numeric: Sequence[str], d_model: int, d_meta: int
    ) -> None:
        super().__init__()
        self.fields = tuple(categorical)
        self.numeric = tuple(numeric)
        self.index = {name: {c: i + 1 for i, c in enumerate(categories)} for name, categories in categorical.items()}
        self.tables = nn.ModuleList([nn.Embedding(len(categories) + 1, d_meta) for categories in categorical.values()])
        self.values = nn.Linear(2 * len(self.numeric), d_meta, bias=False) if self.numeric else None
        if self.numeric:
            self.register_buffer("centre", torch.zeros(len(self.numeric), device="cpu"))
            self.register_buffer("spread", torch.ones(len(self.numeric), device="cpu"))
        self.output = nn.Linear(d_meta, d_model)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, metadata: Sequence[Mapping[str, Any]]) -> Tensor:
        """Embed one dictionary per spectrum into (B, D)."""
        device = self.output.weight.device
        total = torch.zeros(len(metadata), self.output.in_features, dtype=torch.float32, device=device)
        for name, table in zip(self.fields, self.tables, strict=True):
            index = self.index[name]
            codes = [index.get(str(row.get(name, UNKNOWN)), 0) for row in metadata]
            total = total + table(torch.tensor(codes, device=device))
        if self.values is not None:
            pairs = [[value_and_mask(row.get(name)) for name in self.numeric] for row in metadata]
            numbers = torch.tensor(pairs, dtype=torch.float32, device=device)
            mask = numbers[..., 1]
            value = ((numbers[..., 0] - self.centre) / self.spread).clamp(-_CLIP, _CLIP) * mask
            total = total + self.values(torch.stack([value, mask], dim=-1).flatten(1))
        return self.output(total)

    def standardise(self, metadata: Sequence[Mapping[str, Any]]) -> None:
        """Set mean and standard deviation of the numeric fields from one dictionary per dataset."""
        for k, name in enumerate(self.numeric):
            numbers = [value for value, mask in (value_and_mask(row.get(name)) for row in metadata) if mask]
            if numbers:
                values = torch.tensor(numbers, dtype=torch.float64)
                self.centre[k] = float(values.mean())
                self.spread[k] = max(float(values.std(correction=0)), 1e-3 * abs(float(values.mean())), 1e-12)
