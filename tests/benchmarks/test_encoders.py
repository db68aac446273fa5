"""Encoders that a phase names: found, made, trained without the families that they are scored on."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import encoders
from benchmarks.__main__ import main
from benchmarks.encoders import DEFAULT, Encoders, fold_families
from benchmarks.tasks import Results
from nirs4all_vit import load_checkpoint, save_checkpoint
from nirs4all_vit.finetuning import FinetuningConfig
from nirs4all_vit.pretraining import PretrainingConfig, SyntheticSpectralDataset, load_recipe


@pytest.fixture
def small_bank(tmp_path: Path) -> Path:
    """Five families of synthetic spectra with one concentration each."""
    spectra, targets = tmp_path / "x_bank", tmp_path / "y_bank"
    spectra.mkdir()
    targets.mkdir()
    for i in range(5):
        made = SyntheticSpectralDataset(i, 60)
        y = max(made.concentrations.values(), key=np.std)
        columns = [f"{w:.6g}" for w in made.wavelengths]
        pd.DataFrame(made.values, columns=columns).to_csv(spectra / f"set{i}.csv", index=False)
        about = {
            "dataset_id": f"set{i}",
            "family": f"family{i}",
            "axis_unit": "nm",
            "targets": {"y": {"task": "regression"}},
        }
        (spectra / f"set{i}.json").write_text(json.dumps(about))
        pd.DataFrame({"y": y}).to_csv(targets / f"set{i}.csv", index=False)
    return spectra


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every recipe for three steps."""

    def recipe(name: str, overrides: list[str]) -> object:
        few = ["--optim.steps=3", "--data.batch_size=32", "--run.checkpoint_every=1", "--run.score_every=3"]
        return load_recipe(name, [*overrides, *few])

    monkeypatch.setattr(encoders, "load_recipe", recipe)


def test_names(tmp_path: Path) -> None:
    made = Encoders(tmp_path)
    assert Path(made.path(DEFAULT)) == load_checkpoint(DEFAULT).path
    first, second = (load_checkpoint(made.path(name)) for name in ("untrained", "untrained-1"))
    assert first.sha256 != second.sha256
    assert load_checkpoint(made.path("untrained-points")).encoder.config.tokens == "points"
    with pytest.raises(ValueError, match="no encoder 'nonsense'"):
        made.path("nonsense")
    with pytest.raises(ValueError, match="name it with --x-bank"):
        made.path("smoke~0")


def test_folds_hold_out_every_family_once() -> None:
    folds = fold_families({f"family{i}" for i in range(12)})
    assert sorted(family for fold in folds for family in fold) == sorted(f"family{i}" for i in range(12))


