"""The report of a small run, and the README's tables."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import report
from benchmarks.__main__ import main
from benchmarks.encoders import DEFAULT
from benchmarks.intervals import COVERAGES
from benchmarks.phases import TRANSFER_RECIPE
from benchmarks.tables import read_comparison
from benchmarks.tasks import Results, Task

#: Datasets: few, but so many that ties do not make scipy permute.
N = 14


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up results of every experiment."""
    folder, generator = tmp_path_factory.mktemp("results"), np.random.default_rng(0)
    results = Results(folder)

    def put(task: Task, **figures: object) -> None:
        about = {"family": f"f{task.dataset}", "kind": "regression", "deviation": 1.0, "mean_rmsep": 1.0}
        results.write(task, {"status": "done", "result": {**about, **figures}})

    factor = {
        "mean": 2.0,
        "best-pls": 1.0,
        "snv-pls": 1.1,
        "gp": 0.9,
        "ridge@ablation-mae~0:mean": 0.8,
        f"pls@{DEFAULT}": 0.7,
        f"ridge@{DEFAULT}": 0.8,
        f"tuned@{DEFAULT}": 0.6,
    }
    curves = {"noise": {"strength": [0, 1, 2], "rmsep": [0.5, 0.6, 0.9]}}
    for i in range(N):
        for method, by in factor.items():
            cost = {"fit_seconds": 1.0, "encode_seconds": 0.1, "predict_seconds": 0.1, "peak_memory_mb": 1.0}
            for n in (50, 200):
                rmsep = 0.4 * by * float(np.exp(0.05 * generator.normal()))
                chosen = "tuned" if i % 4 == 0 else "frozen"
                put(Task("calibration", f"d{i}", "y", method, n_train=n), rmsep=rmsep, chosen=chosen, **cost)
            put(Task("calibration", f"d{i}", "y", method, split="spxy"), rmsep=rmsep, **cost)
            put(Task("calibration", f"d{i}", "y", method, permuted=True), rmsep=1.0, **cost)
            put(Task("robustness", f"d{i}", "y", method), rmsep=0.5, curves=curves, areas={"noise": 0.25 * by})
            held = {f"coverage_{c}": c + 0.01 * (i % 2) for c in COVERAGES} | {f"width_{c}": 2.0 for c in COVERAGES}
            put(Task("intervals", f"d{i}", "y", method), rmsep=0.5, **held)
            if method not in ("snv-pls", f"pls@{DEFAULT}"):
                continue
            for kind, k in (("none", 0), ("native", 0), ("pds", 10)):
                options = {"to": f"d{(i + 1) % N}", "standardisation": kind, "n_transfer": k}
                put(Task("transfer", f"d{i}", "y", method, options=options), rmsep=0.4 * by)
            for other in (None, f"d{(i + 1) % N}"):
                options = {"analyte": "protein", "trained_on": other}
                of_pool = {
                    "rmsep": 0.8,
                    "rmsep_0": 0.8,
                    "rmsep_5": 0.6 * by,
                    "rmsep_5_added": 0.5,
                    "rmsep_5_alone": 0.6,
                    "rmsep_20": 0.6 * by,
                    "bias": 0.5,
                    "sep": 0.6,
                    "level": 0.4,
                    "r": 0.5,
                }
                put(Task("pooled", f"d{i}", "y", method, options=options), **of_pool)
            put(
                Task(
                    "pooled",
                    f"d{i}",
                    "y",
                    method,
                    permuted=True,
                    options={"analyte": "protein", "trained_on": None},
                ),
                **of_pool,
            )
    failed = Task("calibration", "d0", "y", "pca-tabpfn")
    results.write(failed, {"status": "unavailable", "reason": "no weights"})
    return folder


