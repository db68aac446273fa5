"""Targets shuffled over samples: nothing may have skill, in any method, and what has is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.__main__ import main
from benchmarks.context import Context
from benchmarks.embeddings import Embeddings
from benchmarks.encoders import DEFAULT, Encoders
from benchmarks.experiments import EXPERIMENTS
from benchmarks.leak import leak_table
from benchmarks.methods.base import Unavailable
from benchmarks.methods.registry import suits
from benchmarks.phases import PHASE0, PHASE6, SEEDS, VIEWS, leak
from benchmarks.problems import Problems
from benchmarks.tasks import Results, Task


@pytest.mark.parametrize(
    "method", sorted({*PHASE0, "pls-scores-krr", "lvse-gcu-krr"} - {"mean", "aom-ridge", "multirocket-ridge"})
)
def test_no_skill_on_shuffled_targets(method: str, tmp_path: Path) -> None:
    encoders = Encoders(tmp_path)
    weights = {name: encoders.path(name) for name in ("untrained", DEFAULT)}
    context = Context(Problems(), Embeddings(tmp_path), weights)
    target = context.problems.of("synthetic-1")[0].target
    ratios = []
    for seed in range(2):
        figures = {}
        for name in ("mean", method):
            task = Task("calibration", "synthetic-1", target, name, seed=seed, permuted=True)
            try:
                figures[name] = EXPERIMENTS["calibration"](task, context)["rmsep"]
            except Unavailable as reason:
                pytest.skip(str(reason))
        ratios.append(figures[method] / figures["mean"])
    assert np.mean(ratios) > 0.93


@pytest.mark.xbank
@pytest.mark.parametrize("experiment", ["transfer", "pooled"])
def test_no_skill_between_instruments_and_datasets(experiment: str, x_bank: Path, tmp_path: Path) -> None:
    problems = Problems(x_bank, None, ("corn_m5", "corn_mp5", "barley_auroranir", "n4a_bge_micronir"))
    every = leak(problems)
    tasks = [t for t in every if t.experiment == experiment and (t.dataset, t.target) in _TARGETS[experiment]]
    assert {t.method for t in tasks} >= {"snv-pls", f"ridge@{DEFAULT}"}
    assert all(t.permuted for t in tasks)
    encoders = Encoders(tmp_path)
    weights = {name: encoders.path(name) for name in ("untrained", DEFAULT)}
    context, ratios = Context(problems, Embeddings(tmp_path), weights), {}
    for task in tasks:
        if experiment == "transfer" and task.options["n_transfer"] not in (0, 10):
            continue
        figures = EXPERIMENTS[experiment](task, context)
        ratios.setdefault(task.method, []).append(
            figures["rmsep"] / figures.get("mean_rmsep", figures.get("deviation"))
        )
    # A handful of test samples agrees with anything by a few percent.
    assert min(np.median(values) for values in ratios.values()) > 0.9


#: Those that are easy with their own targets.
_TARGETS = {"transfer": {("corn_m5", "moisture")}, "pooled": {("barley_auroranir", "Protein")}}


def test_every_method_and_experiment_is_in_it() -> None:
    every = list(leak(Problems()))
    assert all(t.permuted and t.seed == SEEDS[0] for t in every)
    methods = {t.method for t in every if t.experiment == "calibration" and t.split == "random"}
    readouts = {f"ridge@{DEFAULT}:{name}" for name in ("compact", "mean", "cls")}
    assert methods == {m for m in (*PHASE0, *PHASE6, *VIEWS) if suits(m, "regression")} | readouts | {
        f"tuned@{DEFAULT}"
    }
    for slow in ("aom-ridge-blender", f"tuned@{DEFAULT}"):
        assert len({t.dataset for t in every if t.method == slow}) == 1  # of six
    assert {t.split for t in every} == {"random", "kennard_stone", "spxy"}
    assert {t.experiment for t in every} == set(EXPERIMENTS) - {"transfer"}  # which needs a bank
    calibrated = [t for t in every if t.experiment != "pooled"]
    assert len({(t.dataset, t.target) for t in calibrated}) == len({t.dataset for t in every})  # one of a family


@pytest.mark.xbank
def test_a_bank_adds_encoders_of_phases_and_all_pairs(x_bank: Path) -> None:
    every = list(leak(Problems(x_bank)))
    assert {t.experiment for t in every} == set(EXPERIMENTS)
    assert {t.split for t in every if t.method == "ridge@ablation-episodic~0"} == {"random"}
    pairs = {(t.dataset, t.options["to"], t.target) for t in every if t.experiment == "transfer"}
    assert len(pairs) == len({pair[:2] for pair in pairs}) > 50
    pooled = {(t.dataset, t.target, t.options["trained_on"]) for t in every if t.experiment == "pooled"}
    assert len([1 for *_, other in pooled if other is None]) == len([1 for *_, other in pooled if other is not None])


def _shuffled(ratio: float, n: int = 12) -> pd.DataFrame:
    """Return results of a method that errs by `ratio` of the mean predictor's error, in `n` families."""
    about = {"kind": "regression", "split": "random", "n_train": 200, "seed": 0, "permuted": True, "status": "done"}
    spread = np.random.default_rng(0).uniform(0.97, 1.03, n)
    rows = [
        {"dataset": f"d{i}", "target": "y", "family": f"f{i}", "method": method, "rmsep": 2.0 * by * spread[i], **about}
        for i in range(n)
        for method, by in (("mean", 1.0 / spread[i]), ("best-pls", 1.02 / spread[i]), ("suspect", ratio))
    ]
    return pd.DataFrame(rows)


