"""The loop: reproducible, resumable, honest about its origin, and its product loads."""

from __future__ import annotations

import json
import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from nirs4all_vit import SpectralEmbedder, load_checkpoint
from nirs4all_vit.pretraining import Pretraining, PretrainingConfig, SpectralDataset, load_recipe, pretrain
from nirs4all_vit.pretraining.data import bank_hash
from nirs4all_vit.pretraining.record import FILE
from tests.conftest import ROOT, make_spectra

ALL = [
    "--objectives.masked_modeling.weight=0.5",
    "--objectives.contrastive.weight=0.2",
    "--objectives.dataset_adversary.weight=0.1",
    "--objectives.episodic_calibration.weight=1",
    "--data.augmentation={baseline_drift: {probability: 0.5}, wavelength_shift: {}}",
]
TINY = [
    "--encoder.n_latents=8",
    "--encoder.n_scales=1",
    "--encoder.patch_hidden=8",
    "--encoder.d_model=16",
    "--encoder.n_heads=2",
    "--data.n_synthetic=2",
    "--data.batch_size=24",
]


def bank(n: int = 2) -> list[SpectralDataset]:
    grids = [np.linspace(1100, 2400, 90), np.linspace(900, 1700, 60)][:n]
    return [
        SpectralDataset(f"set{i}", make_spectra(nm, 30, seed=i).astype(np.float32), nm, {"family": f"f{i}"})
        for i, nm in enumerate(grids)
    ]


def config(out: Path, *overrides: str, steps: int = 8) -> PretrainingConfig:
    """A tiny run over the datasets that the test hands over (the bank's path is only a name here)."""
    every = ["--run.checkpoint_every=3", "--run.score_every=4", "--run.n_validation=2", f"--optim.steps={steps}"]
    return load_recipe(
        "smoke", [*TINY, *every, f"--run.out={out}", "--data.p_synth=0", "--data.x_bank=given", *overrides]
    )


def sha(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in ("last.safetensors", "best.safetensors")]


def test_same_seed_same_file(tmp_path: Path) -> None:
    state = torch.get_rng_state()
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        Pretraining(config(tmp_path / name, *ALL, f"--run.seed={seed}"), bank()).run(progress=False)
    assert sha(tmp_path / "a") == sha(tmp_path / "b")
    assert sha(tmp_path / "a")[0] != sha(tmp_path / "c")[0]
    assert torch.equal(state, torch.get_rng_state())


def test_the_product_says_where_it_comes_from(tmp_path: Path) -> None:
    datasets = bank()
    checkpoint = pretrain(config(tmp_path, *ALL), datasets, progress=False)
    provenance = checkpoint.header["provenance"]
    assert provenance["bank_hash"] == bank_hash(datasets)
    assert provenance["families"] == ["f0", "f1"]
    assert provenance["step"] == 8
    assert provenance["recipe"]["optim"]["steps"] == 8
    assert "given" not in json.dumps(provenance)  # no path
    assert checkpoint.encoder.config.readout_scale != 1.0
    record = json.loads((tmp_path / "config.json").read_text())
    assert record["config"]["data"]["x_bank"] == "given"
    assert {"versions", "commit", "bank_hash", "seed"} <= set(record)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    steps = [row for row in rows if "loss" in row]
    assert [row["step"] for row in steps] == list(range(1, 9))
    assert {"gradient", "learning_rate", "spectra_per_second", "loss/masked_modeling"} <= set(steps[0])
    scores = [row for row in rows if "validation" in row]
    assert [row["step"] for row in scores] == [4, 8]
    assert 0 < scores[-1]["stability"] <= 1.0 + 1e-9
    assert (tmp_path / "loss.png").stat().st_size > 5000
    z = SpectralEmbedder.from_run(tmp_path).fit_transform(datasets[0].values, wavelengths=datasets[0].wavelengths)
    assert z.shape == (30, 366)
    assert np.isfinite(z).all()


