"""Prediction intervals, measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.__main__ import main
from benchmarks.encoders import DEFAULT
from benchmarks.intervals import COVERAGES
from benchmarks.tasks import Results


def test_coverage_of_synthetic_sets(tmp_path: Path) -> None:
    arguments = ["run", "intervals", "--datasets", "synthetic-0", "synthetic-1", "--jobs", "1", "--out", str(tmp_path)]
    assert main(arguments) == 0
    table = Results(tmp_path).table("intervals")
    assert set(table["method"]) == {f"ridge@{DEFAULT}", f"committee@{DEFAULT}"}
    assert (table["status"] == "done").all()
    for nominal in COVERAGES:
        # Some fifty test samples in each of a dozen tasks.
        assert abs(table[f"coverage_{nominal}"].mean() - nominal) < 0.1
        assert abs(table[f"far_{nominal}"].mean() - nominal) < 0.15
    widths = table[[f"width_{nominal}" for nominal in COVERAGES]].to_numpy()
    assert (np.diff(widths, axis=1) > 0).all()
    assert main(["report", "--out", str(tmp_path), "--to", str(tmp_path / "report")]) == 0
    report = pd.read_csv(tmp_path / "report/intervals.csv")
    assert report["nominal"].tolist() == 2 * list(COVERAGES)
