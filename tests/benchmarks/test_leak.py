"""Targets shuffled over samples: nothing may have skill, in any method."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.embeddings import Embeddings
from benchmarks.encoders import DEFAULT, Encoders
from benchmarks.experiments import EXPERIMENTS, Context
from benchmarks.methods.base import Unavailable
from benchmarks.phases import PHASE0
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
