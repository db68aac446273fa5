"""The data layer's figures and the checks of the synthetic spectra, on a small bank."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import synthetic
from benchmarks.__main__ import main
from nirs4all_vit.pretraining import SpectralDataset
from tests.conftest import ROOT, make_spectra


@pytest.fixture
def small_bank(tmp_path: Path) -> Path:
    (tmp_path / "bank").mkdir()
    for i, nm in enumerate((np.linspace(1100, 1700, 60), np.linspace(1000, 2300, 90), np.linspace(900, 1690, 70))):
        table = pd.DataFrame(make_spectra(nm, 40, i), columns=[f"{v:.6g}" for v in nm])
        table.to_csv(tmp_path / f"bank/s{i}.csv", index=False)
    return tmp_path / "bank"


def test_separability_knows_alike_from_different() -> None:
    nm = np.linspace(1100, 2400, 80)

    def sets(name: str, slope: float, seeds: range) -> list[SpectralDataset]:
        tilt = slope * (nm - nm[0]) / np.ptp(nm)
        return [SpectralDataset(f"{name}{s}", (make_spectra(nm, 20, s) + tilt).astype(np.float32), nm) for s in seeds]

    alike = synthetic.separability(sets("a", 0.0, range(8)), sets("b", 0.0, range(8, 16)), n_folds=4)
    apart = synthetic.separability(sets("a", 0.0, range(8)), sets("b", 4.0, range(8, 16)), n_folds=4)
    assert len(alike) == len(apart) == 8
    assert 0.3 < np.median(list(alike.values())) < 0.7
    assert np.median(list(apart.values())) > 0.95


def test_top1() -> None:
    z = np.random.default_rng(0).normal(size=(50, 20))
    assert synthetic.top1(z, z + 5.0) == 1.0  # an offset of the instrument does not count
    assert synthetic.top1(z, np.random.default_rng(1).normal(size=(50, 20))) < 0.2


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_command_writes_costs_and_synthetic_checks(
    small_bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic, "N_PROBED", 24)
    assert main(["data", "--x-bank", str(small_bank), "--out", str(tmp_path / "out"), "--sets", "12"]) == 0
    result = json.loads((tmp_path / "out/synthetic_utility.json").read_text())
    assert set(result) == {"hybrid", "simulated"}
    printed = json.loads(capsys.readouterr().out)["synthetic spectra"]
    for kind, of in result.items():
        assert set(of["auc"]) == {"s0", "s1", "s2"}
        assert of["summary"] == printed[kind]
        assert len(of["retrieval"]) == 8
    assert (tmp_path / "out/synthetic_utility.png").stat().st_size > 10_000
    result = json.loads((tmp_path / "out/data_layer.json").read_text())
    assert result["load"]["datasets"] == 3
    assert result["load"]["spectra"] == 120
    assert result["one_grid"]["batch_per_step"] < 1  # the loop never waits for its data
    assert result["mixed"]["batch_per_step"] < 1


def test_the_committed_figures_keep_what_was_promised() -> None:
    result = json.loads((ROOT / "benchmarks/results/data_layer.json").read_text())
    assert result["load"]["datasets"] == 95
    assert result["load"]["seconds"] < 60
    assert result["load"]["peak_gb"] < 1.5
    assert result["one_grid"]["batch_per_forward"] < 1
