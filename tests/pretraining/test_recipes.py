"""Recipes and configuration: every one runs, and every mistake is named."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml

from nirs4all_vit import SpectralEmbedder
from nirs4all_vit.cli import main
from nirs4all_vit.encoder import SpectralPerceiver
from nirs4all_vit.pretraining import Pretraining, load_recipe
from nirs4all_vit.pretraining.data import BaselineCache, SpectralDataset
from nirs4all_vit.pretraining.recipes import bundled_recipes, parse_arguments
from tests.conftest import make_spectra

SMALL = [
    "--encoder.n_latents=8",
    "--encoder.patch_hidden=8",
    "--encoder.d_model=16",
    "--encoder.n_heads=2",
    "--data.batch_size=14",
    "--data.n_synthetic=2",
]
SMALL += ["--optim.steps=2", "--data.n_workers=0", "--run.n_validation=1", "--data.x_bank=given"]


@pytest.mark.filterwarnings("ignore:.*different fork safety")
@pytest.mark.parametrize("name", bundled_recipes())
def test_every_recipe_runs(name: str, tmp_path: Path) -> None:
    grids = np.linspace(1100, 2400, 60), np.linspace(900, 1700, 40)
    bank = [
        SpectralDataset(
            ("corn_m5", "corn_mp5")[i],
            make_spectra(nm, 32, i).astype(np.float32),
            nm,
            {"mode": "absorbance"},
        )
        for i, nm in enumerate(grids)
    ]
    BaselineCache(tmp_path / "asls").precompute(bank, progress=False)
    pairs = ["--objectives.contrastive.pairs=[[corn_m5, corn_mp5]]"]  # of those that some recipes name
    config = load_recipe(name, [*SMALL, *pairs, f"--data.asls={tmp_path / 'asls'}", f"--run.out={tmp_path / 'out'}"])
    assert config.run.name == name
    run = Pretraining(config, bank)
    run.run(progress=False)
    rows = [json.loads(line) for line in (tmp_path / "out/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == [1, 2]
    # What the recipe asks for is computed: each objective in one of the four micro-batches that were seen at least.
    seen = {key.removeprefix("validation/") for row in rows for key in row if key.startswith("validation/")}
    assert seen == set(config.objectives.active())
    readout = "compact" if config.encoder.tokens == "points" else "contrast"
    embedder = SpectralEmbedder.from_run(tmp_path / "out", readout=readout)
    assert np.isfinite(embedder.fit_transform(bank[0].values, wavelengths=bank[0].wavelengths)).all()


def test_the_reference_is_the_specification() -> None:
    config = load_recipe("reference", ["--data.x_bank=given"])
    encoder, optim = config.encoder, config.optim
    assert (encoder.n_latents, encoder.d_model, encoder.n_cross_layers, encoder.n_self_layers, encoder.n_heads) == (
        64,
        128,
        2,
        3,
        4,
    )
    assert config.objectives.masked_modeling.ratio == (0.7, 0.7)
    assert (optim.learning_rate, optim.weight_decay, optim.warmup) == (1e-4, 0.05, 10 / 200)
    assert optim.steps == 200 * 9000 // config.data.batch_size  # epochs of 9,000 spectra
    assert (config.data.steps_per_dataset, config.data.p_synth) == (200, 0.3)
    assert config.objectives.baseline_consistency.weight == 0.1


def test_ablations_build_on_each_other() -> None:
    ladder = ["mae", "augmentation", "baseline", "contrastive", "adversary", "all"]
    configs = [load_recipe(f"ablation-{name}") for name in ladder]
    active = [set(config.objectives.active()) for config in configs]
    assert active[0] == active[1] == {"masked_modeling"}
    assert not configs[0].data.augmentation
    assert configs[1].data.augmentation
    assert all(a < b for a, b in pairwise(active[1:]))
    assert len(active[-1]) == 5
    assert {config.optim.steps * config.data.batch_size for config in configs} == {204_800}


@pytest.mark.parametrize("name", ["metadata", "metadata-dropout"])
def test_ablations_with_metadata_train_a_readout_that_depends_on_them(name: str) -> None:
    config, without = load_recipe(f"ablation-{name}"), load_recipe("ablation-episodic")
    encoder = SpectralPerceiver(config.encoder)
    assert any(map(encoder.reads_metadata, config.objectives.episodic_calibration.readouts))
    # Metadata are all that differs.
    assert (config.objectives, config.optim) == (without.objectives, without.optim)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optim: {stepz: 3}", "stepz"),
        ("magic: 1", "magic"),
        ("optim: {steps: many}", "steps"),
        ("optim: {learning_rate: -1}", r"optim.learning_rate=-1.0 must be above 0"),
        ("optim: {ema: 1.0}", r"optim.ema=1.0 must be at least 0 and below 1"),
        ("data: {p_synth: 2}", r"data.p_synth=2.0 must be at least 0 and at most 1"),
        ("data: {layout: heap}", "heap"),
        ("data: {layout: mixed}", "cannot be combined with objectives.episodic_calibration"),
        ("data: {augmentation: {magic: {}}}", "data.augmentation: no augmentation 'magic'"),
        ("objectives: {episodic_calibration: {weight: 0}}", "all weights are 0"),
        ("objectives: {episodic_calibration: {tasks: {magic: {}}}}", r"episodic_calibration.tasks: no task 'magic'"),
        (
            "objectives: {episodic_calibration: {readouts: {median: 1}}}",
            r"must give positive weights to one or more of contrast",
        ),
        (
            "objectives: {masked_modeling: {ratio: [0.8, 0.6]}}",
            r"masked_modeling.ratio=\(0.8, 0.6\) must be two shares",
        ),
        ("objectives: {contrastive: {temperature: 0}}", r"contrastive.temperature=0.0 must be above 0"),
        ("encoder: {n_heads: 7}", "d_model=32 must be a multiple"),
        ("- a\n- b", "a recipe must be a mapping"),
        ("a: [", "is not YAML"),
        ("extends: nowhere", "no recipe 'nowhere'"),
    ],
)
def test_mistakes_are_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text if "extends" in text or text[0] in "-" or text == "a: [" else f"extends: smoke\n{text}\n")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_recipe(path)


def test_a_recipe_of_ones_own_with_overrides(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: smoke\noptim: {steps: 7}\nrun: {name: mine}\n")
    config = load_recipe(path, ["--run.seed", "5"])
    assert (config.optim.steps, config.optim.learning_rate, config.run.name, config.run.seed) == (7, 3e-3, "mine", 5)
    with pytest.raises(
        FileNotFoundError, match=r"no recipe 'nope'; .* bundled recipe: ablation-adversary, .*, smoke\."
    ):
        load_recipe("nope")
    with pytest.raises(ValueError, match=r"unrecognized arguments: --optim.step"):
        load_recipe(path, ["--optim.step", "5"])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        main(["pretrain", "--config", "smoke", "--optim.steps", "9", "--print-config"])
    assert end.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["optim"]["steps"] == 9
    out = tmp_path / "out"
    arguments = ["pretrain", "--config", "smoke", *SMALL[:-1], "--run.out", str(out)]
    assert main(arguments) == 0
    assert f"wrote {out}/last.safetensors" in capsys.readouterr().out
    assert main(arguments) == 1
    assert "contains a run (state.pt); resume it with resume=auto" in capsys.readouterr().err
    assert main([*arguments, "--run.resume", "auto"]) == 0
    assert main(["pretrain", "--config", "nope"]) == 1
    assert "no recipe 'nope'" in capsys.readouterr().err
    assert main([*arguments, "--data.x_bank", str(tmp_path / "nowhere")]) == 1
    assert "no folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["pretrain", "--config", "smoke", "--optim.learning_rate", "-1"])
    assert "optim.learning_rate=-1.0 must be above 0" in capsys.readouterr().err


_SOME = ("alcohol", "beer", "corn", "gasoil", "otolith_pcod", "tecator")


@pytest.mark.xbank
@pytest.mark.slow
def test_the_command_on_real_spectra(x_bank: Path, tmp_path: Path) -> None:
    # Some of them, as opening all is tested elsewhere and takes longest.
    (tmp_path / "bank").mkdir()
    for source in (found for name in _SOME for found in x_bank.glob(f"{name}*")):
        (tmp_path / "bank" / source.name).symlink_to(source)
    settings = ["--data.without_families", "[corn, otolith]", "--run.y_bank", str(x_bank.parent / "y_bank")]
    arguments = [
        "--data.x_bank",
        str(tmp_path / "bank"),
        "--run.out",
        str(tmp_path / "run"),
        "--optim.steps",
        "2",
        "--optim.accumulate",
        "2",
        "--data.batch_size",
        "32",
        "--run.n_validation",
        "4",
        "--run.y_datasets",
        "[tecator_meat]",
    ]
    assert main(["pretrain", "--config", "nirs-base-v2", *arguments, *settings]) == 0
    record = json.loads((tmp_path / "run/config.json").read_text())
    assert "corn" not in record["families"]
    assert "tecator_meat" in record["families"]
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert 0 < [row for row in rows if "ridge" in row][-1]["ridge"]["tecator_meat/fat"] < 0.5


def test_a_recipe_that_extends_replaces_what_is_named_freely(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "extends: cpu\noptim:\nobjectives: {episodic_calibration: {tasks: {linear_spikes: {}}}}\ndata: {x_bank: bank}\n"
    )
    config = load_recipe(tmp_path / "mine.yaml")
    assert config.objectives.episodic_calibration.tasks == {"linear_spikes": {}}
    assert config.objectives.episodic_calibration.readouts["mean"] == 0.2  # untouched
    assert config.optim.steps == 1500
    # What is named without settings asks for nothing.
    (tmp_path / "bare.yaml").write_text("extends: cpu\noptim:\nobjectives:\n  masked_modeling:\n")
    assert load_recipe(tmp_path / "bare.yaml").objectives == load_recipe("cpu").objectives
    (tmp_path / "circle.yaml").write_text(f"extends: {tmp_path / 'circle.yaml'}\n")
    with pytest.raises(ValueError, match=r"circle.yaml extends itself"):
        load_recipe(tmp_path / "circle.yaml")


def test_the_equals_sign_does_as_well_as_the_space() -> None:
    assert parse_arguments(["--config=smoke"]).run.name == "smoke"


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
        + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)),
        "a: &a [*a]\n",
        "[" * 5000,
        "\x00",
    ],
    ids=["aliases", "circle", "depth", "control"],
)
def test_what_is_no_recipe_is_refused_quickly(text: str, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"r\.yaml (is not YAML|has more than 10,000 values or refers to itself)"):
        load_recipe(tmp_path / "r.yaml")