def test_another_length_or_seed_stands_in_the_name(
    small_bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: dict[str, PretrainingConfig] = {}

    def pretrain(config: PretrainingConfig, _: object) -> None:
        trained[config.run.name] = config

    monkeypatch.setattr(encoders, "pretrain", pretrain)
    names = ["ablation-mae~0", "ablation-mae+600k~0", "ablation-mae+seed1~0"]
    for name in names:
        (tmp_path / "encoders" / name).mkdir(parents=True)
        Encoders(tmp_path, small_bank).path(name)
    usual, longer, other = (trained[name] for name in names)
    assert (usual.optim.steps, usual.run.seed) == (3200, 0)
    assert (longer.optim.steps, longer.run.seed) == (9375, 0)
    assert (other.optim.steps, other.run.seed) == (3200, 1)
    assert len({config.run.out for config in trained.values()}) == 3
    assert [encoders.spectra_seen(name) for name in names] == [204_800, 600_000, 204_800]
    with pytest.raises(ValueError, match="after \\+ comes a number of spectra"):
        Encoders(tmp_path, small_bank).path("ablation-mae+much~0")


@pytest.mark.usefixtures("short")
def test_metadata_are_given_for_none_of_the_spectra_all_or_half(small_bank: Path, tmp_path: Path) -> None:
    for path in small_bank.glob("*.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "mode": "absorbance", "instrument_type": "lab"}))
    out, encoder = tmp_path / "out", "ablation-metadata-dropout~0:mean"
    methods = [f"{head}@{encoder}" for head in ("ridge", "metadata-ridge", "half-metadata-ridge")]
    command = ["run", "metadata", "--x-bank", str(small_bank), "--jobs", "1", "--out", str(out), "--methods", "mean"]
    assert main([*command, *methods]) == 0
    table = Results(out).table("calibration")
    errors = table.pivot(index=["dataset", "seed"], columns="method", values="rmsep").dropna()
    assert set(errors) == {"mean", *methods}
    assert errors.nunique(axis=1).eq(4).all()


@pytest.mark.usefixtures("short")
def test_an_encoder_never_sees_the_families_that_it_is_scored_on(
    small_bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, name = tmp_path / "out", "ablation-baseline~0"
    method = f"ridge@{name}:mean"
    command = ["run", "phase2", "--x-bank", str(small_bank), "--jobs", "1", "--out", str(out), "--methods"]
    assert main([*command, "mean", method]) == 0
    table = Results(out).table("calibration")
    assert len(table) == 18  # the mean on the five families, the encoder's fold alone
    scored = table[table["method"] == method]
    assert len(scored) == 3
    assert np.isfinite(scored["rmsep"]).all()
    seen = load_checkpoint(out / "encoders" / name / "last.safetensors").header["provenance"]["families"]
    assert len(seen) == 4
    assert not set(scored["family"]) & set(seen)
    # A bank whose families have changed since would be scored on what was seen.
    with pytest.raises(ValueError, match=f"trained on {seen[0]}, which it is to be scored on"):
        encoders.require_unseen(str(out / "encoders" / name / "last.safetensors"), {seen[0], *scored["family"]})
    # Baselines and encoders are kept for other phases.
    assert any((out / "encoders/asls").iterdir())
    monkeypatch.setattr(encoders, "pretrain", None)
    # Where all results of an encoder are there, it need not be; where one is missing, it is trained again.
    (out / "encoders").rename(out / "elsewhere")
    assert main([*command, "mean", method]) == 0
    one = next(path for path in (out / "tasks").glob("*.json") if method in path.read_text("utf-8"))
    one.unlink()
    with pytest.raises(TypeError, match="not callable"):
        main([*command, "mean", method])
    shutil.rmtree(out / "encoders")
    (out / "elsewhere").rename(out / "encoders")
    shutil.rmtree(out / "tasks")
    assert main([*command, method]) == 0
    # The encoder of the first fold, on its own families.
    assert len(Results(out).table("calibration")) == 3


def test_an_encoder_that_is_trained_again_has_the_same_hash(tmp_path: Path) -> None:
    first = Encoders(tmp_path).path("untrained")
    encoder = load_checkpoint(first).encoder
    again = save_checkpoint(tmp_path / "again.safetensors", encoder, name="again", provenance={"commit": "abc"})
    assert again.read_bytes() != Path(first).read_bytes()
    assert encoders.weights_hash(str(again)) == encoders.weights_hash(first)
    assert encoders.weights_hash(Encoders(tmp_path).path("untrained-1")) != encoders.weights_hash(first)


def test_encoders_are_trained_side_by_side_with_the_same_weights(small_bank: Path, tmp_path: Path) -> None:
    names = ["smoke+1k~0", "smoke+1k~1"]
    side_by_side = Encoders(tmp_path / "two", small_bank)
    side_by_side.train([*names, "untrained", DEFAULT], jobs=2)
    assert all(map(side_by_side.is_trained, names))
    one = Encoders(tmp_path / "one", small_bank)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        one.train(names[:1])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert not one.is_trained(names[1])
    weights = [encoders.weights_sha256(made.path(names[0])) for made in (side_by_side, one)]
    assert weights[0] == weights[1]
    with pytest.raises(ValueError, match="smoke\\+1k~3 is trained on a bank"):
        Encoders(tmp_path / "two").train(["smoke+1k~3"], jobs=2)


@pytest.fixture
def short_tuning(short: None, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    """Two steps on labels, after three of the recipe."""
    monkeypatch.setattr(encoders, "LABELLED", {"labelled": ("ablation-hidden-components", 0.5)})
    monkeypatch.setattr(encoders, "FinetuningConfig", partial(FinetuningConfig, steps=2))


@pytest.mark.usefixtures("short_tuning")
def test_an_encoder_is_trained_before_it_is_tuned_on_labels(small_bank: Path, tmp_path: Path) -> None:
    made = Encoders(tmp_path / "out", small_bank)
    made.train(["labelled~0"])
    assert made.is_trained("labelled~0")
    assert made.is_trained("ablation-hidden-components~0")
    assert not made.is_trained("ablation-hidden-components~1")


@pytest.mark.usefixtures("short_tuning")
def test_labels_come_from_families_that_are_not_scored(small_bank: Path, tmp_path: Path) -> None:
    path = Encoders(tmp_path / "out", small_bank).path("labelled~0")
    header = load_checkpoint(path).header["provenance"]
    held_out = fold_families({f"family{i}" for i in range(5)})[0]
    assert len(header["families"]) == len(header["tuned_families"]) == 4
    assert not set(held_out) & set(header["tuned_families"])
    assert header["tuning"]["label_weight"] == 0.5
    encoders.require_unseen(path, set(held_out))
    with pytest.raises(ValueError, match="which it is to be scored on"):
        encoders.require_unseen(path, set(header["tuned_families"]))
    with pytest.raises(ValueError, match="labelled~0 is trained on a bank"):
        Encoders(tmp_path / "other").path("labelled~0")