@pytest.fixture(scope="module")
def built(results: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """The report, and the names of the files that the command says it wrote."""
    to, printed = tmp_path_factory.mktemp("report"), io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main(["report", "--out", str(results), "--to", str(to)]) == 0
    return to, {Path(line).name for line in printed.getvalue().split()}


def test_every_table_and_figure(built: tuple[Path, set[str]]) -> None:
    folder, names = built
    for name in (
        "phase0",
        "phase1",
        "phase2",
        "phase6",
        "splits",
        "small_samples",
        "leak",
        "robustness",
        "transfer",
        "pooled",
        "intervals",
        "finetuning",
        "cost",
        "not_run",
    ):
        assert f"{name}.csv" in names
    for name in ("phase0_ratios", "phase0_ranks", "small_samples", "robustness", "pooled", f"transfer_pls_{DEFAULT}"):
        assert any(n.startswith(name) and n.endswith(".png") for n in names), name
        assert any(n.startswith(name) and n.endswith(".svg") for n in names), name
    tables = {name: read_comparison(name, folder=folder).set_index("method") for name in ("phase0", "phase1", "phase6")}
    assert set(tables["phase0"].index) == {
        "snv-pls",
        "gp",
        f"ridge@{DEFAULT}",
    }  # what other phases measured does not stand there
    assert set(tables["phase6"].index) == {"gp", f"pls@{DEFAULT}", f"ridge@{DEFAULT}"}
    masked = tables["phase1"].loc["ridge@ablation-mae~K:mean"]  # folds under one name
    assert masked["geometric mean"] == pytest.approx(0.8, abs=0.05)
    assert (masked["wins"], masked["targets"]) == (1.0, N)
    leak = pd.read_csv(folder / "leak.csv").set_index(["experiment", "method"])
    assert leak.loc[("calibration", "gp"), "error / mean predictor's"] == 1.0
    assert leak.loc[("pooled", "snv-pls"), "tasks"] == N
    assert leak.loc[("pooled", "snv-pls"), "families"] == N
    tuned = pd.read_csv(folder / "finetuning.csv").set_index(["n", "method"])
    assert tuned.loc[(200, f"tuned@{DEFAULT}"), "geometric mean"] == pytest.approx(0.75, abs=0.05)
    assert tuned.loc[(200, f"tuned@{DEFAULT}"), "share_tuned"] == pytest.approx(4 / 14)
    held = pd.read_csv(folder / "intervals.csv").set_index(["method", "nominal"])
    assert held.loc[("gp", 0.9), "coverage"] == pytest.approx(0.905)
    assert held.loc[("gp", 0.9), "targets"] == N
    assert pd.read_csv(folder / "not_run.csv")["reason"].tolist() == ["no weights"]


@pytest.mark.exhaustive
def test_the_same_results_give_the_same_bytes(results: Path, built: tuple[Path, set[str]], tmp_path: Path) -> None:
    report.build(results, tmp_path)
    for path in built[0].iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def _put(folder: Path, rows: list[tuple[str, int, float, dict]]) -> None:
    results = Results(folder)
    for method, i, rmsep, options in rows:
        figures = {"family": f"f{i}", "kind": "regression", "rmsep": rmsep, "fit_seconds": 1.0}
        results.write(Task("calibration", f"d{i}", "y", method, options=options), {"status": "done", "result": figures})


def test_the_bundled_encoder_is_not_taken_for_one_that_has_not_seen(tmp_path: Path) -> None:
    classical = [(method, i, by, {}) for i in range(3) for method, by in (("mean", 2.0), ("best-pls", 1.0))]
    bundled = [(f"ridge@{DEFAULT}", i, 0.5, {"weights": "a"}) for i in range(3)]
    _put(tmp_path, [*classical, *bundled])
    report.build(tmp_path, tmp_path / "report")
    assert not (tmp_path / "report/phase3a.csv").exists()
    _put(tmp_path, [(f"ridge@{TRANSFER_RECIPE}~{i}", i, 1.5, {"weights": f"b{i}"}) for i in range(3)])
    report.build(tmp_path, tmp_path / "report")
    strict = read_comparison("phase3a", folder=tmp_path / "report").set_index("method")["geometric mean"]
    assert strict.to_dict() == {f"ridge@{TRANSFER_RECIPE}~K": pytest.approx(1.5)}
    baselines = read_comparison("phase0", folder=tmp_path / "report")
    assert baselines["geometric mean"].tolist() == [pytest.approx(0.5)]


def test_encoders_are_compared_on_the_folds_that_all_of_them_have(tmp_path: Path) -> None:
    rows = [(method, i, by, {}) for i in range(3) for method, by in (("mean", 2.0), ("best-pls", 1.0))]
    rows += [(f"ridge@ablation-mae~{i}:mean", i, 1.5, {"weights": f"b{i}"}) for i in range(3)]
    rows += [("ridge@ablation-augmentation~0:mean", 0, 0.5, {"weights": "c"})]
    _put(tmp_path, rows)
    report.build(tmp_path, tmp_path / "report")
    ablation = read_comparison("phase2", folder=tmp_path / "report").set_index("method")
    assert ablation["targets"].to_dict() == {"ridge@ablation-mae~K:mean": 1, "ridge@ablation-augmentation~K:mean": 1}
    # In a phase of its own the first encoder has all of its folds, or those of the phase.
    alone = read_comparison("phase1", folder=tmp_path / "report").set_index("method")
    assert alone["targets"].to_dict() == {"ridge@ablation-mae~K:mean": 1}


def test_two_weights_of_one_name_are_told_apart(tmp_path: Path) -> None:
    rows = [(method, i, by, {}) for i in range(3) for method, by in (("mean", 2.0), ("best-pls", 1.0))]
    rows += [("ridge@untrained", i, by, {"weights": w}) for i in range(3) for w, by in (("aaaaaaaa", 0.5), ("bb", 1.5))]
    _put(tmp_path, rows)
    table = report.by_weights(Results(tmp_path).table("calibration"))
    assert {"ridge@untrained#aaaaaa", "ridge@untrained#bb"} < set(table["method"])


def test_results_that_say_little_make_a_small_report(tmp_path: Path) -> None:
    """Nothing predictable, methods apart, one experiment only."""
    _put(tmp_path, [("mean", 0, 1.0, {}), ("best-pls", 0, 1.0, {}), ("gp", 1, 1.0, {}), ("mean", 1, 1.0, {})])
    curves = {"noise": {"strength": [0, 1], "rmsep": [1.0, 1.0]}}
    figures = {
        "family": "f",
        "kind": "regression",
        "rmsep": 1.0,
        "deviation": 1.0,
        "curves": curves,
        "areas": {"noise": 0},
    }
    Results(tmp_path).write(Task("robustness", "d0", "y", "gp"), {"status": "done", "result": figures})
    written = {path.name for path in report.build(tmp_path, tmp_path / "report")}
    assert not pd.read_csv(tmp_path / "report/phase0_targets.csv")["predictable"].any()
    assert "phase0.csv" not in written
    shuffled = Task("calibration", "d0", "y", "gp", permuted=True)
    Results(tmp_path).write(shuffled, {"status": "done", "result": {"family": "f", "kind": "regression", "rmsep": 1.0}})
    report.build(tmp_path, tmp_path / "report")


def test_a_phase_without_its_reference_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    results = Results(tmp_path)
    about = {"family": "f", "kind": "regression", "rmsep": 0.5, "mean_rmsep": 1.0}
    for method in ("pls", f"ridge@{DEFAULT}"):
        results.write(Task("calibration", "d0", "y", method), {"status": "done", "result": about})
    report.build(tmp_path, tmp_path / "report")
    message = "left out: phase0 (regression, 200 samples) needs results of mean and best-pls"
    assert message in capsys.readouterr().err


def test_curves_over_sizes_follow_the_same_targets(tmp_path: Path) -> None:
    """Two targets; one is predicted with many samples only: its ratio counts at both sizes."""
    results = Results(tmp_path)
    for i, (few, many) in enumerate(((0.5, 0.5), (1.0, 0.25))):
        for n, rmsep in ((25, few), (200, many)):
            for method, by in (("mean", 1.0), ("best-pls", rmsep), ("gp", rmsep * (0.8 if i else 1.0))):
                task = Task("calibration", f"d{i}", "y", method, n_train=n)
                results.write(
                    task, {"status": "done", "result": {"family": f"f{i}", "kind": "regression", "rmsep": by}}
                )
    report.build(tmp_path, tmp_path / "report")
    table = pd.read_csv(tmp_path / "report/small_samples.csv")
    assert table["targets"].tolist() == [2, 2]
    assert table["geometric mean"].tolist() == [pytest.approx(0.8**0.5, abs=1e-3)] * 2
