"""Checkpoints: bundled files, saved files, and errors for each kind of bad file."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from nirs4all_vit import CheckpointError, SpectralEmbedder, load_checkpoint, save_checkpoint
from nirs4all_vit.encoder import EncoderConfig, SpectralPerceiver
from nirs4all_vit.encoder.checkpoint import BUNDLED, DEFAULT_CHECKPOINT, find_checkpoint


def rewrite(path: Path, change_header=None, change_tensors=None) -> Path:
    """Rewrite the file with another header or other tensors."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["nirs4all_vit"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    # The content hash would reject the change before the check under test.
    del header["content_sha256"]
    if change_header:
        change_header(header)
    if change_tensors:
        change_tensors(tensors)
    save_file(tensors, path, metadata={"nirs4all_vit": json.dumps(header)})
    return path


@pytest.mark.parametrize("name", list(BUNDLED))
def test_bundled_checkpoints_are_complete(name: str) -> None:
    checkpoint = load_checkpoint(name)
    assert checkpoint.name == name
    assert checkpoint.sha256 == BUNDLED[name].sha256
    assert checkpoint.path.stat().st_size < 10e6
    provenance = checkpoint.header["provenance"]
    assert {"recipe", "seed", "commit", "bank_hash", "families", "datasets", "versions"} <= set(provenance)
    assert not provenance["commit"].endswith("dirty")
    assert checkpoint.header["licence"] == BUNDLED[name].licence
    assert not any(p.requires_grad for p in checkpoint.encoder.parameters())
    assert not checkpoint.encoder.training
    width = checkpoint.encoder.width("compact")
    assert checkpoint.statistics["bank_mean"].shape == (width,)
    assert (find_checkpoint(name).parent / "MODEL_CARD.md").is_file()


def test_a_damaged_installation_is_noticed(own_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nirs4all_vit.encoder.checkpoint.find_checkpoint", lambda _: own_checkpoint)
    with pytest.raises(CheckpointError, match="is not the file that was released"):
        load_checkpoint(DEFAULT_CHECKPOINT)


def test_the_default_is_loaded_once() -> None:
    assert load_checkpoint() is load_checkpoint(DEFAULT_CHECKPOINT)


def test_round_trip(own_checkpoint: Path) -> None:
    loaded = load_checkpoint(own_checkpoint)
    assert loaded.header["provenance"] == {"seed": 1}
    again = save_checkpoint(
        own_checkpoint.with_name("again.safetensors"), loaded.encoder, name=loaded.name, provenance={"seed": 1}
    )
    assert again.read_bytes() == own_checkpoint.read_bytes()
    assert load_checkpoint(again).sha256 == loaded.sha256
    assert sorted(p.name for p in own_checkpoint.parent.iterdir()) == ["again.safetensors", "own.safetensors"]


def test_loading_draws_no_random_numbers_and_ignores_the_default_dtype(own_checkpoint: Path) -> None:
    before = torch.get_rng_state()
    torch.set_default_dtype(torch.float64)
    try:
        encoder = load_checkpoint(own_checkpoint).encoder
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(before, torch.get_rng_state())
    assert {t.dtype for t in [*encoder.parameters(), *encoder.buffers()] if t.is_floating_point()} == {torch.float32}


def test_the_default_dtype_changes_no_embedding() -> None:
    spectra, wavelengths = np.random.default_rng(0).random((5, 60)) + 1.0, np.linspace(1100.0, 2000.0, 60)

    def embedded(readout: str) -> np.ndarray:
        return SpectralEmbedder(readout=readout, adapt=False).fit_transform(spectra, wavelengths=wavelengths)

    for readout in load_checkpoint().encoder.readouts():
        before = embedded(readout)
        torch.set_default_dtype(torch.float64)
        try:
            np.testing.assert_array_equal(embedded(readout), before)
        finally:
            torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("damage", ["statistics", "weights"])
def test_checkpoints_that_give_nan_are_refused(damage: str, tmp_path: Path) -> None:
    good = load_checkpoint()
    encoder = copy.deepcopy(good.encoder)
    statistics = dict(good.statistics)
    if damage == "statistics":
        name = next(iter(statistics))
        statistics[name] = torch.full_like(statistics[name], torch.nan)
    else:
        for parameter in encoder.parameters():
            parameter.data.fill_(1e30)
    path = save_checkpoint(tmp_path / "c.safetensors", encoder, name="c", provenance={}, statistics=statistics)
    with pytest.raises(
        CheckpointError, match=r"c\.safetensors (encodes a test spectrum to NaN|holds statistics that are NaN)"
    ):
        load_checkpoint(path)


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    encoder = SpectralPerceiver(EncoderConfig(n_latents=2, d_model=8, n_heads=2))
    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(tmp_path / "x.safetensors", encoder, name="x", provenance={})
    assert list(tmp_path.iterdir()) == []


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:2000])


