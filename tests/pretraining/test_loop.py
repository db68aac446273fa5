"""The loop: reproducible, honest about its origin, and its product loads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from nirs4all_vit import SpectralEmbedder, load_checkpoint
from nirs4all_vit.encoder import EncoderConfig
from nirs4all_vit.pretraining import Pretraining, PretrainingConfig, SpectralDataset, load_recipe
from nirs4all_vit.pretraining.__main__ import main
from nirs4all_vit.pretraining.data import bank_hash
from tests.conftest import ROOT, make_spectra

TINY = EncoderConfig(n_latents=8, d_model=16, n_heads=2, n_blocks=2)
TASKS = {"nonlinear_functionals": 1.0, "linear_spikes": 0.5, "linear_functionals": 0.3}


def bank(n: int = 2) -> list[SpectralDataset]:
    grids = [np.linspace(1100, 2400, 90), np.linspace(900, 1700, 60)][:n]
    return [
        SpectralDataset(f"set{i}", make_spectra(nm, 30, seed=i).astype(np.float32), nm, {"family": f"f{i}"})
        for i, nm in enumerate(grids)
    ]


def config(**changes: object) -> PretrainingConfig:
    settings = {
        "name": "tiny",
        "steps": 3,
        "tasks": TASKS,
        "readouts": {"latents": 1.0, "compact": 0.3},
        "encoder": TINY,
    }
    return PretrainingConfig(**{**settings, **changes})


def test_same_seed_same_file(tmp_path: Path) -> None:
    state = torch.get_rng_state()
    first, second = (Pretraining(config(), bank()).run(tmp_path / n, progress=False) for n in ("a", "b"))
    other = Pretraining(config(seed=1), bank()).run(tmp_path / "c", progress=False)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes() != other.read_bytes()
    assert torch.equal(state, torch.get_rng_state())


def test_the_product_says_where_it_comes_from(tmp_path: Path) -> None:
    datasets = bank()
    path = Pretraining(config(), datasets).run(tmp_path, progress=False)
    checkpoint = load_checkpoint(path)
    provenance = checkpoint.header["provenance"]
    assert provenance["bank_hash"] == bank_hash(datasets)
    assert provenance["families"] == ["f0", "f1"]
    assert provenance["step"] == 3
    assert provenance["recipe"]["tasks"] == TASKS
    assert checkpoint.encoder.config.readout_scale != 1.0
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert {"loss", *TASKS} <= set(rows[0])
    z = SpectralEmbedder(path).fit_transform(datasets[0].values, wavelengths=datasets[0].wavelengths)
    assert z.shape == (30, 8 * 32)
    assert np.isfinite(z).all()


def test_the_readout_scale_makes_a_penalty_of_one_typical(tmp_path: Path) -> None:
    run = Pretraining(config(steps=12), bank())
    path = run.run(tmp_path, progress=False)
    scale = load_checkpoint(path).encoder.config.readout_scale
    history = run._penalties["latents"]
    recent = history[-(len(history) // 5) :]
    assert np.exp(np.median(recent)) * scale**2 == pytest.approx(1.0, rel=0.05)


@pytest.mark.slow
def test_the_loss_falls() -> None:
    run = Pretraining(config(steps=150, learning_rate=3e-3, warmup=10, tasks={"linear_spikes": 1.0}), bank(1))
    losses = [run.step()["loss"] for _ in range(150)]
    assert np.mean(losses[-40:]) < np.mean(losses[:40]) - 0.1


def test_no_label_can_reach_it() -> None:
    """Neither the loader nor the loop opens anything but spectra and their metadata."""
    for path in (ROOT / "nirs4all_vit" / "pretraining").rglob("*.py"):
        assert "y_bank" not in path.read_text("utf-8")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": {"magic": 1.0}}, "tasks: give positive weights to one or more of linear_spikes"),
        ({"tasks": {}}, "tasks: give positive weights"),
        ({"tasks": {"linear_spikes": -1.0}}, "tasks: give positive weights"),
        ({"readouts": {"median": 1.0}}, "readouts: give positive weights"),
        ({"steps": 0}, "steps=0"),
        ({"corruption": 1.5}, "corruption=1.5"),
    ],
)
def test_impossible_settings(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**changes)


def test_recipes(tmp_path: Path) -> None:
    assert load_recipe("nirs-base-v0").name == "nirs-base-v0"
    with pytest.raises(FileNotFoundError, match="no recipe 'nope'; bundled: nirs-base-v0"):
        load_recipe("nope")
    (tmp_path / "r.yaml").write_text("name: x\nstep: 3\n")
    with pytest.raises(ValueError, match="unknown settings: step"):
        load_recipe(tmp_path / "r.yaml")


@pytest.mark.xbank
@pytest.mark.slow
def test_command_line_on_real_spectra(x_bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = str(tmp_path)
    main(["--x-bank", str(x_bank), "--out", out, "--steps", "2", "--without-families", "corn", "otolith"])
    assert "wrote" in capsys.readouterr().out
    provenance = load_checkpoint(tmp_path / "nirs-base-v0.safetensors").header["provenance"]
    assert "corn" not in provenance["families"]
    assert "tecator_meat" in provenance["families"]
    with pytest.raises(SystemExit):
        main(["--x-bank", str(x_bank), "--out", out, "--without-families", "unicorn"])
