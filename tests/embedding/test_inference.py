"""Running an encoder: what is kept between calls."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from nirs4all_vit.embedding import inference
from nirs4all_vit.encoder import Grid
from nirs4all_vit.encoder.checkpoint import load_checkpoint
from nirs4all_vit.spectra.data import Spectra
from tests.conftest import make_spectra


def test_what_is_kept_of_a_grid_is_never_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """A grid is computed once, for any encoder; the weights are those of the call."""
    computed: list[int] = []
    made = Grid.from_wavelengths
    monkeypatch.setattr(Grid, "from_wavelengths", lambda *a: computed.append(1) or made(*a))
    inference._KEPT.clear()
    encoder = copy.deepcopy(load_checkpoint().encoder)
    grids = [np.linspace(1000.0, 2000.0 + i, 50) for i in range(20)]
    block = make_spectra(grids[0], 3)

    def run(i: int) -> np.ndarray:
        return inference.embed(encoder, [Spectra(block, grids[i])], "mean")

    first = run(0)
    assert np.array_equal(run(0), first)
    assert len(computed) == 1
    others = [run(i) for i in range(1, 6)]
    assert len(computed) == 6
    assert not any(np.array_equal(first, other) for other in others)
    with torch.no_grad():
        encoder.latents += 0.2
    assert not np.array_equal(run(5), others[-1])
    with torch.no_grad():
        encoder.latents -= 0.2
    assert np.allclose(run(5), others[-1], atol=1e-4)
    assert len(computed) == 6
    # The grid that was used last is kept longest.
    for i in range(20):
        run(i)
        run(1)
    assert len(inference._KEPT) == inference._KEPT_GRIDS
    before = len(computed)
    run(1)
    assert len(computed) == before
    run(0)
    assert len(computed) == before + 1
    # Gradients may be asked for on a grid that inference has made.
    x = torch.from_numpy(block).requires_grad_(True)
    encoder(x, inference._grid(grids[1], "cpu")).sum().backward()
    assert x.grad.isfinite().all()