def test_the_readout_scale_makes_a_penalty_of_one_typical(tmp_path: Path) -> None:
    run = Pretraining(config(tmp_path, steps=12), bank())
    scale = load_checkpoint(run.run(progress=False)).encoder.config.readout_scale
    history = run.model.objectives["episodic_calibration"].penalties["contrast"]
    assert len(history) == 12
    recent = history[-(len(history) // 5) :]
    assert np.exp(np.median(recent)) * scale**2 == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize(
    "extra", [[], ["--optim.ema=0.9", "--optim.accumulate=2", "--run.gradient_checkpointing=true"]]
)
@pytest.mark.parametrize("stop", [2, 3, 5, 7])
def test_a_resumed_run_equals_a_straight_one(stop: int, extra: list[str], tmp_path: Path) -> None:
    Pretraining(config(tmp_path / "straight", *ALL, *extra), bank()).run(progress=False)
    broken = Pretraining(config(tmp_path / "resumed", *ALL, *extra), bank())
    step = broken.step
    broken.step = lambda: step() if broken.step_done < stop else _raise(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        broken.run(progress=False)
    Pretraining(config(tmp_path / "resumed", *ALL, *extra, "--run.resume=auto"), bank()).run(progress=False)
    assert sha(tmp_path / "resumed") == sha(tmp_path / "straight")
    rows = [
        [{k: v for k, v in json.loads(line).items() if k != "spectra_per_second"} for line in text.splitlines()]
        for text in ((tmp_path / n / "metrics.jsonl").read_text() for n in ("straight", "resumed"))
    ]
    assert rows[0] == rows[1]


def _raise(error: type) -> None:
    raise error


def test_options_do_not_change_what_is_computed(tmp_path: Path) -> None:
    """Gradient checkpointing and workers change nothing; a moving average and bf16 do."""
    weights = {}
    for name, extra in {
        "plain": [],
        "recomputed": ["--run.gradient_checkpointing=true"],
        "workers": ["--data.n_workers=2"],
        "averaged": ["--optim.ema=0.5"],
        "bf16": ["--run.precision=bf16"],
    }.items():
        readouts = "--objectives.episodic_calibration.readouts={mean: 1.0}"
        checkpoint = pretrain(config(tmp_path / name, readouts, *extra, steps=4), bank(), progress=False)
        weights[name] = checkpoint.encoder.blocks[0].qkv.weight
    assert torch.equal(weights["plain"], weights["workers"])
    torch.testing.assert_close(weights["plain"], weights["recomputed"])
    for name in ("averaged", "bf16"):
        assert not torch.equal(weights["plain"], weights[name])
        torch.testing.assert_close(weights["plain"], weights[name], atol=0.05, rtol=0.2)


def test_accumulation_counts_as_one_larger_batch(tmp_path: Path) -> None:
    run = Pretraining(config(tmp_path, "--optim.accumulate=3"), bank())
    row = run.step()
    assert row["spectra"] == 72
    assert run.step_done == 1
    numbers = run._batches  # the next step takes micro-batches 3, 4, 5
    expected = run.training[3]["episodic_calibration"].views[0].spectra
    assert torch.equal(next(numbers)["episodic_calibration"].views[0].spectra, expected)


@pytest.mark.parametrize("objective", ["episodic_calibration", "masked_modeling"])
def test_a_loss_that_is_not_finite_ends_with_a_good_checkpoint(objective: str, tmp_path: Path) -> None:
    weights = ["--objectives.episodic_calibration.weight=0", f"--objectives.{objective}.weight=1"]
    run = Pretraining(config(tmp_path, *weights), bank())
    step = run.step

    def poisoned() -> dict[str, float]:
        if run.step_done == 5:
            with torch.no_grad():
                run.encoder.latents.fill_(torch.nan)
        return step()

    run.step = poisoned
    with pytest.raises(
        FloatingPointError, match=r"the loss of step 6 is not finite .* the last checkpoint .* is intact. Lower optim"
    ):
        run.run(progress=False)
    assert load_checkpoint(tmp_path / "last.safetensors").header["provenance"]["step"] == 3


def test_a_full_disk_ends_with_a_good_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Pretraining(config(tmp_path), bank())
    save = torch.save

    def full(state: dict, path: Path) -> None:
        if state["step"] > 3:
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        save(state, path)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"No space left on device. The last state there is intact; free disk space"):
        run.run(progress=False)
    monkeypatch.undo()
    assert torch.load(tmp_path / FILE, weights_only=True)["step"] == 3
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == [".lock"]


def test_a_folder_with_a_run_is_not_overwritten(tmp_path: Path) -> None:
    Pretraining(config(tmp_path), bank()).run(progress=False)
    before = sha(tmp_path)
    with pytest.raises(FileExistsError, match=r"contains a run \(state\.pt\); resume it with resume=auto"):
        Pretraining(config(tmp_path), bank()).run(progress=False)
    with pytest.raises(ValueError, match="started with another recipe"):
        Pretraining(config(tmp_path, "--run.resume=auto", "--optim.learning_rate=1"), bank()).run(progress=False)
    Pretraining(config(tmp_path, "--run.resume=auto"), bank()).run(progress=False)  # nothing is left to do
    assert sha(tmp_path) == before
    (tmp_path / FILE).write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"state.pt is damaged"):
        Pretraining(config(tmp_path, "--run.resume=auto"), bank()).run(progress=False)


def test_patience_ends_a_run_early_and_best_is_kept(tmp_path: Path) -> None:
    settings = config(tmp_path, "--run.patience=2", "--run.score_every=1", "--optim.learning_rate=1e-12", steps=50)
    run = Pretraining(settings, bank())
    scores = iter([1.0, 0.5, 0.7, 0.6, 0.1])
    run.score = lambda: _scored(run, next(scores))
    run.run(progress=False)
    assert run.step_done == 4
    assert load_checkpoint(tmp_path / "best.safetensors").header["provenance"]["step"] == 2
    assert load_checkpoint(tmp_path / "last.safetensors").header["provenance"]["step"] == 4


def _scored(run: Pretraining, value: float) -> dict[str, float]:
    if value < run._best:
        run._best, run._worse = value, 0
        run._write("best", run._penalties())
    else:
        run._worse += 1
    return {"validation": value}


def test_targets_are_looked_at_and_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "y").mkdir()
    values = bank()[0].values
    table = "protein,meta_id\n" + "".join(f"{x[40] - x[10]:.6f},s{i}\n" for i, x in enumerate(values))
    (tmp_path / "y/set0.csv").write_text(table)
    watched = ["--run.y_datasets=[set0]", f"--run.y_bank={tmp_path / 'y'}"]
    Pretraining(config(tmp_path / "watched", *watched), bank()).run(progress=False)
    Pretraining(config(tmp_path / "blind"), bank()).run(progress=False)
    assert sha(tmp_path / "watched") == sha(tmp_path / "blind")
    rows = [json.loads(line) for line in (tmp_path / "watched/metrics.jsonl").read_text().splitlines()]
    assert all(0 < row["ridge"]["set0/protein"] < 1.2 for row in rows if "ridge" in row)
    assert sum("ridge" in row for row in rows) == 2


