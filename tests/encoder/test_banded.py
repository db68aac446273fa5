"""Blocks of weights give the sums that the whole matrix gives."""

from __future__ import annotations

import pytest
import torch

from nirs4all_vit.encoder import Grid
from nirs4all_vit.encoder.banded import Banded, banded, weighted

from .test_perceiver import build


@pytest.mark.parametrize("rows", [3, 64, 100])
def test_blocks_are_the_matrix_without_most_zeros(rows: int) -> None:
    place = torch.linspace(0.0, 1.0, rows, dtype=torch.float64)[:, None] - torch.linspace(0.0, 1.0, 300).double()
    weights = torch.where(place.abs() < 0.05, 1.0 - 20.0 * place.abs(), 0.0)
    weights[rows // 2] = 0.0
    cut, x = banded(weights), torch.randn(4, 300)
    assert isinstance(cut, Banded)
    assert banded(cut) is cut
    assert sum(block.untyped_storage().nbytes() for _, block in cut.blocks) < 0.5 * 8 * weights.numel()
    torch.testing.assert_close(weighted(cut, x), weighted(weights, x))
    torch.testing.assert_close(weighted(cut, x > 0), weighted(weights, x > 0))
    assert banded(weights[:, :100]) is not cut
    assert isinstance(banded(weights[:, :100]), torch.Tensor)


@pytest.mark.parametrize("readout", ["windows", "latents", "contrast"])
@torch.no_grad()
def test_an_encoder_takes_them(readout: str) -> None:
    encoder, grid = build(n_scales=3), Grid.from_wavelengths(torch.linspace(1100, 1900, 400, dtype=torch.float64))
    windows, bins = encoder.windows(grid, torch.float64), encoder.bins(grid, torch.float64)
    x = torch.rand(5, 400, generator=torch.Generator().manual_seed(0)).cumsum(1)
    whole = encoder.embed(x, grid, readout, windows=windows, bins=bins)
    cut = windows._replace(weights=banded(windows.weights))
    torch.testing.assert_close(encoder.embed(x, grid, readout, windows=cut, bins=banded(bins)), whole)
