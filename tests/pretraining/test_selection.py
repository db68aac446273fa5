"""What a run is made of: nothing is replaced, left out or resumed in silence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from nirs4all_vit import SpectralEmbedder, load_checkpoint
from nirs4all_vit.pretraining import Pretraining, SpectralDataset, load_recipe, pretrain
from nirs4all_vit.pretraining.record import check_same_run
from tests.conftest import make_spectra
from tests.pretraining.test_loop import ALL, bank, config


def test_real_spectra_are_not_replaced_by_synthetic_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"needs real spectra, and there are none.*data.x_bank"):
        Pretraining(config(tmp_path))
    with pytest.raises(ValueError, match="exclude fewer families"):
        Pretraining(config(tmp_path, "--data.without_families=[f0, f1]"), bank())
    with pytest.warns(UserWarning, match="the bank is ignored"):
        run = Pretraining(config(tmp_path, "--data.p_synth=1"), bank())
    assert run.datasets == []


def test_the_bank_of_the_recipe_is_read(tmp_path: Path) -> None:
    nm = np.linspace(1100, 2400, 60)
    (tmp_path / "bank").mkdir()
    table = np.vstack([nm, make_spectra(nm, 30)])
    np.savetxt(tmp_path / "bank/grain.csv", table, delimiter=",", fmt="%.6g")
    settings = config(tmp_path / "run", f"--data.x_bank={tmp_path / 'bank'}", steps=2)
    checkpoint = pretrain(settings, progress=False)
    assert checkpoint.header["provenance"]["datasets"] == ["grain"]


def test_what_is_too_small_is_not_said_to_have_been_seen(tmp_path: Path) -> None:
    nm = np.linspace(1000, 2000, 50)
    one = SpectralDataset("one", make_spectra(nm, 1).astype(np.float32), nm, {"family": "one"})
    masked = ["--objectives.episodic_calibration.weight=0", "--objectives.masked_modeling.weight=1"]
    checkpoint = pretrain(config(tmp_path, *masked, steps=2), [*bank(), one], progress=False)
    assert checkpoint.header["provenance"]["datasets"] == ["set0", "set1"]


@pytest.mark.filterwarnings("ignore:.*baseline")
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["--objectives.baseline_consistency.weight=1"], "none of baseline_consistency applies.*data.asls"),
        (
            ["--objectives.contrastive.weight=1", "--objectives.contrastive.pairs=[[set0, typo]]"],
            "pairs: no such dataset.*typo",
        ),
    ],
)
def test_a_run_that_would_train_on_nothing_is_refused(overrides: list[str], message: str, tmp_path: Path) -> None:
    augmented = ["--data.augmentation={gaussian_noise: {}}", "--objectives.episodic_calibration.weight=0"]
    with pytest.raises(ValueError, match=message):
        Pretraining(config(tmp_path, *augmented, *overrides), bank()).run(progress=False)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--data.batch_size=8", "episodic_calibration needs both to be at least 12"),
        ("--optim.learning_rate=.inf", "optim.learning_rate=inf"),
        ("--data.weights={set0: -1}", "data.weights.set0"),
        ("--objectives.episodic_calibration.readouts={cls: .nan}", "readouts"),
        (
            "--objectives.episodic_calibration.tasks={linear_spikes: {n_analytes: abc}}",
            "n_analytes='abc' must be a positive",
        ),
        ("--objectives.episodic_calibration.tasks={linear_spikes: {low: -3}}", "low=-3"),
        ("--objectives.contrastive={weight: 1, p_paired: 0}", "both views of a sample would be identical"),
        ("--objectives.contrastive={weight: 1, pairs: [[a]]}", "each must name two or more datasets"),
    ],
)
def test_settings_that_cannot_work(override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_recipe("smoke", [override])


def test_devices_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"run.device='gpu'; use auto, cpu"):
        Pretraining(config(tmp_path, "--run.device=gpu"), bank())


def test_a_run_goes_on_with_the_same_spectra_only(tmp_path: Path) -> None:
    run = Pretraining(config(tmp_path, *ALL), bank())
    for _ in range(3):
        run.step()
    run._save(tmp_path, None)
    with pytest.raises(ValueError, match="started with other spectra"):
        Pretraining(config(tmp_path, *ALL, "--run.resume=auto"), bank(1)).run(progress=False)
    with pytest.raises(ValueError, match=r"another recipe: optim.clip \(1.0, now 0.5\)"):
        Pretraining(config(tmp_path, *ALL, "--run.resume=auto", "--optim.clip=0.5"), bank()).run(progress=False)
    # How often it is saved does not change what is computed.
    Pretraining(config(tmp_path, *ALL, "--run.resume=auto", "--run.checkpoint_every=5"), bank()).run(progress=False)


def test_a_run_goes_on_with_as_many_processes() -> None:
    state = {"recipe": "{}", "origin": {"bank_hash": "a"}, "penalties": [{}]}
    with pytest.raises(ValueError, match="started with 1 processes, not 2"):
        check_same_run(Path("x"), state, {}, {"bank_hash": "a"}, 2)


def test_a_folder_with_any_file_of_a_run_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileExistsError, match="contains a run"):
        Pretraining(config(tmp_path), bank()).run(progress=False)


@pytest.mark.parametrize("n_bad", [2, None])
def test_a_gradient_that_is_not_finite_is_skipped_and_counted(
    n_bad: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nirs4all_vit.pretraining.optimisation._MAX_SKIPPED", 2)
    run = Pretraining(config(tmp_path, "--run.checkpoint_every=1", "--optim.steps=8"), bank())
    step, weights = run.step, []

    def poisoned() -> dict[str, float]:
        bad = run.step_done >= 3 and (n_bad is None or run.step_done < 3 + n_bad)
        hook = run.encoder.latents.register_hook(lambda gradient: gradient * torch.nan) if bad else None
        row = step()
        if hook is not None:
            hook.remove()
        weights.append(torch.cat([p.detach().flatten() for p in run.model.parameters()]))
        return row

    run.step = poisoned
    if n_bad is None:
        with pytest.raises(FloatingPointError, match=r"step 6 .*the gradient, 3 steps in a row.* is intact"):
            run.run(progress=False)
        assert load_checkpoint(tmp_path / "last.safetensors").header["provenance"]["step"] == 5
    else:
        run.run(progress=False)
        rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
        assert [row["skipped"] for row in rows if "skipped" in row] == [1, 2]
        assert torch.equal(weights[2], weights[4])  # nothing was learned from them
        assert not torch.equal(weights[4], weights[5])
    assert np.isfinite(
        SpectralEmbedder.from_run(tmp_path).fit_transform(make_spectra(np.linspace(1100, 2400, 50), 3))
    ).all()


def test_the_validation_loss_is_that_of_the_encoder_that_is_kept(tmp_path: Path) -> None:
    """With a moving average that hardly moves, the score stays while the weights do not."""
    rows = {}
    for name, ema in (("plain", 0.0), ("averaged", 0.9999)):
        settings = config(tmp_path / name, f"--optim.ema={ema}", "--optim.learning_rate=0.01", "--run.score_every=1")
        Pretraining(settings, bank()).run(progress=False)
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        rows[name] = [row["validation"] for row in map(json.loads, lines) if "validation" in row]
    assert rows["plain"][0] == rows["averaged"][0]
    # The average begins with the weights after the first step.
    moved = {name: abs(values[-1] - values[0]) for name, values in rows.items()}
    assert moved["averaged"] < 0.1 * moved["plain"]


def test_with_the_adversary_alone_the_last_is_the_best(tmp_path: Path) -> None:
    alone = ["--objectives.episodic_calibration.weight=0", "--objectives.dataset_adversary.weight=1"]
    Pretraining(config(tmp_path, *alone, "--run.patience=1"), bank()).run(progress=False)
    assert load_checkpoint(tmp_path / "best.safetensors").header["provenance"]["step"] == 8


def test_each_view_is_told_its_own_range(tmp_path: Path) -> None:
    fields = ["--encoder.numeric=[spectral_start, spectral_stop]", "--data.metadata_dropout=0"]
    paired = [
        "--objectives.contrastive={weight: 1, p_paired: 1, pairs: [[set0, set1]]}",
        "--data.augmentation={gaussian_noise: {}}",
    ]
    region = ["--objectives.episodic_calibration.tasks={region_to_region: {}}", "--data.crop_probability=0"]
    run = Pretraining(config(tmp_path, *fields, *paired, *region), bank())
    for inputs in (v for k in range(4) for v in run.training[k].values()):
        for view, metadata in zip(inputs.views, inputs.metadata, strict=True):
            assert metadata[0]["spectral_start"] == pytest.approx(float(view.wavelengths[0]))
            assert metadata[0]["spectral_stop"] == pytest.approx(float(view.wavelengths[-1]))


def test_a_padded_batch_keeps_the_baselines_that_it_has(tmp_path: Path) -> None:
    datasets = bank()
    datasets[0].baseline = 0.1 * datasets[0].values
    mixed = [
        "--data.layout=mixed",
        "--objectives.episodic_calibration.weight=0",
        "--objectives.masked_modeling.weight=1",
    ]
    run = Pretraining(config(tmp_path, *mixed), datasets)
    run.training.settings = load_recipe("reference", ["--data.x_bank=given"]).objectives.active()
    views = [
        p["baseline_consistency"].views for p in map(run.training.__getitem__, range(12)) if "baseline_consistency" in p
    ]
    assert len(views) >= 6
    for first, second in views:
        assert torch.isfinite(second.spectra).all()
        assert set(first.datasets.tolist()) == {0}
        assert len(first) < 24 or first.valid is not None