def test_a_leak_is_seen() -> None:
    verdict = {ratio: leak_table({"calibration": _shuffled(ratio)}).set_index("method") for ratio in (0.9, 1.01)}
    assert verdict[0.9].loc["suspect", "verdict"] == "skill"
    assert verdict[0.9].loc["best-pls", "verdict"] == "none"
    assert set(verdict[1.01]["verdict"]) == {"none"}
    assert verdict[0.9].loc["suspect", "families"] == 12
    assert leak_table({"calibration": _shuffled(0.9).assign(permuted=False)}).empty


def test_a_leak_is_seen_in_few_families_among_many_rows() -> None:
    """Six families are never significant after Holm over eighty rows; a method that halves the error is reported."""
    honest = [_shuffled(1.01, 6).replace({"suspect": f"honest-{i}"}) for i in range(80)]
    table = leak_table({"calibration": pd.concat([*honest, _shuffled(0.6, 6)], ignore_index=True)}).set_index("method")
    assert table.index[table["verdict"] == "skill"].tolist() == ["suspect"]
    assert table.loc["suspect", "p Holm"] > 0.05


def test_a_leak_in_half_of_the_families_is_seen() -> None:
    """Where the method predicts nothing else than the mean, its ratios are one to the last digit."""
    half = _shuffled(0.55)
    leaky = half["family"].isin([f"f{i}" for i in range(6)]) | (half["method"] != "suspect")
    half["rmsep"] = half["rmsep"].where(leaky, 2.0)
    honest = [_shuffled(1.01).replace({"suspect": f"honest-{i}"}) for i in range(80)]
    table = leak_table({"calibration": pd.concat([*honest, half], ignore_index=True)}).set_index("method")
    assert table.index[table["verdict"] == "skill"].tolist() == ["suspect"]


def test_targets_of_one_family_are_one_witness() -> None:
    table = leak_table({"calibration": _shuffled(0.5).assign(family="one")})
    assert set(table["verdict"]) == {"undecided"}
    assert set(leak_table({"calibration": _shuffled(0.5, 4)})["verdict"]) == {"undecided"}


def test_perturbed_spectra_count_in_robustness() -> None:
    """The error on clean spectra is calibration's; a leak that only perturbed spectra show is one, too."""
    table = _shuffled(1.01).query("method == 'suspect'").assign(mean_rmsep=2.0)
    curves = {"noise": {"strength": [0, 1, 2], "rmsep": [2.0, 1.0, 1.2]}}
    leaky, honest = (
        leak_table({"robustness": table.assign(curves=[kind] * len(table))})
        for kind in (curves, {"noise": {"strength": [0, 1, 2], "rmsep": [2.0, 2.1, 2.2]}})
    )
    assert leaky["verdict"].tolist() == ["skill"]
    assert leaky["error / mean predictor's"].tolist() == pytest.approx([0.55])
    assert honest["verdict"].tolist() == ["none"]


def test_the_command_says_so_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    names = [f"synthetic-{i}" for i in range(7)]
    command = ["run", "leak", "--datasets", *names, "--methods", "pls", "--jobs", "1", "--out", str(tmp_path)]
    assert main(command) == 0
    assert "rows: 0 skill" in capsys.readouterr().out
    results = Results(tmp_path)
    for record in list(results):  # as if the test set had been seen in calibration
        if record["task"]["method"] == "pls" and record["task"]["experiment"] == "calibration":
            record["result"]["rmsep"] *= 0.5
            results.write(Task(**record["task"]), {"status": "done", "result": record["result"]})
    assert main(command) == 1
    assert "rows: 1 skill" in capsys.readouterr().out


def test_what_was_not_tested_is_no_pass(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch) -> None:
    monkeypatch.delenv("TABPFN_REGRESSOR", raising=False)
    command = ["run", "leak", "--datasets", "synthetic-0", "--jobs", "1", "--out", str(tmp_path)]
    assert main([*command, "--methods", "pca-tabpfn"]) == 1
    assert "not tested: pca-tabpfn" in capsys.readouterr().out
