"""The MAE decoder reconstructs masked parts of spectra."""

from __future__ import annotations

import pytest
import torch

from nirs4all_vit.encoder import EncoderConfig, Grid, SpectralPerceiver
from nirs4all_vit.encoder.decoder import MaskedSpectrumDecoder


@pytest.mark.slow
@pytest.mark.parametrize("tokens", ["patches", "points"])
def test_masked_points_are_learned(tokens: str) -> None:
    """Spectra of two hidden factors: the visible part determines the masked part."""
    generator = torch.Generator().manual_seed(0)
    wavelengths = torch.linspace(1100, 2300, 64, dtype=torch.float64)
    grid = Grid.from_wavelengths(wavelengths)
    shapes = torch.stack([(wavelengths.float() / 130).sin(), (wavelengths.float() / 210).cos()])

    def batch() -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.randn(32, 2, generator=generator) @ shapes
        start = int(torch.randint(0, 32, (), generator=generator))
        visible = torch.ones(32, 64, dtype=torch.bool)
        visible[:, start : start + 32] = False
        return x, visible

    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = EncoderConfig(n_latents=8, d_model=32, n_heads=2, tokens=tokens, n_scales=2)
        encoder = SpectralPerceiver(config)
        decoder = MaskedSpectrumDecoder(encoder)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)
    losses = []
    for _ in range(400):
        x, visible = batch()
        normalised, _ = encoder.normalisation(x, grid, visible)
        assert normalised[~visible].abs().max() == 0
        tokenizer = encoder.tokenizer
        with torch.no_grad():
            target = tokenizer.target(tokenizer.content(encoder.normalisation(x, grid)[0], grid))
        hidden = tokenizer.hidden(grid, visible)
        assert hidden.any()
        assert not hidden.all()
        decoded = decoder(encoder, encoder.encode(x, grid, visible=visible)[:, 1:], grid)
        loss = (decoded - target)[hidden].square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    first, last = sum(losses[:10]) / 10, sum(losses[-10:]) / 10
    assert last < 0.35 * first, (first, last)