def _garbage(path: Path) -> None:
    path.write_bytes(b"\x00\x01" * 500)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"weights": [1, 2, 3]}))


def _foreign(path: Path) -> None:
    save_file({"w": torch.zeros(3)}, path)


def _newer(path: Path) -> None:
    rewrite(path, lambda h: h.update(format_version=2))


def _unknown_setting(path: Path) -> None:
    rewrite(path, lambda h: h["encoder"].update(depth=4))


def _odd_categories(path: Path) -> None:
    rewrite(path, lambda h: h["encoder"].update(categorical=None))


def _no_settings(path: Path) -> None:
    rewrite(path, lambda h: h.update(encoder=[1]))


def _huge(path: Path) -> None:
    rewrite(path, lambda h: h["encoder"].update(n_latents=4096, d_model=4096))


def _missing_tensor(path: Path) -> None:
    rewrite(path, change_tensors=lambda t: t.pop("encoder.latents"))


def _surplus_tensor(path: Path) -> None:
    rewrite(path, change_tensors=lambda t: t.update({"encoder.surplus": torch.zeros(2)}))


def _nan(path: Path) -> None:
    rewrite(path, change_tensors=lambda t: t["encoder.latents"].fill_(float("nan")))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_truncate, "damaged or not a safetensors file"),
        (_garbage, "damaged or not a safetensors file"),
        (_empty, "damaged or not a safetensors file"),
        (_pickled, "damaged or not a safetensors file"),
        (_foreign, "is not a nirs4all_vit checkpoint"),
        (_newer, "has format 2, this release reads up to 1; upgrade nirs4all_vit"),
        (_unknown_setting, "unknown encoder settings: depth"),
        (_odd_categories, "categorical=None; it must map names to names"),
        (_no_settings, "encoder settings must be a mapping, not list"),
        (_huge, "tensors do not fit the configuration"),
        (_missing_tensor, "tensors do not fit the configuration: latents"),
        (_surplus_tensor, "tensors do not fit the configuration: surplus"),
        (_nan, "NaN or infinite weights"),
    ],
)
def test_bad_files_give_one_typed_error(own_checkpoint: Path, spoil, message: str) -> None:
    spoil(own_checkpoint)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(own_checkpoint)
    assert own_checkpoint.name in str(caught.value)


@pytest.mark.parametrize("place", [0.3, 0.6, 0.99])
def test_a_bit_that_changed_is_noticed(own_checkpoint: Path, place: float) -> None:
    content = bytearray(own_checkpoint.read_bytes())
    content[int(place * len(content))] ^= 1
    own_checkpoint.write_bytes(content)
    with pytest.raises(CheckpointError, match="its content does not match its hash"):
        load_checkpoint(own_checkpoint)


def test_a_file_that_is_overwritten_while_it_is_used(own_checkpoint: Path) -> None:
    encoder = load_checkpoint(own_checkpoint).encoder
    before = encoder.latents.clone()
    # Truncated in place, as when another file is copied over it; save_checkpoint replaces files.
    own_checkpoint.open("wb").close()
    assert torch.equal(encoder.latents, before)


def test_a_setting_that_changed_is_noticed(own_checkpoint: Path) -> None:
    content = own_checkpoint.read_bytes()
    assert content.count(b'readout_scale\\": 1.0') == 1
    own_checkpoint.write_bytes(content.replace(b'readout_scale\\": 1.0', b'readout_scale\\": 2.0'))
    with pytest.raises(CheckpointError, match="its content does not match its hash"):
        load_checkpoint(own_checkpoint)


@pytest.mark.parametrize("reference", ["nirs-base-v99", "/nowhere/at/all.safetensors", ".", None, 5, "x" * 5000])
def test_a_missing_checkpoint_error_names_the_bundled_ones(reference: object) -> None:
    with pytest.raises(CheckpointError, match=f"neither a file nor bundled; bundled: {DEFAULT_CHECKPOINT}"):
        load_checkpoint(reference)
