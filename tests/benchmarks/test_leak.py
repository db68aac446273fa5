"""Targets shuffled over samples: nothing may have skill, in any method, and what has is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.__main__ import main
from benchmarks.embeddings import Embeddings
from benchmarks.encoders import DEFAULT, Encoders
from benchmarks.experiments import EXPERIMENTS, Context
from benchmarks.leak import leak_table
from benchmarks.methods.base import Unavailable
from benchmarks.methods.registry import suits
from benchmarks.phases import PHASE0, PHASE6, SEEDS, leak
from benchmarks.problems import Problems
from benchmarks.tasks import Results, Task


@pytest.mark.parametrize("method", sorted(set(PHASE0) - {"mean", "aom-ridge", "multirocket-ridge"}))
def test_no_skill_on_shuffled_targets(method: str, tmp_path: Path) -> None:
    encoders = Encoders(tmp_path)
    weights = {name: encoders.path(name) for name in ("untrained", DEFAULT)}
    context = Context(Problems(), Embeddings(tmp_path), weights)
    target = context.problems.of("synthetic-1")[0].target
    ratios = []
    for seed in range(2):
        found = {}
        for name in ("mean", method):
            task = Task("calibration", "synthetic-1", target, name, seed=seed, permuted=True)
            try:
                found[name] = EXPERIMENTS["calibration"](task, context)["rmsep"]
            except Unavailable as reason:
                pytest.skip(str(reason))
        ratios.append(found[method] / found["mean"])
    assert np.mean(ratios) > 0.93


@pytest.mark.xbank
@pytest.mark.parametrize("experiment", ["transfer", "pooled"])
def test_no_skill_between_instruments_and_datasets(experiment: str, x_bank: Path, tmp_path: Path) -> None:
    problems = Problems(x_bank, None, ("corn_m5", "corn_mp5", "barley_auroranir"))
    made = leak(problems)
    tasks = [t for t in made if t.experiment == experiment and (t.dataset, t.target) in _TARGETS[experiment]]
    assert {t.method for t in tasks} >= {"snv-pls", f"ridge@{DEFAULT}"}
    assert all(t.permuted for t in tasks)
    encoders = Encoders(tmp_path)
    weights = {name: encoders.path(name) for name in ("untrained", DEFAULT)}
    context, ratios = Context(problems, Embeddings(tmp_path), weights), {}
    for task in tasks:
        if experiment == "transfer" and task.options["n_transfer"] not in (0, 10):
            continue
        found = EXPERIMENTS[experiment](task, context)
        ratios.setdefault(task.method, []).append(found["rmsep"] / found.get("mean_rmsep", found.get("deviation")))
    # A handful of test samples agrees with anything by a few percent.
    assert min(np.median(values) for values in ratios.values()) > 0.9


#: Those that are easy with their own targets.
_TARGETS = {"transfer": {("corn_m5", "moisture")}, "pooled": {("barley_auroranir", "Protein")}}


def test_every_method_and_experiment_is_in_it() -> None:
    made = list(leak(Problems()))
    assert all(t.permuted and t.seed == SEEDS[0] for t in made)
    methods = {t.method for t in made if t.experiment == "calibration" and t.split == "random"}
    assert methods == {m for m in (*PHASE0, *PHASE6) if suits(m, "regression")}
    slow = {t.dataset for t in made if t.method == "aom-ridge-blender"}
    assert len(slow) == 1  # of six
    assert {t.split for t in made} == {"random", "kennard_stone", "spxy"}
    assert {t.experiment for t in made} == set(EXPERIMENTS) - {"transfer"}  # which needs a bank
    calibrated = [t for t in made if t.experiment != "pooled"]
    assert len({(t.dataset, t.target) for t in calibrated}) == len({t.dataset for t in made})  # one of a family


@pytest.mark.xbank
def test_a_bank_adds_encoders_of_phases_and_all_pairs(x_bank: Path) -> None:
    made = list(leak(Problems(x_bank)))
    assert {t.experiment for t in made} == set(EXPERIMENTS)
    assert {t.split for t in made if t.method == "ridge@ablation-episodic~0"} == {"random"}
    pairs = {(t.dataset, t.options["to"], t.target) for t in made if t.experiment == "transfer"}
    assert len(pairs) == len({pair[:2] for pair in pairs}) > 50


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
    assert verdict[0.9].loc["suspect", "skill"]
    assert not verdict[0.9].loc["best-pls", "skill"]
    assert not verdict[1.01]["skill"].any()
    assert verdict[0.9].loc["suspect", "families"] == 12
    assert leak_table({"calibration": _shuffled(0.9).assign(permuted=False)}).empty


def test_a_leak_is_seen_in_few_families_among_many_rows() -> None:
    """Six families are never significant after Holm over eighty rows; a method that halves the error is told all the same."""
    honest = [_shuffled(1.01, 6).replace({"suspect": f"honest-{i}"}) for i in range(80)]
    table = leak_table({"calibration": pd.concat([*honest, _shuffled(0.6, 6)], ignore_index=True)}).set_index("method")
    assert table.index[table["skill"]].tolist() == ["suspect"]
    assert table.loc["suspect", "p Holm"] > 0.05


def test_targets_of_one_family_are_one_witness() -> None:
    table = _shuffled(0.9).assign(family="one")
    assert not leak_table({"calibration": table})["skill"].any()


def test_the_command_says_so_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    names = [f"synthetic-{i}" for i in range(7)]
    command = ["run", "leak", "--datasets", *names, "--methods", "mean", "pls", "--jobs", "1", "--out", str(tmp_path)]
    assert main(command) == 0
    assert "no skill on shuffled targets" in capsys.readouterr().out
    results = Results(tmp_path)
    for record in list(results):  # as if the test set had been seen in calibration
        if record["task"]["method"] == "pls" and record["task"]["experiment"] == "calibration":
            record["result"]["rmsep"] *= 0.5
            results.write(Task(**record["task"]), {"status": "done", "result": record["result"]})
    assert main(command) == 1
    assert "skill on shuffled targets: 1 of" in capsys.readouterr().out
