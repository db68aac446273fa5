"""One encoder tuned on the targets of many datasets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from nirs4all_vit import SpectralEmbedder, load_checkpoint
from nirs4all_vit.cli import main
from nirs4all_vit.errors import SpectralInputError
from nirs4all_vit.files import lock_folder
from nirs4all_vit.finetuning import FinetuningConfig, finetune
from nirs4all_vit.finetuning.multitask import _Run, load_labelled
from nirs4all_vit.pretraining.data.bank import load_x_bank
from tests.conftest import make_spectra


@pytest.fixture
def banks(tmp_path: Path) -> dict[str, str]:
    """Three datasets on axes of their own: numbers, classes with replicates, and none."""
    x_bank, y_bank = tmp_path / "x", tmp_path / "y"
    x_bank.mkdir()
    y_bank.mkdir()
    for i, name in enumerate(("corn", "wood", "silent")):
        nm = np.linspace(1000.0 + 100 * i, 2200.0, 60)
        X = make_spectra(nm, 48)
        pd.DataFrame(X, columns=nm.round(2)).to_csv(x_bank / f"{name}.csv", index=False)
        about = {"family": f"family of {name}", "group": "meta_tree" if name == "wood" else None}
        (x_bank / f"{name}.json").write_text(json.dumps(about))
        y = X[:, 40] - X[:, 20]
        if name == "corn":
            pd.DataFrame({"protein": y, "oil": np.where(y > 0, y, np.nan), "flat": 1.0}).to_csv(
                y_bank / "corn.csv", index=False
            )
        if name == "wood":
            kinds = np.where(np.arange(48) // 2 % 3 == 0, "oak", "pine")
            pd.DataFrame({"species": kinds, "meta_tree": np.arange(48) // 2}).to_csv(y_bank / "wood.csv", index=False)
    return {"x_bank": str(x_bank), "y_bank": str(y_bank)}


def test_what_is_learned_from(banks: dict[str, str]) -> None:
    corn, wood = load_labelled(load_x_bank(banks["x_bank"], progress=False), banks["y_bank"])
    assert "protein" in corn.targets
    assert "flat" not in corn.targets  # says nothing
    assert wood.targets["species"].shape == (48, 2)
    assert len(set(wood.groups)) == 24
    assert len(corn.measured("protein")) == 48
    # Semicolons; a name of its own for each is no class; neither is the group.
    table = pd.read_csv(Path(banks["y_bank"]) / "wood.csv").assign(scan=[f"S{i:03}" for i in range(48)])
    table.to_csv(Path(banks["y_bank"]) / "wood.csv", index=False, sep=";")
    _, wood = load_labelled(load_x_bank(banks["x_bank"], progress=False), banks["y_bank"])
    assert list(wood.targets) == ["species"]
    # Two spectra whose tree nobody named are two samples.
    unnamed = table.assign(meta_tree=table["meta_tree"].astype(float).replace({3.0: np.nan}))
    unnamed.to_csv(Path(banks["y_bank"]) / "wood.csv", index=False)
    _, wood = load_labelled(load_x_bank(banks["x_bank"], progress=False), banks["y_bank"])
    assert len(set(wood.groups)) == 25
    table.drop(columns="meta_tree").to_csv(Path(banks["y_bank"]) / "wood.csv", index=False)
    with pytest.raises(
        ValueError, match=r"wood.csv has no column 'meta_tree', which the metadata of wood names as group"
    ):
        list(load_labelled(load_x_bank(banks["x_bank"], progress=False), banks["y_bank"]))
    pd.DataFrame({"protein": [1.0, 2.0]}).to_csv(Path(banks["y_bank"]) / "corn.csv", index=False)
    with pytest.raises(ValueError, match=r"corn.csv has 2 rows for 48 spectra"):
        list(load_labelled(load_x_bank(banks["x_bank"], progress=False), banks["y_bank"]))


@pytest.mark.parametrize("label_weight", [1.0, 0.2])
def test_a_run_that_is_resumed_ends_where_it_would_have(
    banks: dict[str, str], tmp_path: Path, label_weight: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = {**banks, "steps": 6, "batch_size": 16, "label_weight": label_weight, "checkpoint_every": 3}
    whole = load_checkpoint(finetune(FinetuningConfig(out=str(tmp_path / "a"), **about)))

    advance = _Run.advance

    def killed(self) -> float:
        if self.step == 4:
            raise KeyboardInterrupt
        return advance(self)

    monkeypatch.setattr(_Run, "advance", killed)
    config = FinetuningConfig(out=str(tmp_path / "b"), resume="auto", **about)
    with pytest.raises(KeyboardInterrupt):
        finetune(config)
    monkeypatch.setattr(_Run, "advance", advance)
    resumed = load_checkpoint(finetune(config))
    state = resumed.encoder.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in whole.encoder.state_dict().items())
    lines = [[json.loads(line) for line in (tmp_path / run / "metrics.jsonl").open()] for run in "ab"]
    assert lines[0] == lines[1]
    assert [line["step"] for line in lines[0]] == [1, 2, 3, 4, 5, 6]
    assert any("hidden_components" in line for line in lines[0]) == (label_weight < 1)
    assert {line["dataset"] for line in lines[0]} == {"corn", "wood"}
    with pytest.raises(ValueError, match="holds a run with other seed"):
        finetune(FinetuningConfig(out=str(tmp_path / "b"), resume="auto", seed=1, **about))
    # Nothing of a run is written over, and nothing else is gone on with.
    with pytest.raises(FileExistsError, match=r"contains a run \(state\.pt\); resume it with resume=auto"):
        finetune(FinetuningConfig(out=str(tmp_path / "b"), **about))
    (tmp_path / "b/state.pt").unlink()
    with pytest.raises(FileExistsError, match=r"last\.safetensors but no state\.pt to resume from"):
        finetune(FinetuningConfig(out=str(tmp_path / "b"), resume="auto", **about))
    (tmp_path / "b/last.safetensors").unlink()
    with pytest.raises(FileExistsError, match=r"config\.json of another run"):
        finetune(FinetuningConfig(out=str(tmp_path / "b"), resume="auto", seed=1, **about))
    again = load_checkpoint(finetune(FinetuningConfig(out=str(tmp_path / "b"), resume="auto", **about)))
    assert again.sha256 == resumed.sha256


def test_a_run_keeps_to_its_data(banks: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = FinetuningConfig(
        out=str(tmp_path / "run"), steps=3, batch_size=16, resume="auto", checkpoint_every=1, **banks
    )
    advance = _Run.advance

    def killed(self) -> float:
        if self.step == 2:
            raise KeyboardInterrupt
        return advance(self)

    monkeypatch.setattr(_Run, "advance", killed)
    with pytest.raises(KeyboardInterrupt):
        finetune(config)
    monkeypatch.setattr(_Run, "advance", advance)
    file = Path(banks["x_bank"]) / "corn.csv"
    spectra = pd.read_csv(file)
    (1.01 * spectra).to_csv(file, index=False)
    with pytest.raises(ValueError, match="holds a run with other data"):
        finetune(config)
    file.write_text("1000,1010\n0.1\n", "utf-8")
    with pytest.raises(SpectralInputError, match=r"corn\.csv, line 2"):
        finetune(config)
    with lock_folder(tmp_path / "run"), pytest.raises(BlockingIOError, match="another process is writing to"):
        finetune(config)


def test_it_learns_what_the_labels_ask_for(banks: dict[str, str], tmp_path: Path) -> None:
    """A bent answer: the encoder before does worse on the same episodes than after."""
    spectra = pd.read_csv(Path(banks["x_bank"]) / "corn.csv").to_numpy()
    amount = np.random.default_rng(0).normal(size=48)
    bumped = spectra + 0.05 * amount[:, None] * np.exp(-(((np.arange(60) - 30.0) / 1.5) ** 2))
    pd.DataFrame(bumped, columns=pd.read_csv(Path(banks["x_bank"]) / "corn.csv").columns).to_csv(
        Path(banks["x_bank"]) / "corn.csv", index=False
    )
    pd.DataFrame({"size": np.abs(amount)}).to_csv(Path(banks["y_bank"]) / "corn.csv", index=False)
    config = FinetuningConfig(
        out=str(tmp_path / "run"), steps=60, batch_size=48, without_families=["family of wood"], **banks
    )
    path = finetune(config)
    losses = [json.loads(line)["labels"] for line in (tmp_path / "run/metrics.jsonl").open()]
    assert np.mean(losses[-15:]) < np.mean(losses[:15]) - 0.5
    provenance = load_checkpoint(path).header["provenance"]
    assert provenance["tuned_families"] == ["family of corn"]
    assert provenance["tuned_from"] == load_checkpoint().sha256
    assert provenance["tuning"]["steps"] == 60
    assert SpectralEmbedder(str(path), wavelengths=np.linspace(1000.0, 2200.0, 60)).fit_transform(bumped).shape[0] == 48


def test_on_the_command_line(banks: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = tmp_path / "tuning.yaml"
    config.write_text(f"x_bank: {banks['x_bank']}\ny_bank: {banks['y_bank']}\nsteps: 2\nbatch_size: 16\n")
    out = tmp_path / "run"
    assert main(["finetune", "--config", str(config), "--out", str(out), "--readout", "compact"]) == 0
    assert capsys.readouterr().out == f"wrote {out / 'last.safetensors'}\n"
    assert json.loads((out / "config.json").read_text())["readout"] == "compact"
    for wrong, message in (
        (["--y_bank", str(tmp_path / "none")], "is not a folder"),
        (["--without_families", "[rye]"], "no family 'rye'"),
        (["--without_families", "[family of corn, family of wood]"], "no dataset of"),
        (["--label_weight", "0"], "label_weight=0.0 must be above 0"),
        (["--readout", "all"], "readout='all' does not exist"),
        (["--steps", "0"], "steps=0 must be 1 or more"),
        (["--layer_decay", "2"], "layer_decay=2.0 must be positive"),
    ):
        assert main(["finetune", "--config", str(config), "--out", str(out), *wrong]) == 1
        assert message in capsys.readouterr().err
