"""Two processes see what one process with as many micro-batches sees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from nirs4all_vit import load_checkpoint
from nirs4all_vit.pretraining import Pretraining, load_recipe
from tests.conftest import ROOT
from tests.pretraining.test_loop import ALL, TINY

RUN = [
    *TINY,
    *ALL,
    "--optim.steps=6",
    "--optim.accumulate=2",
    "--run.checkpoint_every=3",
    "--run.score_every=3",
    "--run.n_validation=1",
]


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path) -> None:
    one = Pretraining(load_recipe("smoke", [*RUN, f"--run.out={tmp_path / 'one'}"]))
    one.run(progress=False)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "nirs4all_vit.pretraining", "--config", "smoke", *RUN, f"--run.out={tmp_path / 'two'}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("wrote") == 1
    rows = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    losses = [[row["loss"] for row in part if "loss" in row] for part in rows]
    assert len(losses[0]) == 6
    np.testing.assert_allclose(losses[0], losses[1], atol=1e-5)
    # The parts are those of all processes, too.
    parts = [[v for row in part for k, v in sorted(row.items()) if k.startswith("loss/")] for part in rows]
    np.testing.assert_allclose(parts[0], parts[1], atol=1e-5)
    first, second = (load_checkpoint(tmp_path / name / "last.safetensors").encoder for name in ("one", "two"))
    for (name, a), (_, b) in zip(first.named_parameters(), second.named_parameters(), strict=True):
        # The keys' bias has no gradient but rounding, which Adam turns into steps of full size.
        if not name.endswith("qkv.bias"):
            torch.testing.assert_close(a, b, atol=2e-4, rtol=1e-3, msg=name)
    a, b = first.config.readout_scale, second.config.readout_scale
    assert a == pytest.approx(b, rel=0.01)


def test_micro_batches_must_divide_among_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nirs4all_vit.pretraining import loop

    two = loop.Processes(0, 2, torch.device("cpu"))
    monkeypatch.setattr(loop.Processes, "join", lambda _: two)
    settings = load_recipe("smoke", ["--optim.accumulate=3", f"--run.out={tmp_path}"])
    with pytest.raises(ValueError, match="accumulate=3 must be a multiple of the 2 processes"):
        Pretraining(settings)


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    settings = load_recipe("smoke", ["--run.device=cuda", f"--run.out={tmp_path}"])
    with pytest.raises(ValueError, match="torch sees no GPU; use cpu or auto"):
        Pretraining(settings)
