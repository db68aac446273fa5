"""Timings: what is measured, not how fast this machine is."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from benchmarks import speed
from benchmarks.__main__ import main


def test_the_shortest_of_several_times_counts() -> None:
    calls = []

    def warmed_up() -> None:
        calls.append(None)
        time.sleep(0.2 if len(calls) == 1 else 0.01)

    times = speed.shortest({"a": warmed_up, "b": lambda: None}, 3)
    assert len(calls) == 4
    assert 0.01 <= times["a"] < 0.1
    assert times["b"] < times["a"]


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_command_writes_every_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "_LENGTHS", (100, 350))
    monkeypatch.setattr(speed, "_COUNTS", (32, 64))
    monkeypatch.setattr(speed, "_BATCHES", (1, 32))
    monkeypatch.setattr(speed, "_MATRICES", (256,))
    monkeypatch.setattr(speed, "_N", 32)
    monkeypatch.setattr(speed, "multirocket_seconds", lambda *_: None)
    threads = torch.get_num_threads()
    try:
        assert main(["speed", "--out", str(tmp_path), "--rounds", "1", "--spectra", "64"]) == 0
    finally:
        torch.set_num_threads(threads)
    table = pd.read_csv(tmp_path / "speed_encoding.csv")
    assert set(table["wavelengths"]) == {100, 350}
    assert (table["spectra/s"] > 0).all()
    assert table["share of matmul peak"].between(0.0, 1.5).all()
    others = pd.read_csv(tmp_path / "speed_others.csv").set_index("transform")
    assert others.loc["this encoder, contrast", "time over this encoder's"] == 1.0
    assert {"this encoder, mean", "this encoder, contrast"} <= set(others.index)
    about = json.loads((tmp_path / "speed.json").read_text("utf-8"))
    assert about["64 x 2100"]["MB of the output"] == pytest.approx(64 * 6_832 * 4 / 2**20, abs=1e-4)
    assert about["second call over the first, cached, mean"] < 1.0
