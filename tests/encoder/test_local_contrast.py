"""Bins and local contrast against their definition: integrals over interpolated spectra."""

from __future__ import annotations

import math

import pytest
import torch

from nirs4all_vit.encoder import EncoderConfig, Grid, SpectralPerceiver
from nirs4all_vit.encoder.local_contrast import LocalContrast, _contrast, _cosines, _mean_square

from .test_perceiver import build

AXIS = torch.linspace(1100, 1900, 60, dtype=torch.float64)


def _dense(u: torch.Tensor, y: torch.Tensor, n: int = 200_001) -> tuple[torch.Tensor, torch.Tensor]:
    """Interpolate between points, for a Riemann sum."""
    import numpy as np

    at = torch.linspace(float(u[0]), float(u[-1]), n, dtype=torch.float64)
    return at, torch.from_numpy(np.interp(at.numpy(), u.numpy(), y.numpy()))


@torch.no_grad()
@pytest.mark.parametrize("readout", ["contrast", "compact", "mean"])
def test_fewer_points_of_the_same_lines_give_the_same_embedding(readout: str) -> None:
    """The points between the knots of a piecewise linear spectrum do not change its embedding."""
    encoder = build(n_scales=3)
    knots = torch.linspace(math.log(1100.0), math.log(1900.0), 21, dtype=torch.float64)
    y = torch.randn(3, 21, generator=torch.Generator().manual_seed(1))
    fine = torch.linspace(0, 20, 161, dtype=torch.float64)
    u = knots[0] + (knots[-1] - knots[0]) * fine / 20
    x = torch.lerp(
        y[:, fine.floor().long().clamp(max=19)],
        y[:, fine.floor().long().clamp(max=19) + 1],
        (fine - fine.floor().clamp(max=19)).float(),
    )
    complete = encoder(x, u.exp(), readout=readout)
    scale = complete.std()
    assert (encoder(y, knots.exp(), readout=readout) - complete).abs().max() < 0.02 * scale
    points = torch.cat([torch.arange(81), torch.arange(88, 161)])  # one segment lacks its inner points
    assert (encoder(x[:, points], u[points].exp(), readout=readout) - complete).abs().max() < 0.02 * scale


