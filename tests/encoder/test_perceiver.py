"""The encoder as a torch module: both attentions, masks, read-outs, gradients."""

from __future__ import annotations

import pytest
import torch

from nirs4all_vit.encoder import READOUTS, EncoderConfig, Grid, SpectralPerceiver

SMALL = {"n_latents": 8, "d_model": 16, "n_heads": 2, "n_windows": 8, "n_blocks": 2}


def build(**settings: object) -> SpectralPerceiver:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = SpectralPerceiver(EncoderConfig(**{**SMALL, **settings}))
        # Blocks start as the identity; give them something to do.
        for block in encoder.blocks:
            torch.nn.init.normal_(block.output.weight, std=0.2)
            torch.nn.init.normal_(block.contract.weight, std=0.2)
    return encoder.eval()


@pytest.fixture
def x() -> torch.Tensor:
    return torch.rand(5, 60, generator=torch.Generator().manual_seed(0)).cumsum(1)


WL = torch.linspace(1100, 1900, 60, dtype=torch.float64)
VARIANTS = [
    {},
    {"attention": "content"},
    {"n_cross": 2, "n_blocks": 3},
    {"attention": "content", "n_cross": 2, "normalisation": "robust"},
    {"normalisation": "robust"},
    {"axis_scale": "linear"},
    {"n_windows": 16, "n_latents": 5},
    {"n_windows": 1},
    {"n_scales": 3},
]


@pytest.mark.parametrize("settings", VARIANTS)
@pytest.mark.parametrize("readout", READOUTS)
@torch.no_grad()
def test_readouts_are_finite_and_of_declared_width(settings: dict, readout: str, x: torch.Tensor) -> None:
    encoder = build(**settings)
    out = encoder(x, WL, readout=readout)
    assert out.shape == (5, encoder.width(readout))
    assert out.dtype == torch.float32
    assert out.isfinite().all()
    assert (out[0] - out[1]).abs().max() > 1e-4


def test_unknown_readout(x: torch.Tensor) -> None:
    encoder = build()
    with pytest.raises(ValueError, match="readout='median'; use one of windows, latents, contrast, compact, mean, cls"):
        encoder(x, WL, readout="median")


def test_windows_are_the_default() -> None:
    """Layer-normalised latents before the first block; local contrast at full weight beside them at half."""
    encoder, x = build(n_scales=2), torch.rand(3, 60, generator=torch.Generator().manual_seed(0)).cumsum(1)
    out, states = encoder(x, WL), encoder.encode(x, Grid.from_wavelengths(WL))
    assert out.shape == (3, 8 * 16 + encoder.width("contrast"))
    assert torch.equal(out, encoder(x, WL, readout="windows"))
    torch.testing.assert_close(out, encoder.read_out(states, "windows"))
    normed = torch.nn.functional.layer_norm(states.windows, (16,)).flatten(1)
    torch.testing.assert_close(out[:, : 8 * 16], 0.5 * normed / (8 * 16) ** 0.5)
    assert torch.equal(out[:, 8 * 16 :], encoder.local_contrast(x, Grid.from_wavelengths(WL)))


