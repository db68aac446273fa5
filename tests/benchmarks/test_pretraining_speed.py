"""The speed of pretraining is measured as it is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.__main__ import main
from tests.conftest import make_spectra


@pytest.mark.slow
def test_speed_and_shares(tmp_path: Path) -> None:
    nm = np.linspace(1100, 1700, 60)
    (tmp_path / "bank").mkdir()
    pd.DataFrame(make_spectra(nm, 40), columns=[f"{v:.6g}" for v in nm]).to_csv(tmp_path / "bank/a.csv", index=False)
    bank = ["--x-bank", str(tmp_path / "bank"), "--steps", "2"]
    assert main(["speed", "--pretraining", *bank, "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "pretraining_speed.json").read_text())
    for kind in ("points", "patches", "patches, resampled"):
        part = result[kind]
        assert part["ratio"] == pytest.approx(
            part["spectra per second"] / part["spectra per second, one by one"], rel=0.01
        )
        assert part["ratio"] > 2
        assert 0 < part["share of the matmul peak"] < 1
        assert 0 < part["share of preparation"] < 0.5
        operators = part["shares of a step"]
        assert 0 < operators["matrix products"] < 1
        assert sum(value for key, value in operators.items() if key != "matrix products") <= 1.001
