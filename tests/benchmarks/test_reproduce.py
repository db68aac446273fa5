"""The command that trains the bundled checkpoint again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch

from benchmarks import reproduce
from benchmarks.__main__ import main
from nirs4all_vit import load_checkpoint, save_checkpoint
from nirs4all_vit.encoder import EncoderConfig, SpectralPerceiver
from nirs4all_vit.pretraining.product import processor
from tests.conftest import ROOT


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
    again = _saved(tmp_path / "made.safetensors", 0 if same else 1, commit="one", **about)
    monkeypatch.setattr(reproduce, "DEFAULT", bundled.path)
    monkeypatch.setattr(reproduce, "source_of", lambda commit, _: tmp_path / commit)
    monkeypatch.setattr(reproduce, "train", lambda source, *_: again if source == tmp_path / "one" else None)
    assert main(["reproduce", "--x-bank", str(tmp_path), "--out", str(tmp_path)]) == (0 if same else 1)
    printed = capsys.readouterr().out
    assert ("the same, to the last bit" in printed) == same
    assert ("versions: then then, now now" in printed) == (not same)
    assert (f"processor: a processor that its header does not name then, {processor()} now" in printed) == (not same)


def _has_history() -> bool:
    commit = load_checkpoint("nirs-base-v2").header["provenance"]["commit"]
    done = subprocess.run(["git", "-C", str(ROOT), "cat-file", "-e", f"{commit}^{{commit}}"], check=False)
    return done.returncode == 0


@pytest.mark.skipif(not _has_history(), reason="needs the repository's history")
def test_the_source_that_made_the_checkpoint_is_in_the_history(tmp_path: Path) -> None:
    source = reproduce.source_of(load_checkpoint("nirs-base-v2").header["provenance"]["commit"], tmp_path)
    assert (source / "nirs4all_vit/pretraining/recipes/nirs-base-v2.yaml").is_file()
    assert (source / "nirs4all_vit/pretraining/__main__.py").is_file()


def test_without_the_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(reproduce, "_ROOT", tmp_path)
    assert main(["reproduce", "--x-bank", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "use a full clone" in capsys.readouterr().err