@pytest.mark.parametrize("settings", VARIANTS)
@torch.no_grad()
def test_windows_run_no_block(settings: dict, x: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, grid = build(**settings), Grid.from_wavelengths(WL)
    expected = encoder.read_out(encoder.encode(x, grid), "windows")
    monkeypatch.setattr(type(encoder.blocks[0]), "forward", lambda *_: pytest.fail("a block was run"))
    torch.testing.assert_close(encoder.embed(x, grid, "windows", chunk=2), expected)
    with torch.autocast("cpu", torch.bfloat16):
        half = encoder.embed(x, grid, "windows")
    torch.testing.assert_close(half, expected, rtol=0.0, atol=0.02 if settings.get("attention") == "content" else 1e-6)


@pytest.mark.parametrize("settings", VARIANTS)
@pytest.mark.parametrize("readout", ["windows", "latents"])
@torch.no_grad()
def test_padding_changes_nothing(settings: dict, readout: str, x: torch.Tensor) -> None:
    encoder = build(**settings)
    alone = encoder(x, WL, readout=readout)
    padded = torch.cat([x, torch.full((5, 30), 7.0)], dim=1)
    axis = torch.cat([WL, WL[-1:].expand(30)]).expand(5, -1)
    valid = torch.arange(90).expand(5, -1) < 60
    torch.testing.assert_close(encoder(padded, axis, valid, readout), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", VARIANTS[:2])
@pytest.mark.parametrize("readout", ["windows", "latents"])
@torch.no_grad()
def test_lists_of_unequal_spectra(settings: dict, readout: str, x: torch.Tensor) -> None:
    encoder = build(**settings)
    together = encoder([x[0], x[1, :40], x[2, ::2]], [WL, WL[:40], WL[::2]], readout=readout)
    for i, (row, axis) in enumerate(((x[0], WL), (x[1, :40], WL[:40]), (x[2, ::2], WL[::2]))):
        torch.testing.assert_close(together[i], encoder(row[None], axis, readout=readout)[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(encoder(list(x), [WL] * 5, readout=readout), encoder(x, WL, readout=readout))
    with pytest.raises(ValueError, match="padded tensors"):
        encoder(list(x), [WL] * 5, torch.ones(5, len(WL), dtype=torch.bool))


@pytest.mark.parametrize("settings", VARIANTS)
@pytest.mark.parametrize("readout", ["windows", "latents"])
@torch.no_grad()
def test_hidden_points_do_not_leak(settings: dict, readout: str, x: torch.Tensor) -> None:
    encoder = build(**settings)
    grid = Grid.from_wavelengths(WL)
    visible = torch.ones(5, 60, dtype=torch.bool)
    visible[:, 20:45] = False
    other = torch.where(visible, x, x + 100.0 * torch.rand_like(x))
    a, b = (encoder.read_out(encoder.encode(v, grid, visible=visible), readout) for v in (x, other))
    torch.testing.assert_close(a, b)
    double = encoder.read_out(
        encoder.encode(x, grid, windows=encoder.windows(grid, torch.float64), visible=visible), readout
    )
    torch.testing.assert_close(double, a, rtol=1e-4, atol=1e-4)
    everything = encoder.read_out(encoder.encode(x, grid, visible=torch.ones_like(visible)), readout)
    torch.testing.assert_close(everything, encoder.read_out(encoder.encode(x, grid), readout), rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_gain_and_offset_only_reach_the_statistics(x: torch.Tensor) -> None:
    encoder = build(n_scales=0)  # local contrast is turned by the scale: test_windows
    encoder.statistics.weight.zero_()
    torch.testing.assert_close(encoder(3.0 * x + 2.0, WL), encoder(x, WL), rtol=1e-3, atol=1e-4)
    torch.nn.init.normal_(encoder.statistics.weight)
    assert (encoder(3.0 * x + 2.0, WL) - encoder(x, WL)).abs().max() > 1e-2


@torch.no_grad()
def test_windows_are_a_quadrature() -> None:
    """A denser stretch of the same curve does not pull a window's mean."""
    attention = build().attention
    even = torch.linspace(1100, 1900, 801, dtype=torch.float64)
    uneven = torch.cat([even[:400:8], even[400:]])
    curve = [torch.sin(axis / 90).float().unsqueeze(0) for axis in (even, uneven)]
    values = [
        attention.windows(Grid.from_wavelengths(axis)).weights @ c[0]
        for c, axis in zip(curve, (even, uneven), strict=True)
    ]
    torch.testing.assert_close(values[0], values[1], rtol=0, atol=0.02)


@torch.no_grad()
def test_windows_outside_of_the_range_fade() -> None:
    attention = build(n_latents=64).attention
    coverage = attention.windows(Grid.from_wavelengths(WL)).coverage
    absolute = coverage[: attention.n_absolute, 0]
    centre = 1000 * attention.anchor[: attention.n_absolute, 0].exp()
    assert absolute[(centre > 1150) & (centre < 1850)].min() > 0.9
    assert absolute[centre < 600].max() < 0.1
    assert coverage[attention.n_absolute :, 0].min() > 0.9


def test_every_parameter_learns(x: torch.Tensor) -> None:
    for settings in ({}, {"attention": "content"}, {"n_cross": 2}, {"n_scales": 2}):
        encoder = build(**settings).train()
        latents = encoder.encode(x, Grid.from_wavelengths(WL))
        sum(encoder.read_out(latents, kind).square().sum() for kind in READOUTS).backward()
        still = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
        assert not still


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attention": "both"}, "attention='both'"),
        ({"normalisation": "snv"}, "normalisation='snv'"),
        ({"n_latents": 0}, "n_latents=0"),
        ({"d_model": 10**9}, "d_model=1000000000"),
        ({"d_model": 30, "n_heads": 4}, "multiple"),
        ({"n_cross": 3}, "n_cross=3 exceeds n_blocks=2"),
        ({"readout_scale": float("nan")}, "readout_scale=nan"),
    ],
)
def test_impossible_configurations(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EncoderConfig(**settings)


def test_configuration_round_trip() -> None:
    config = EncoderConfig(categorical={"mode": ("a", "b")}, numeric=("t",), n_cross=2)
    assert EncoderConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ValueError, match="unknown encoder settings: depth"):
        EncoderConfig.from_dict({"depth": 3})


def test_shapes_that_do_not_fit() -> None:
    encoder = SpectralPerceiver(EncoderConfig()).eval()
    axis = torch.linspace(1100, 2300, 40)
    x = torch.zeros(2, 40)
    for spectra, axes, message in (
        ([x[0]], [axis, axis], "2 axes for 1 spectra"),
        ([x[0], x[1, :9]], [axis, axis], "spectrum 1 has 9 points, its axis 40"),
        ([x[0], x[1, :9]], axis, "spectrum 1 has 9 points, its axis 40"),
    ):
        with pytest.raises(ValueError, match=message):
            encoder(spectra, axes)
    with pytest.raises(ValueError, match="valid has shape"):
        encoder(x, axis, torch.ones(2, 39, dtype=torch.bool))
    with pytest.raises(ValueError, match="bring their own lengths"):
        encoder([x[0]], axis, torch.ones(1, 40, dtype=torch.bool))
    everywhere = encoder(x, axis, torch.ones(2, 40, dtype=torch.bool))
    torch.testing.assert_close(everywhere, encoder(x, axis), rtol=1e-4, atol=1e-5)
