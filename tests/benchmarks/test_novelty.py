"""The table of faults."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmarks import novelty
from benchmarks.__main__ import main
from benchmarks.problems import Problems


def test_faults_are_told_from_sound_spectra(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["novelty", "--datasets", "synthetic-0", "synthetic-1", "--out", str(tmp_path)]) == 0
    assert "share flagged" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "novelty.csv").set_index("fault")
    assert set(table.index) == {"none", *novelty.FAULTS}
    assert table.loc["none", "share flagged"] < 0.12
    assert (table.loc[list(novelty.FAULTS), "AUC"] > 0.9).all()
    assert (table["families"] == 2).all()


@pytest.mark.xbank
def test_on_real_spectra(x_bank: Path) -> None:
    rows = novelty.measure(Problems(x_bank, datasets=("corn_m5", "tecator_meat")))
    assert len(rows) == 2 * 3 * (1 + len(novelty.FAULTS))
    table = novelty.summary(rows).set_index("fault")
    assert table["AUC"].min() > 0.9
    assert table.loc["none", "share flagged"] < 0.15
