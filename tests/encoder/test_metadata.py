"""Metadata: sparse, optional, without effect before training."""

from __future__ import annotations

from pathlib import Path

import torch

from nirs4all_vit.encoder import EncoderConfig, Grid, SpectralPerceiver
from nirs4all_vit.encoder.checkpoint import load_checkpoint, save_checkpoint


def build() -> SpectralPerceiver:
    config = EncoderConfig(
        n_latents=4, d_model=8, n_heads=2, categorical={"mode": ("absorbance", "reflectance")}, numeric=("temperature",)
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SpectralPerceiver(config).eval()


GRID = Grid.from_wavelengths(torch.linspace(1100, 1900, 30, dtype=torch.float64))
X = torch.rand(4, 30, generator=torch.Generator().manual_seed(0))
ROWS = [{}, {"mode": "reflectance"}, {"mode": "never seen", "temperature": None}, {"temperature": 21.5, "owner": "x"}]


@torch.no_grad()
def test_untrained_metadata_does_nothing() -> None:
    encoder = build()
    torch.testing.assert_close(encoder.encode(X, GRID, metadata=ROWS), encoder.encode(X, GRID))


@torch.no_grad()
def test_missing_and_new_values_are_unknown() -> None:
    encoder = build()
    torch.nn.init.normal_(encoder.metadata.output.weight)
    out, without = encoder.encode(X, GRID, metadata=ROWS), encoder.encode(X, GRID)
    torch.testing.assert_close(out[0], without[0])
    torch.testing.assert_close(out[2], without[2])
    assert (out[1] - without[1]).abs().max() > 1e-3
    assert (out[3] - without[3]).abs().max() > 1e-3


@torch.no_grad()
def test_a_measured_zero_is_not_a_missing_value() -> None:
    encoder = build()
    torch.nn.init.normal_(encoder.metadata.output.weight)
    zero = encoder.metadata([{"temperature": 0.0}])
    missing, nan = encoder.metadata([{}]), encoder.metadata([{"temperature": float("nan")}])
    assert (zero - missing).abs().max() > 1e-4
    torch.testing.assert_close(nan, missing)


@torch.no_grad()
def test_numbers_are_standardised() -> None:
    """Large values, such as wavelengths in nm, must not dominate the latents."""
    encoder = build()
    torch.nn.init.normal_(encoder.metadata.output.weight)
    encoder.metadata.standardise([{"temperature": 1000.0}, {"temperature": 2500.0}, {}, {"temperature": 400.0}])
    near, far, beyond = (encoder.metadata([{"temperature": t}]) for t in (1300.0, 1e6, 1e9))
    zero = encoder.metadata([{"temperature": 1300.0}])
    torch.testing.assert_close(near, zero)
    torch.testing.assert_close(far, beyond)  # clipped
    assert float(encoder.metadata.centre[0]) == 1300.0
    without = encoder.metadata([{}])
    assert (far - without).norm() < 20 * (near - without).norm() + 20
    assert {"metadata.centre", "metadata.spread"} <= set(encoder.state_dict())


@torch.no_grad()
def test_a_checkpoint_preserves_the_order_of_fields(tmp_path: Path) -> None:
    """Headers are sorted by name: two fields with equal numbers of categories must not swap."""
    fields = {"mode": ("absorbance", "reflectance"), "instrument_type": ("portable", "lab")}
    encoder = SpectralPerceiver(EncoderConfig(n_latents=4, d_model=8, n_heads=2, categorical=fields)).eval()
    torch.nn.init.normal_(encoder.metadata.output.weight)
    path = save_checkpoint(tmp_path / "own.safetensors", encoder, name="own-v1", provenance={})
    rows = [{"mode": "reflectance"}, {"instrument_type": "lab"}, {"mode": "absorbance", "instrument_type": "lab"}, {}]
    loaded = load_checkpoint(path).encoder
    torch.testing.assert_close(loaded.encode(X, GRID, metadata=rows), encoder.encode(X, GRID, metadata=rows))