def test_no_label_can_reach_the_weights() -> None:
    """Only the scores may open targets, and nothing but the loop's log takes what they return."""
    for path in (ROOT / "nirs4all_vit" / "pretraining").rglob("*.py"):
        text = path.read_text("utf-8")
        assert "y_bank" not in text or path.name in ("config.py", "loop.py"), path
    loop = (ROOT / "nirs4all_vit/pretraining/loop.py").read_text("utf-8")
    assert loop.count("ridge_scores(") == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["--data.without_families=[unicorn]"], "no such family in the bank: unicorn"),
        (["--data.weights={nope: 2}"], "weights name unknown datasets: nope"),
    ],
)
def test_a_bank_that_does_not_fit(overrides: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        Pretraining(config(tmp_path, *overrides), bank())


@pytest.mark.filterwarnings("ignore:no AsLS baseline")
def test_without_baselines_the_run_goes_on(tmp_path: Path) -> None:
    weights = ["--objectives.baseline_consistency.weight=0.5", f"--data.asls={tmp_path / 'none'}"]
    with pytest.warns(UserWarning, match="left out of the baseline objective"):
        run = Pretraining(config(tmp_path / "run", *weights), bank())
    assert set(run.step()) >= {"loss", "loss/episodic_calibration"}
    assert "loss/baseline_consistency" not in run.step()


@pytest.mark.slow
@pytest.mark.parametrize("times", [5, pytest.param(20, marks=pytest.mark.exhaustive)])
def test_killed_many_times(times: int, tmp_path: Path) -> None:
    """SIGKILL at random instants: every checkpoint on disk loads, and the result is that of an undisturbed run."""
    context = multiprocessing.get_context("forkserver")
    # All that a run imports: starts of three seconds each add up.
    needed = ["nirs4all_vit.pretraining.loop", "jsonargparse", "torch._dynamo", "nirs4all.synthesis"]
    context.set_forkserver_preload(["tests.pretraining.test_loop", *needed])

    def start(folder: str) -> tuple[multiprocessing.Process, multiprocessing.Event]:
        ready = context.Event()
        process = context.Process(target=_run_to_be_killed, args=(str(tmp_path / folder), ready))
        process.start()
        return process, ready

    def end(folder: str) -> None:
        process, _ = start(folder)
        process.join(timeout=300)
        assert process.exitcode == 0

    end("straight")
    rng, reached = np.random.default_rng(0), []
    for _ in range(times):
        process, ready = start("killed")
        assert ready.wait(timeout=120)
        time.sleep(float(rng.uniform(0.0, 0.4)))
        process.kill()
        process.join()
        for path in (tmp_path / "killed").glob("[!.]*.safetensors"):
            load_checkpoint(path)
        state = tmp_path / "killed" / FILE
        reached.append(torch.load(state, weights_only=True)["step"] if state.exists() else 0)
    assert reached == sorted(reached)
    end("killed")
    assert sha(tmp_path / "killed") == sha(tmp_path / "straight")


def _run_to_be_killed(out: str, ready: multiprocessing.Event) -> None:
    torch.set_num_threads(1)
    every = ["--run.checkpoint_every=2", "--run.score_every=5", "--run.n_validation=1", "--optim.steps=60"]
    run = Pretraining(load_recipe("smoke", [*TINY, *every, f"--run.out={out}", "--run.resume=auto"]))
    ready.set()
    run.run(progress=False)


def test_the_estimate_changes_nothing(tmp_path: Path) -> None:
    plain = Pretraining(config(tmp_path / "plain"), bank())
    asked = Pretraining(config(tmp_path / "asked"), bank())
    n_spectra, seconds = asked.estimate()
    assert seconds > 0
    micro = asked.steps * asked.config.optim.accumulate
    assert 0.4 * micro * asked.config.data.batch_size <= n_spectra <= 2 * micro * asked.config.data.batch_size
    for run in (plain, asked):
        run.run(progress=False)
    one, two = ((tmp_path / name / "last.safetensors").read_bytes() for name in ("plain", "asked"))
    assert one == two
