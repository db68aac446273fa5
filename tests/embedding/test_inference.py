"""Running an encoder: what is kept between calls."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from nirs4all_vit import SpectralEmbedder
from nirs4all_vit.embedding import inference
from nirs4all_vit.encoder import SpectralPerceiver
from nirs4all_vit.encoder.checkpoint import load_checkpoint
from nirs4all_vit.spectra.data import Spectra
from tests.conftest import make_spectra


def test_what_is_kept_of_a_grid_is_never_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows are computed once per grid and encoder, and anew where either changes."""
    computed: list[int] = []
    windows = SpectralPerceiver.windows
    monkeypatch.setattr(SpectralPerceiver, "windows", lambda *a: computed.append(1) or windows(*a))
    encoder = copy.deepcopy(load_checkpoint().encoder)
    grids = [np.linspace(1000.0, 2000.0 + i, 50) for i in range(6)]
    block = make_spectra(grids[0], 3)

    def run(i: int) -> np.ndarray:
        return inference.embed(encoder, [Spectra(block, grids[i])], "latents")

    first = run(0)
    assert np.array_equal(run(0), first)
    assert len(computed) == 1
    others = [run(i) for i in range(1, 6)]
    assert len(computed) == 6
    assert not any(np.array_equal(first, other) for other in others)
    assert len(inference._KEPT[encoder]) <= inference._KEPT_GRIDS
    with torch.no_grad():
        encoder.attention.offset += 0.2
    assert not np.array_equal(run(5), others[-1])
    with torch.no_grad():
        encoder.attention.offset -= 0.2
    assert np.allclose(run(5), others[-1], atol=1e-4)
    # Local contrast needs no windows, the latents of the same grid do.
    fresh = np.linspace(1500.0, 2500.0, 50)
    before = len(computed)
    inference.embed(encoder, [Spectra(block, fresh)], "contrast")
    assert len(computed) == before
    inference.embed(encoder, [Spectra(block, fresh)], "latents")
    assert len(computed) == before + 1
    # The grid that was used last is kept longest.
    for i in (1, 2, 3, 1, 4, 1):
        run(i)
    before = len(computed)
    run(1)
    assert len(computed) == before
    with torch.no_grad():
        encoder.attention.anchor += 0.05
    run(1)
    assert len(computed) == before + 1


def test_half_precision_moves_little(spectra: np.ndarray, nm: np.ndarray) -> None:
    whole, half = (
        SpectralEmbedder(readout="latents", adapt=False, precision=kind).fit_transform(spectra, wavelengths=nm)
        for kind in ("fp32", "bf16")
    )
    deviation = (whole - whole.mean(axis=0)).std()
    assert 0 < np.sqrt(np.mean((whole - half) ** 2)) < 0.01 * deviation
    # Local contrast keeps its precision.
    width = SpectralEmbedder(readout="contrast").fit_transform(spectra, wavelengths=nm).shape[1]
    np.testing.assert_array_equal(whole[:, -width:], half[:, -width:])
    # So do windows.
    whole, half = (
        SpectralEmbedder(readout="windows", adapt=False, precision=kind).fit_transform(spectra, wavelengths=nm)
        for kind in ("fp32", "bf16")
    )
    np.testing.assert_array_equal(whole, half)
    with pytest.raises(ValueError, match="precision='fp8' is not known; use 'fp32' or 'bf16'"):
        SpectralEmbedder(precision="fp8").fit(spectra, wavelengths=nm)
