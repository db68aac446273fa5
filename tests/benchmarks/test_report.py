"""The report of a small run, and the README's tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import readme, report
from benchmarks.__main__ import main
from benchmarks.tasks import Results, Task


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up results of every experiment."""
    folder, generator = tmp_path_factory.mktemp("results"), np.random.default_rng(0)
    results = Results(folder)

    def put(task: Task, **figures: object) -> None:
        about = {"family": f"f{task.dataset}", "kind": "regression", "deviation": 1.0, "mean_rmsep": 1.0}
        results.write(task, {"status": "done", "result": {**about, **figures}})

    factor = {"mean": 2.0, "best-pls": 1.0, "snv-pls": 1.1, "gp": 0.9, "ridge@a~0": 0.8}
    curves = {"noise": {"strength": [0, 1, 2], "rmsep": [0.5, 0.6, 0.9]}}
    for i in range(12):
        for method, by in factor.items():
            cost = {"fit_seconds": 1.0, "encode_seconds": 0.1, "predict_seconds": 0.1, "peak_mb": 1.0}
            for n in (50, 200):
                rmsep = 0.4 * by * float(np.exp(0.05 * generator.normal()))
                put(Task("calibration", f"d{i}", "y", method, n_train=n), rmsep=rmsep, **cost)
            put(Task("calibration", f"d{i}", "y", method, split="spxy"), rmsep=0.4 * by, **cost)
            put(Task("calibration", f"d{i}", "y", method, permuted=True), rmsep=1.0, **cost)
            put(Task("robustness", f"d{i}", "y", method), rmsep=0.5, curves=curves, areas={"noise": 0.25 * by})
            if method not in ("snv-pls", "ridge@a~0"):
                continue
            for kind, k in (("none", 0), ("native", 0), ("pds", 10)):
                options = {"to": f"d{(i + 1) % 12}", "standardisation": kind, "n_transfer": k}
                put(Task("transfer", f"d{i}", "y", method, options=options), rmsep=0.4 * by)
            for other in (None, f"d{(i + 1) % 12}"):
                options = {"analyte": "protein", "trained_on": other}
                put(Task("pooled", f"d{i}", "y", method, options=options), rmsep_0=0.8, rmsep_5=0.6 * by, r=0.5)
    failed = Task("calibration", "d0", "y", "pca-tabpfn")
    results.write(failed, {"status": "unavailable", "reason": "no weights"})
    return folder


def test_every_table_and_figure(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["report", "--out", str(results), "--to", str(tmp_path)]) == 0
    names = {Path(line).name for line in capsys.readouterr().out.split()}
    for name in ("phase0", "splits", "small_samples", "leak", "robustness", "transfer", "pooled", "cost", "not_run"):
        assert {f"{name}.csv", f"{name}.md"} <= names
    for name in ("phase0_ratios", "phase0_ranks", "small_samples", "robustness", "pooled", "transfer_ridge_a_0"):
        assert any(n.startswith(name.removesuffix("_0")) and n.endswith(".png") for n in names), name
        assert any(n.startswith(name.removesuffix("_0")) and n.endswith(".svg") for n in names), name
    table = pd.read_csv(tmp_path / "phase0.csv").set_index("method")
    assert table.loc["ridge@a", "geometric mean"] == pytest.approx(0.8, abs=0.05)  # folds under one name
    assert table.loc["ridge@a", "wins"] == 1.0
    assert table["targets"].eq(12).all()
    assert pd.read_csv(tmp_path / "not_run.csv")["reason"].tolist() == ["no weights"]


def test_the_same_results_give_the_same_bytes(results: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        report.build(results, tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_the_readme_is_not_stale() -> None:
    text = (readme.ROOT / "README.md").read_text("utf-8")
    assert readme.updated(text) == text, "run `python -m benchmarks.readme`"
