"""What only a GPU can show: ``make test-cuda``."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch

from nirs4all_vit.pretraining import Pretraining
from tests.pretraining.test_loop import sha
from tests.pretraining.test_resampled import run

pytestmark = [pytest.mark.cuda, pytest.mark.slow]

CUDA = ["--run.device=cuda", "--run.precision=bf16"]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("tokens", ["patches", "points"])
def test_losses_fall(precision: str, tokens: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = [] if tokens == "patches" else ["--objectives.episodic_calibration.readouts={compact: 1, mean: 1}"]
    settings = ["--run.device=cuda", f"--run.precision={precision}", f"--encoder.tokens={tokens}", *extra]
    run(tmp_path, *settings, steps=80, monkeypatch=monkeypatch).run(progress=False)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert len(losses) == 80
    assert sum(losses[-10:]) < sum(losses[:10]) - 1.0


def test_it_learns_what_a_processor_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other numbers are drawn; the loss of the end is nearly the same."""
    ends = {}
    for device in ("cpu", "cuda"):
        run(tmp_path / device, f"--run.device={device}", steps=80, monkeypatch=monkeypatch).run(progress=False)
        lines = (tmp_path / device / "metrics.jsonl").read_text().splitlines()
        losses = [row["loss"] for row in map(json.loads, lines) if "loss" in row]
        ends[device] = sum(losses[-20:]) / 20
    assert ends["cuda"] == pytest.approx(ends["cpu"], abs=0.3)


def test_a_step_waits_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = run(tmp_path, *CUDA, steps=20, monkeypatch=monkeypatch)
    for _ in range(3):
        made._step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            made._step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_the_same_bytes_where_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        made = run(tmp_path / name, *CUDA, "--run.deterministic=true", monkeypatch=monkeypatch)
        made.run(progress=False)
    assert sha(tmp_path / "a") == sha(tmp_path / "b")
    stopped = run(tmp_path / "c", *CUDA, "--run.deterministic=true", monkeypatch=monkeypatch)
    step = stopped._step

    def interrupted() -> dict[str, float]:
        if stopped.step_done == 5:
            raise KeyboardInterrupt
        return step()

    stopped._step = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        stopped.run(progress=False)
    settings = [*CUDA, "--run.deterministic=true", "--run.resume=auto"]
    run(tmp_path / "c", *settings, monkeypatch=monkeypatch).run(progress=False)
    assert sha(tmp_path / "c") == sha(tmp_path / "a")


def test_more_datasets_take_hardly_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = []
    for n in (4, 16):
        made = run(tmp_path, *CUDA, f"--data.n_datasets={n}", steps=60, monkeypatch=monkeypatch)
        _timed(made, 10)
        seconds.append(_timed(made, 30))
    assert seconds[1] < 2.0 * seconds[0]


def _timed(made: Pretraining, steps: int) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(steps):
        made._step()
    torch.cuda.synchronize()
    return time.perf_counter() - start
