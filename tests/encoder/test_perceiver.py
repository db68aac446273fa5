"""The encoder as a torch module: both kinds of tokens, masks, read-outs, gradients."""

from __future__ import annotations

import pytest
import torch

from nirs4all_vit.encoder import READOUTS, EncoderConfig, Grid, SpectralPerceiver

SMALL = {"n_latents": 8, "d_model": 16, "n_heads": 2, "n_self_layers": 2}


def build(**settings: object) -> SpectralPerceiver:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = SpectralPerceiver(EncoderConfig(**{**SMALL, **settings}))
        # Blocks start as the identity; random weights make them act.
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
    {"tokens": "points"},
    {"n_cross_layers": 2, "n_self_layers": 3},
    {"tokens": "points", "n_cross_layers": 2, "normalisation": "robust"},
    {"normalisation": "robust"},
    {"axis_scale": "linear"},
    {"n_latents": 5, "patch_hidden": 0},
    {"n_scales": 3, "dropout": 0.1},
]


def readouts(settings: dict, *wanted: str) -> list[str]:
    """Return the read-outs of an encoder with these settings, among those wanted."""
    return [name for name in wanted or READOUTS if name != "contrast" or settings.get("tokens") != "points"]


@pytest.mark.parametrize("settings", VARIANTS)
@torch.no_grad()
def test_readouts_are_finite_and_of_declared_width(settings: dict, x: torch.Tensor) -> None:
    encoder = build(**settings)
    assert list(encoder.readouts()) == readouts(settings)
    for readout in encoder.readouts():
        out = encoder(x, WL, readout=readout)
        assert out.shape == (5, encoder.width(readout))
        assert out.dtype == torch.float32
        assert out.isfinite().all()
        assert (out[0] - out[1]).abs().max() > 1e-4


def test_unknown_readout(x: torch.Tensor) -> None:
    encoder = build()
    with pytest.raises(ValueError, match="readout='median' does not exist; use one of contrast, compact, mean, cls"):
        encoder(x, WL, readout="median")


def test_settings_give_the_textbook_perceiver(x: torch.Tensor) -> None:
    encoder = SpectralPerceiver(
        d_model=128, n_latents=64, n_heads=4, n_cross_layers=2, n_self_layers=3, d_meta=32, dropout=0.1
    ).eval()
    assert encoder.config == EncoderConfig(tokens="points", d_model=128, n_cross_layers=2, n_self_layers=3, dropout=0.1)
    assert encoder(x, WL, readout="mean").shape == (5, 128)
    assert encoder(x, WL, readout="compact").shape == (5, 512)
    with pytest.raises(ValueError, match="give config or its fields, not both"):
        SpectralPerceiver(EncoderConfig(), d_model=128)


def test_forward_is_short_and_independent_of_tokens() -> None:
    """`forward` and `encode` are short; only the tokenizer depends on the kind of tokens."""
    import inspect

    for method in (SpectralPerceiver.forward, SpectralPerceiver.encode):
        lines, _ = inspect.getsourcelines(method)
        assert len(lines) - len(inspect.getdoc(method).splitlines()) <= 40
    source = inspect.getsource(inspect.getmodule(SpectralPerceiver))
    assert ".tokens ==" not in source


def test_wavelengths_are_encoded_in_nanometres() -> None:
    from nirs4all_vit.encoder import WavelengthPositionalEncoding

    encoding = WavelengthPositionalEncoding(64, use_log=True)
    code = encoding(WL)
    assert code.shape == (60, 64)
    # The longest period is 4 in ln(wavelength / 1,000 nm).
    torch.testing.assert_close(
        code[0, 0], torch.tensor(1.1).double().log().mul(2 * torch.pi / 4).sin(), check_dtype=False
    )
    linear = WavelengthPositionalEncoding(64, use_log=False)
    torch.testing.assert_close(linear(WL)[0, 0], torch.tensor(1.1 * 2 * torch.pi / 4).sin(), check_dtype=False)
    with pytest.raises(ValueError, match="d_model=7 must be an even number"):
        WavelengthPositionalEncoding(7)


def test_dropout_acts_in_training_alone(x: torch.Tensor) -> None:
    encoder = build(dropout=0.5)
    assert torch.equal(encoder(x, WL, readout="mean"), encoder(x, WL, readout="mean"))
    encoder.train()
    assert not torch.equal(encoder(x, WL, readout="mean"), encoder(x, WL, readout="mean"))


