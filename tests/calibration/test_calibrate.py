"""`calibrate`: figures of merit that match the predictions, and early errors for wrong input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nirs4all_vit
from nirs4all_vit import Calibration, SpectralAxisError, SpectralInputError, calibrate
from nirs4all_vit.calibration.metrics import regression_metrics
from tests.calibration.data import NM, make, write

FAST: dict[str, Any] = {"head": "ridge", "cv": "3x2"}


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Calibration, Path]:
    folder = tmp_path_factory.mktemp("wheat")
    spectra, targets = write(folder)
    table = pd.read_csv(targets)
    table.loc[:4, "moisture"] = np.nan
    table.to_csv(targets, index=False)
    return calibrate(spectra, targets, folder / "model", test=0.25, **FAST), folder / "model"


def test_the_folder(calibrated: tuple[Calibration, Path]) -> None:
    names = sorted(path.name for path in calibrated[1].iterdir())
    assert names == ["metrics.json", "model.json", "model.safetensors", "predictions.csv", "report.html"]


def test_figures_of_merit_follow_from_the_predictions(calibrated: tuple[Calibration, Path]) -> None:
    metrics = json.loads((calibrated[1] / "metrics.json").read_text("utf-8"))
    table = pd.read_csv(calibrated[1] / "predictions.csv")
    assert list(metrics["targets"]) == ["protein", "moisture", "grade"]
    test = table[table["set"] == "test"]
    assert len(test) == 12
    for name in ("protein", "moisture"):
        own = regression_metrics(test[f"{name} measured"], test[f"{name} predicted"])
        assert metrics["targets"][name]["test"]["rmse"] == pytest.approx(own.rmse, rel=1e-5)
        assert metrics["targets"][name]["test"]["r2"] == pytest.approx(own.r2, rel=1e-5)
    assert (
        metrics["targets"]["moisture"]["cross_validation"]["n"]
        == 36 - 5 + table.iloc[36:]["moisture measured"].isna().sum()
    )
    graded = test["grade measured"] == test["grade predicted"]
    assert metrics["targets"]["grade"]["test"]["accuracy"] == pytest.approx(graded.mean())
    assert metrics["targets"]["protein"]["cross_validation"]["r2"] > 0.95
    assert metrics["settings"]["cross-validation"] == "3 folds x 2 repetitions"


def test_the_mean_over_repetitions(calibrated: tuple[Calibration, Path]) -> None:
    held_out = calibrated[0].model.cross_validation_[0]
    each = [np.sqrt(np.mean((one - held_out.measured) ** 2)) for one in held_out.centre]
    assert calibrated[0].metrics()["targets"]["protein"]["cross_validation"]["rmse"] == pytest.approx(np.mean(each))
    assert not np.array_equal(held_out.centre[0], held_out.centre[1])  # different folds


def test_coverage_of_intervals(calibrated: tuple[Calibration, Path]) -> None:
    for one in calibrated[0].result.targets[:2]:
        part = one.cross_validated
        rows = np.isfinite(part.measured)
        assert part.lower is not None
        assert part.upper is not None
        inside = (part.lower[rows] <= part.measured[rows]) & (part.measured[rows] <= part.upper[rows])
        assert part.coverage == inside.mean()
        assert 0.75 <= part.coverage <= 1.0


def test_a_sample_does_not_affect_its_own_prediction() -> None:
    """A changed reference value changes the predictions of other samples, not its own."""
    X, table = make(30)
    y = table["protein"].to_numpy()
    changed = y.copy()
    changed[7] += 50.0
    a, b = (
        calibrate(X, values, wavelengths=NM, head="ridge", cv="3x1").model.cross_validation_[0].centre[0]
        for values in (y, changed)
    )
    assert a[7] == b[7]
    assert np.count_nonzero(a != b) >= 15


def test_replicates_are_never_split() -> None:
    X, _ = make(20)
    rng = np.random.default_rng(3)
    values = rng.normal(size=20)  # unrelated to the spectra: only a replicate predicts them
    twice = np.concatenate([X, X + 1e-6])
    y = np.tile(values, 2)
    frame = pd.DataFrame(twice, columns=[f"{nm:g}" for nm in NM])
    ids = pd.Series([f"S{k}" for k in range(20)] * 2)
    targets = pd.DataFrame({"sample": ids[:20], "y": values})
    with_ids = calibrate(frame.assign(sample=ids), targets, cv="5x1", head="ridge")
    without = calibrate(frame, pd.DataFrame({"y": y}), cv="5x1", head="ridge")
    r2 = [one.metrics()["targets"]["y"]["cross_validation"]["r2"] for one in (with_ids, without)]
    assert r2[0] < 0.3
    assert r2[1] > 0.4  # without ids, replicates are split


def test_a_committee_beside_pls_and_ridge() -> None:
    X, table = make(40)
    calibrated = calibrate(X, table["protein"], wavelengths=NM, cv="3x1")
    names = [one.name for one in calibrated.result.targets[0].comparisons]
    assert names == ["Embedding + committee", "Embedding + ridge", "PLS, best of five preprocessings"]
    pls = calibrated.result.targets[0].comparisons[2]
    assert (pls.ratio, pls.lower, pls.upper) == (1.0, 1.0, 1.0)
    head = calibrated.result.targets[0].comparisons[0]
    assert head.lower <= head.ratio <= head.upper
    assert calibrated.result.targets[0].learning_curve[-1].n_samples in (26, 27)
    again = calibrate(X, table["protein"], wavelengths=NM, cv="3x1")
    np.testing.assert_array_equal(
        again.predictions()["protein predicted"], calibrated.predictions()["protein predicted"]
    )


def test_importance_is_highest_at_the_absorber() -> None:
    X, table = make(60)
    calibrated = calibrate(X, table["moisture"], wavelengths=NM, head="ridge", cv="3x1")
    importance = calibrated.result.targets[0].importance
    assert importance is not None
    assert abs(NM[importance.argmax()] - 1940) <= 100


def test_outliers_are_named() -> None:
    X, table = make(60)
    rng = np.random.default_rng(0)
    X[17] = rng.random(len(NM))
    calibrated = calibrate(X, table["protein"], wavelengths=NM, head="ridge", cv="3x1")
    assert 17 in calibrated.result.outliers
    assert len(calibrated.result.outliers) <= 4
    assert calibrated.result.t2[17] > 1 or calibrated.result.q[17] > 1


def test_one_table_with_spectra_and_targets(tmp_path: Path) -> None:
    X, table = make(30)
    frame = pd.DataFrame(X, columns=[f"{nm:g}" for nm in NM])
    frame.insert(0, "grade", table["grade"])
    frame.insert(0, "protein", table["protein"])
    frame.insert(0, "sample", table["sample"])
    frame.to_csv(tmp_path / "both.csv", index=False)
    one = calibrate(tmp_path / "both.csv", target=["protein", "grade"], **FAST)
    two = calibrate(X, table[["protein", "grade"]], wavelengths=NM, **FAST)
    np.testing.assert_allclose(one.predictions()["protein predicted"], two.predictions()["protein predicted"])
    assert [t.task for t in one.result.targets] == ["regression", "classification"]


def test_a_separate_test_set(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    spectra, targets = write(tmp_path / "a", 30)
    others, values = write(tmp_path / "b", 12, seed=1)
    pd.read_csv(others).assign(sample=[f"T{k}" for k in range(12)]).to_csv(others, index=False)
    pd.read_csv(values).assign(sample=[f"T{k}" for k in range(12)]).to_csv(values, index=False)
    calibrated = calibrate(spectra, targets, target="protein", test=others, test_targets=values, **FAST)
    assert calibrated.result.targets[0].test is not None
    assert list(calibrated.result.targets[0].test.ids) == [f"T{k}" for k in range(12)]
    assert calibrated.metrics()["targets"]["protein"]["test"]["r2"] > 0.9
    # Samples of the test set are removed from the calibration set.
    pd.read_csv(tmp_path / "a" / "spectra.csv").iloc[:8].to_csv(tmp_path / "some.csv", index=False)
    calibrated = calibrate(
        tmp_path / "a" / "spectra.csv", targets, target="protein", test=tmp_path / "some.csv", **FAST
    )
    assert len(calibrated.result.ids) == 22
    assert any("were removed from it" in finding.message for finding in calibrated.result.findings)


def test_classes_of_numbers() -> None:
    X, table = make(40)
    grade = table["grade"].map({"low": 0, "middle": 1, "high": 2})
    calibrated = calibrate(X, grade, wavelengths=NM, task="classification", **FAST)
    assert calibrated.result.targets[0].classes == ("0", "1", "2")
    assert calibrated.metrics()["targets"]["grade"]["cross_validation"]["balanced_accuracy"] > 0.7
    possible = calibrated.predictions()["grade possible"]
    assert all(
        p in set(q.split("|")) for p, q in zip(calibrated.predictions()["grade predicted"], possible, strict=True)
    )
    # A missing value makes the column one of floats; 1.0 is still the class 1.
    gap = grade.astype(float)
    gap.iloc[3] = np.nan
    tested = calibrate(X, gap, wavelengths=NM, task="classification", test=0.25, **FAST)
    assert tested.metrics()["targets"]["grade"]["test"]["accuracy"] > 0.6


@pytest.mark.parametrize("separator", [";", "\t"])
def test_decimal_commas_in_the_table_of_spectra(tmp_path: Path, separator: str) -> None:
    """The target is in the table of spectra: a number, not classes."""
    X, table = make()
    frame = pd.DataFrame(X, columns=[f"{nm:g}" for nm in NM]).assign(protein=table["protein"].round(0) + 0.5)
    frame.to_csv(tmp_path / "spectra.csv", index=False, sep=separator, decimal=",")
    calibrated = calibrate(tmp_path / "spectra.csv", target="protein", **FAST)
    assert calibrated.metrics()["targets"]["protein"]["task"] == "regression"
    text = (
        (tmp_path / "spectra.csv")
        .read_text("utf-8")
        .replace(f"{separator}{frame['protein'][0]:g}".replace(".", ","), f"{separator}<0,5", 1)
    )
    (tmp_path / "spectra.csv").write_text(text, "utf-8")
    with pytest.raises(SpectralInputError, match="'<0,5' is not a number"):
        calibrate(tmp_path / "spectra.csv", target="protein", **FAST)


def _with(**changes: Any) -> Any:
    return lambda folder: write(folder, **changes)


def _edit(name: str, change: Any) -> Any:
    def edited(folder: Path) -> tuple[Path, Path]:
        spectra, targets = write(folder)
        path = spectra if name == "spectra" else targets
        path.write_text(change(path.read_text("utf-8")), "utf-8")
        return spectra, targets

    return edited


def _first(text: str, change: Any) -> str:
    lines = text.splitlines()
    return "\n".join([*change(lines), ""])


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        (_edit("spectra", lambda _: ""), {}, "spectra.csv: the file is empty"),
        (_edit("targets", lambda _: ""), {}, "targets.csv: the file is empty"),
        (_edit("spectra", lambda t: t.replace(",1120,", ",11200,")), {}, "11200"),
        (_edit("spectra", lambda t: t.replace(",1120,", ",colour,")), {}, "'colour'"),
        (_edit("spectra", lambda t: _first(t, lambda ls: [*ls[:3], ls[3] + ",0.5", *ls[4:]])), {}, "line 4"),
        (_edit("spectra", lambda t: _first(t, lambda ls: [*ls[:3], ls[3].rpartition(",")[0], *ls[4:]])), {}, "line 4"),
        (_edit("spectra", lambda t: _first(t, lambda ls: [*ls[:20], ls[0], *ls[20:]])), {}, "line 21"),
        (
            _edit("spectra", lambda t: _first(t, lambda ls: [*ls[:2], ls[2].rpartition(",")[0] + ",-9999", *ls[3:]])),
            {},
            "-9999",
        ),
        (
            _edit("spectra", lambda t: _first(t, lambda ls: [*ls[:2], ls[2].replace("0.", "1e300", 1), *ls[3:]])),
            {},
            "line 3",
        ),
        (_edit("spectra", lambda t: t.replace(".", ",")), {}, "line"),
        (_edit("targets", lambda t: t.replace(",", ";").replace("S003;", "S003;<0.5;", 1)), {}, "line 5"),
        (_edit("targets", lambda t: _first(t, lambda ls: [*ls[:3], "S002,n.d.,1.0,low", *ls[4:]])), {}, "n.d."),
        (
            _edit("targets", lambda t: t.replace("S003", "S002", 1)),
            {},
            "id 'S002' has other reference values in line 4",
        ),
        (_edit("targets", lambda t: t.replace("S0", "Z0")), {}, "no id is in both files ('S000' and 'Z000'"),
        (_edit("targets", lambda t: _first(t, lambda ls: ls[:8])), {}, "7 samples; cross-validation needs at least 10"),
        (_with(protein=[f"1,{k:03d}.5" for k in range(48)]), {}, "thousands separators"),
        (_edit("targets", lambda t: t.replace("7.1", "7,1")), {}, "targets.csv"),
        (_edit("spectra", lambda t: t.replace(",", "|")), {}, "'|'"),
        (_with(), {"test_targets": "x.csv"}, "but no test spectra"),
        (
            _with(sample=None),
            {"target": "starch"},
            "no target is named 'starch'; the targets are protein, moisture, grade",
        ),
        (_with(protein=5.0), {"target": "protein"}, "is 5 in all samples"),
        (_with(grade="low"), {"target": "grade"}, "has 1 class; a calibration needs at least two"),
        (
            _with(grade=["odd", *["low", "high"] * 23, "low"]),
            {"target": "grade"},
            "class 'odd' of target 'grade' has one sample",
        ),
        (_with(), {"target": "grade", "task": "regression"}, "holds text such as"),
        (_with(), {"head": "svc"}, "head 'svc' does not suit"),
        (_with(), {"target": "protein", "head": "plsda"}, "does not suit regression"),
        (_with(), {"cv": "five"}, "cv='five' is not understood; write folds and repetitions, such as 5x3"),
        (_with(), {"cv": "1x3"}, "at least two folds"),
        (_with(), {"coverage": 1.5}, "coverage=1.5 must lie between 0 and 1"),
        (_with(), {"test": 1.5}, "test=1.5 must lie between 0 and 1"),
        (_with(), {"groups": "lot"}, "no column is named 'lot'"),
        (_with(), {"ids": "number"}, "number"),
        (_with(), {"axis_unit": "um"}, "spectra.csv"),
    ],
)  # fmt: skip
def test_wrong_input_is_refused_before_any_work(
    files: Any, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    spectra, targets = files(tmp_path)
    with pytest.raises((SpectralInputError, SpectralAxisError)) as caught:
        calibrate(spectra, targets, tmp_path / "model", **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["spectra.csv", "targets.csv"]


def test_an_existing_folder_is_refused(calibrated: tuple[Calibration, Path], tmp_path: Path) -> None:
    spectra, targets = write(tmp_path)
    with pytest.raises(SpectralInputError, match="holds a model; name a new folder"):
        calibrate(spectra, targets, calibrated[1])
    with pytest.raises(SpectralInputError, match="is not empty"):
        calibrate(spectra, targets, tmp_path)
    with pytest.raises(SpectralInputError, match="is a file"):
        calibrate(spectra, targets, spectra)


def test_a_failed_save_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    X, table = make(20)
    calibration = calibrate(X, table["protein"], wavelengths=NM, **FAST)

    def fail(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("nirs4all_vit.calibration.report.write_report", fail)
    with pytest.raises(OSError, match="No space left"):
        calibration.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_public_names() -> None:
    for name in ("calibrate", "predict", "load", "Calibration", "SpectralCalibration", "ModelError"):
        assert name in nirs4all_vit.__all__