@torch.no_grad()
def test_bins_are_means() -> None:
    n_bins = 128
    u = torch.rand(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64).sort().values
    grid = Grid.from_wavelengths(1000 * u.exp())
    torch.testing.assert_close(grid.bin_means(torch.ones(1, 50), n_bins), torch.ones(1, n_bins, dtype=torch.float64))
    y = torch.randn(50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    _, curve = _dense(grid.relative.double(), y, n_bins * 4000 + 1)
    means = torch.stack([part.mean() for part in curve[:-1].chunk(n_bins)])
    torch.testing.assert_close(grid.bin_means(y[None], n_bins)[0], means, rtol=0, atol=5e-3)
    # One padded grid per row gives the same means.
    axis = 1000 * torch.cat([u, u[-1:].expand(9)]).exp().expand(2, -1)
    valid = torch.arange(59).expand(2, -1) < 50
    own = Grid.from_wavelengths(axis, valid).bin_means(torch.nn.functional.pad(y, (0, 9)).expand(2, -1), n_bins)
    torch.testing.assert_close(own, means.expand(2, -1), rtol=0, atol=5e-3)


@torch.no_grad()
def test_masked_stretches_are_interpolated() -> None:
    contrast = LocalContrast(2)
    grid, line = (
        Grid.from_wavelengths(1000 * torch.linspace(0, 1, 65, dtype=torch.float64).exp()),
        torch.linspace(-1, 1, 65),
    )
    visible = torch.ones(1, 65, dtype=torch.bool)
    visible[:, 20:40] = False
    features = contrast((line * visible).expand(1, -1), grid, visible)
    torch.testing.assert_close(features, contrast(line.expand(1, -1), grid), rtol=0, atol=2e-2)


@torch.no_grad()
@pytest.mark.parametrize("wavelengths", [[1200.0], [1200.0, 1200.0], [1200.0, 1201.0], [900.0, 1000.0, 2400.0]])
def test_few_points_are_no_error(wavelengths: list[float]) -> None:
    encoder = build(n_scales=2)
    out = encoder(torch.rand(2, len(wavelengths)), torch.tensor(wavelengths, dtype=torch.float64))
    assert out.isfinite().all()


@torch.no_grad()
def test_gain_rotates_features_and_an_offset_does_not_change_them() -> None:
    encoder = build(n_scales=3)
    grid, x = Grid.from_wavelengths(AXIS), torch.rand(4, 60, generator=torch.Generator().manual_seed(0)).cumsum(1)
    plain, moved, stretched = (encoder(v, grid) for v in (x, x + 5.0, 2.0 * x))
    torch.testing.assert_close(moved, plain, rtol=1e-3, atol=1e-5)
    angle = 0.15 * math.log(2.0)
    first, second = plain.chunk(2, dim=1)
    turned = torch.cat(
        [first * math.cos(angle) - second * math.sin(angle), second * math.cos(angle) + first * math.sin(angle)], 1
    )
    torch.testing.assert_close(stretched, turned, rtol=1e-3, atol=1e-5)


def _divided(contrast: LocalContrast, patches: torch.Tensor, view: int, scale: int) -> torch.Tensor:
    softness, factor = contrast._settings(torch.full((patches.shape[1],), scale))
    return _contrast(patches, _mean_square(patches), softness[view], factor[view])


@torch.no_grad()
def test_strong_bands_saturate() -> None:
    contrast = LocalContrast(2)
    patches = torch.randn(5, 3, 15, generator=torch.Generator().manual_seed(0))
    weak, strong = (_divided(contrast, patches * by, 0, 1).norm() for by in (1e-3, 1e3))
    weaker, stronger = (_divided(contrast, patches * by, 0, 1).norm() for by in (2e-3, 2e3))
    assert weaker / weak == pytest.approx(2.0, rel=1e-2)
    assert stronger / strong == pytest.approx(1.0, rel=1e-2)


@torch.no_grad()
def test_contrast_needs_no_latents(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, x = build(n_scales=3, patch_hidden=8), torch.rand(4, 60, generator=torch.Generator().manual_seed(0))
    grid = Grid.from_wavelengths(AXIS)
    monkeypatch.setattr(type(encoder.blocks[0]), "forward", lambda *_: pytest.fail("a block was run"))
    alone = encoder(x, grid)
    assert alone.shape == (4, encoder.width("contrast"))
    own = Grid.from_wavelengths(AXIS.expand(4, -1), torch.ones(4, 60, dtype=torch.bool))
    torch.testing.assert_close(encoder(x, own), alone, rtol=1e-3, atol=1e-5)
    with pytest.raises(ValueError, match="an encoder of points has no read-out 'contrast'"):
        build(tokens="points")(x, grid)


@torch.no_grad()
def test_the_code_is_linear_in_each_patch_and_turned_by_the_scale() -> None:
    encoder, x = build(n_scales=2), torch.rand(3, 60, generator=torch.Generator().manual_seed(0)).cumsum(1)
    tokenizer, grid = encoder.tokenizer, Grid.from_wavelengths(AXIS)
    content = tokenizer.content(encoder.normalisation(x, grid)[0], grid)
    compact = encoder(x, grid, readout="compact")
    # Finest scale first: seven patches of 7 columns, three of 11.
    assert compact.shape == (3, 7 * 7 + 3 * 11)
    angle = 0.15 * encoder.normalisation(x, grid)[1][:, 1:]
    turned = [2**0.5 * (angle + side * torch.pi / 4).cos() for side in (1, -1)]
    # The sign of the phase alternates between patches.
    first, last = content[:, 1] @ tokenizer.code[1, :, :7], content[:, -1] @ tokenizer.code[-1]
    torch.testing.assert_close(compact[:, 7:14], first * torch.cat([turned[(1 + j) % 2] for j in range(7)], dim=1))
    torch.testing.assert_close(compact[:, -11:], last * torch.cat([turned[(9 + j) % 2] for j in range(11)], dim=1))
    assert SpectralPerceiver(EncoderConfig()).width("compact") == 512


@torch.no_grad()
def test_cosine_coefficients_preserve_inner_products() -> None:
    """Before training, the transform is orthonormal: inner products equal those of the bins."""
    contrast = LocalContrast(2)
    patches = torch.randn(6, 3, 16, generator=torch.Generator().manual_seed(0))
    patches = patches - patches.mean(-1, keepdim=True)
    features = _divided(contrast, patches @ _cosines().float(), 1, 0)
    assert features.shape == (6, 3, 15)
    softness, square = float(contrast.log_softness[1, 0].exp()), patches.square().mean(-1, keepdim=True)
    expected = patches / (square + softness**2).sqrt() * (1 + (softness / 0.655) ** 2) ** 0.5
    features, expected = features.flatten(1), expected.flatten(1)
    torch.testing.assert_close(features @ features.T, expected @ expected.T)


def test_the_network_sees_shape_and_contrast() -> None:
    contrast = LocalContrast(2, 8)
    patches = torch.randn(5, 3, 15, generator=torch.Generator().manual_seed(0))
    usual_and_scale = torch.ones(3, 1), torch.zeros(3, dtype=torch.long)
    small, large = (contrast.network(p, _mean_square(p), *usual_and_scale) for p in (patches, 3 * patches))
    assert small.shape == (5, 3, 16)
    assert (small - large).abs().max() > 1e-3
    # Patches far below the typical contrast are noise and give constant features.
    noise = contrast.network(1e-6 * patches, _mean_square(1e-6 * patches), *usual_and_scale)
    torch.testing.assert_close(noise, noise[:1, :1].expand_as(noise), rtol=0, atol=1e-3)


def test_invalid_sizes_of_local_contrast() -> None:
    with pytest.raises(ValueError, match="patch_hidden=-1; it must be an integer from 0 to 4096"):
        EncoderConfig(patch_hidden=-1)
    with pytest.raises(ValueError, match="n_scales=7; it must be an integer from 1 to 6"):
        EncoderConfig(n_scales=7)
