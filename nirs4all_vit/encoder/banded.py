"""Products with matrices whose rows look at a stretch of the columns only."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# Fewer columns are multiplied sooner than cut.
_FEWEST, _N_BLOCKS = 256, 8
# Rows that are means sum to one: what lies below is rounding, strewn over all columns.
_ROUNDING = 1e-10


class Banded(NamedTuple):
    """Weights (n, L) of means as dense blocks of neighbouring rows, without most zeros.

    Attributes
    ----------
    blocks : list of (int, Tensor)
        First column, and weights (n_rows, n_columns) from there on.
    """

    blocks: list[tuple[int, Tensor]]


def banded(weights: Tensor | Banded) -> Tensor | Banded:
    """Cut weights (n, L) into blocks where that saves time."""
    if isinstance(weights, Banded) or weights.shape[1] < _FEWEST:
        return weights
    blocks = []
    for rows in weights.tensor_split(_N_BLOCKS):
        used = (rows.abs() > _ROUNDING).any(dim=0).nonzero().flatten()
        start, stop = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
        # A copy: a view would keep the whole matrix alive.
        blocks.append((start, rows[:, start:stop].clone(memory_format=torch.contiguous_format)))
    return Banded(blocks)


def weighted(weights: Tensor | Banded, x: Tensor) -> Tensor:
    """Return sums (B, n) over spectra (B, L), in the precision of weights (n, L), or of a matrix (B, n, L) of each spectrum."""
    if isinstance(weights, Banded):
        x = x.to(weights.blocks[0][1].dtype)
        return torch.cat([x[:, start : start + block.shape[1]] @ block.T for start, block in weights.blocks], dim=1)
    x = x.to(weights.dtype)
    if weights.dim() == 2:
        return x @ weights.T
    return torch.bmm(weights, x.unsqueeze(-1)).squeeze(-1)
