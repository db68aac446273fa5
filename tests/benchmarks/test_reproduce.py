"""The command that trains the bundled checkpoint again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import reproduce
from nirs4all_vit import load_checkpoint, save_checkpoint
from nirs4all_vit.encoder import EncoderConfig, SpectralPerceiver


def _saved(path: Path, seed: int, **provenance: object) -> Path:
    torch.manual_seed(seed)
    encoder = SpectralPerceiver(EncoderConfig(n_latents=4, d_model=8, n_scales=1))
    save_checkpoint(path, encoder, name="x", provenance={"families": [], **provenance})
    return path


def test_the_hash_is_of_the_weights_alone(tmp_path: Path) -> None:
    first = reproduce.weights_sha256(_saved(tmp_path / "a.safetensors", 0, commit="one"))
    assert reproduce.weights_sha256(_saved(tmp_path / "b.safetensors", 0, commit="two")) == first
    assert reproduce.weights_sha256(_saved(tmp_path / "c.safetensors", 1, commit="one")) != first


@pytest.mark.parametrize("same", [True, False])
def test_the_verdict(tmp_path: Path, same: bool, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    about = {key: "then" for key in ("bank_hash", "recipe", "versions", "machine", "threads")}
    bundled = load_checkpoint(_saved(tmp_path / "bundled.safetensors", 0, commit="one", **about))
    about |= {} if same else {"versions": "now"}
    made = load_checkpoint(_saved(tmp_path / "made.safetensors", 0 if same else 1, commit="two", **about))
    monkeypatch.setattr(reproduce, "load_checkpoint", lambda _: bundled)
    monkeypatch.setattr(reproduce, "load_x_bank", lambda _: [])
    monkeypatch.setattr(reproduce, "pretrain", lambda *_: made)
    assert reproduce.main(["--x-bank", str(tmp_path)]) == (0 if same else 1)
    printed = capsys.readouterr().out
    assert ("the same, to the last bit" in printed) == same
    assert ("versions: then then, now now" in printed) == (not same)
