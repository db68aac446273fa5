"""Reduced precision stays out of the windows."""

from __future__ import annotations

import torch

from nirs4all_vit.encoder import Grid, SpectralPerceiver
from nirs4all_vit.encoder.precision import full_precision, reduced_products


def _setting() -> str:
    return torch.backends.mkldnn.matmul.fp32_precision


def test_settings_are_given_back() -> None:
    before = _setting()
    with reduced_products():
        assert _setting() == "bf16"
        with full_precision("cpu"):
            assert _setting() == "ieee"
        assert _setting() == "bf16"
    assert _setting() == before
    with full_precision("cpu"):
        assert _setting() == before  # nothing global is touched at inference


def test_windows_are_read_in_full_precision_and_blocks_need_not_be() -> None:
    torch.manual_seed(0)
    encoder = SpectralPerceiver().eval()
    for block in encoder.blocks:
        torch.nn.init.normal_(block.contract.weight, std=0.1)
    x, grid = torch.randn(64, 300).cumsum(1), Grid.from_wavelengths(torch.linspace(1000, 2500, 300))
    with torch.inference_mode():
        windows = encoder.windows(grid)
        normed, _ = encoder.normalisation(x, grid, None)
        read, exact = encoder.attention(normed, windows)[0], encoder.encode(x, grid).layers
        with reduced_products():
            again, rounded = encoder.attention(normed, windows)[0], encoder.encode(x, grid).layers
    assert torch.equal(read, again)
    # With bfloat16 units a few parts in a thousand; without, nothing.
    assert (rounded - exact).abs().max() < 0.05
