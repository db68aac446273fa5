"""Targets shuffled over samples: nothing may have skill, in any method."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.embeddings import Embeddings
from benchmarks.encoders import DEFAULT, Encoders
from benchmarks.experiments import EXPERIMENTS, Context
from benchmarks.methods.base import Unavailable
from benchmarks.phases import PHASE0, leak
from benchmarks.problems import Problems
from benchmarks.tasks import Task


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