@pytest.mark.parametrize("settings", VARIANTS)
@pytest.mark.parametrize("readout", ["compact", "mean"])
@torch.no_grad()
def test_padding_changes_nothing(settings: dict, readout: str, x: torch.Tensor) -> None:
    encoder = build(**settings)
    alone = encoder(x, WL, readout=readout)
    padded = torch.cat([x, torch.full((5, 30), 7.0)], dim=1)
    axis = torch.cat([WL, WL[-1:].expand(30)]).expand(5, -1)
    valid = torch.arange(90).expand(5, -1) < 60
    torch.testing.assert_close(encoder(padded, axis, valid, readout), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", VARIANTS[:2])
@pytest.mark.parametrize("readout", ["compact", "mean"])
@torch.no_grad()
def test_lists_of_unequal_spectra(settings: dict, readout: str, x: torch.Tensor) -> None:
    encoder = build(**settings)
    together = encoder([x[0], x[1, :40], x[2, ::2]], [WL, WL[:40], WL[::2]], readout=readout)
    for i, (row, axis) in enumerate(((x[0], WL), (x[1, :40], WL[:40]), (x[2, ::2], WL[::2]))):
        torch.testing.assert_close(together[i], encoder(row[None], axis, readout=readout)[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(encoder(list(x), [WL] * 5, readout=readout), encoder(x, WL, readout=readout))
    with pytest.raises(ValueError, match="one padded tensor"):
        encoder(list(x), [WL] * 5, torch.ones(5, len(WL), dtype=torch.bool))


@pytest.mark.parametrize("settings", VARIANTS)
@torch.no_grad()
def test_hidden_points_do_not_leak(settings: dict, x: torch.Tensor) -> None:
    encoder = build(**settings)
    grid = Grid.from_wavelengths(WL)
    visible = torch.ones(5, 60, dtype=torch.bool)
    visible[:, 20:45] = False
    other = torch.where(visible, x, x + 100.0 * torch.rand_like(x))
    a, b = (encoder.encode(v, grid, visible=visible) for v in (x, other))
    torch.testing.assert_close(a, b)
    everything = encoder.encode(x, grid, visible=torch.ones_like(visible))
    torch.testing.assert_close(everything, encoder.encode(x, grid), rtol=1e-3, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("tokens", ["patches", "points"])
def test_gain_and_offset_only_reach_the_statistics(tokens: str, x: torch.Tensor) -> None:
    encoder = build(tokens=tokens)
    encoder.statistics.weight.zero_()
    moved, plain = (encoder(v, WL, readout="mean") for v in (3.0 * x + 2.0, x))
    torch.testing.assert_close(moved, plain, rtol=1e-3, atol=1e-4)
    torch.nn.init.normal_(encoder.statistics.weight)
    assert (encoder(3.0 * x + 2.0, WL, readout="mean") - encoder(x, WL, readout="mean")).abs().max() > 1e-2


@torch.no_grad()
def test_points_are_weighted_by_width() -> None:
    """Denser sampling of part of a curve does not change the latents."""
    encoder = build(tokens="points")
    even = torch.linspace(1100, 1900, 801, dtype=torch.float64)
    uneven = torch.cat([even[:400:8], even[400:]])
    a, b = (encoder((axis / 90).sin().float()[None], axis, readout="mean") for axis in (even, uneven))
    c = encoder((even / 60).sin().float()[None], even, readout="mean")
    assert (a - b).norm() < 0.05 * (a - c).norm()


@torch.no_grad()
def test_patch_tokens_depend_on_position() -> None:
    """The same patches on another range give other tokens, but the same read-out of patches."""
    encoder, x = build(), torch.rand(3, 60, generator=torch.Generator().manual_seed(0)).cumsum(1)
    moved = 1.3 * WL
    torch.testing.assert_close(encoder(x, moved), encoder(x, WL), rtol=1e-3, atol=1e-5)
    assert (encoder(x, moved, readout="mean") - encoder(x, WL, readout="mean")).abs().max() > 1e-2


def test_every_parameter_learns(x: torch.Tensor) -> None:
    for settings in ({}, {"tokens": "points"}, {"n_cross_layers": 2}, {"n_scales": 2}):
        encoder = build(**settings).train()
        sum(encoder(x, WL, readout=kind).square().sum() for kind in encoder.readouts()).backward()
        still = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
        assert not still


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tokens": "both"}, "tokens='both'"),
        ({"normalisation": "snv"}, "normalisation='snv'"),
        ({"n_latents": 0}, "n_latents=0"),
        ({"d_model": 10**9}, "d_model=1000000000"),
        ({"d_model": 30, "n_heads": 4}, "multiple"),
        ({"n_cross_layers": 3}, "n_cross_layers=3 exceeds n_self_layers=2"),
        ({"dropout": 1.0}, "dropout=1.0; it must be at least 0 and below 1"),
        ({"readout_scale": float("nan")}, "readout_scale=nan"),
    ],
)
def test_impossible_configurations(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EncoderConfig(**settings)


def test_configuration_round_trip() -> None:
    config = EncoderConfig(categorical={"mode": ("a", "b")}, numeric=("t",), n_cross_layers=2)
    assert EncoderConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ValueError, match="unknown encoder settings: depth"):
        EncoderConfig.from_dict({"depth": 3})


def test_shapes_that_do_not_fit() -> None:
    encoder = SpectralPerceiver(EncoderConfig()).eval()
    axis = torch.linspace(1100, 2300, 40)
    x = torch.zeros(2, 40)
    for spectra, axes, message in (
        ([x[0]], [axis, axis], "2 wavelength axes for 1 spectra"),
        ([x[0], x[1, :9]], [axis, axis], "spectrum 1 has 9 points, its axis 40"),
        ([x[0], x[1, :9]], axis, "spectrum 1 has 9 points, its axis 40"),
    ):
        with pytest.raises(ValueError, match=message):
            encoder(spectra, axes)
    with pytest.raises(ValueError, match="valid has shape"):
        encoder(x, axis, torch.ones(2, 39, dtype=torch.bool))
    with pytest.raises(ValueError, match="valid= needs spectra as one padded tensor"):
        encoder([x[0]], axis, torch.ones(1, 40, dtype=torch.bool))
    everywhere = encoder(x, axis, torch.ones(2, 40, dtype=torch.bool))
    torch.testing.assert_close(everywhere, encoder(x, axis), rtol=1e-4, atol=1e-5)
