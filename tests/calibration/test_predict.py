"""Predictions of new spectra: equal to the estimator's, in input order, unusual spectra marked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nirs4all_vit import SpectralAxisError, SpectralAxisWarning, SpectralInputError, calibrate, load, predict
from nirs4all_vit.calibration import adapt
from nirs4all_vit.cli import main
from tests.calibration.data import NM, make, write

X, TABLE = make(60)
NEW, TRUTH = make(12, seed=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model"
    calibrate(X, TABLE[["protein", "grade"]], path, wavelengths=NM, head="ridge", cv="3x1")
    return path


def new_table(path: Path, axis: np.ndarray = NM, values: np.ndarray = NEW) -> Path:
    table = pd.DataFrame(values, columns=[f"{v:.5f}" for v in axis])
    table.insert(0, "sample", [f"N{k}" for k in range(len(values))][::-1])
    table.to_csv(path, index=False)
    return path


def test_as_the_estimator_predicts(folder: Path, tmp_path: Path) -> None:
    table = predict(folder, new_table(tmp_path / "new.csv"), tmp_path / "p.csv")
    model = load(folder)
    columns = [
        "id",
        "protein",
        "protein lower",
        "protein upper",
        "grade",
        "grade possible",
        "unusual",
        "reason",
        "filled",
    ]
    assert list(table.columns) == columns
    assert list(table["id"]) == [f"N{k}" for k in range(12)][::-1]
    estimator = model.predict(NEW, wavelengths=NM)
    np.testing.assert_allclose(table["protein"], estimator[:, 0].astype(float), rtol=1e-6)
    assert list(table["grade"]) == list(estimator[:, 1])
    bounds = model.predict_interval(NEW, wavelengths=NM)[:, 0]
    np.testing.assert_allclose(table[["protein lower", "protein upper"]], bounds, rtol=1e-6)
    written = pd.read_csv(tmp_path / "p.csv", keep_default_na=False)
    np.testing.assert_allclose(written["protein"], table["protein"], rtol=1e-6)
    assert model.score(NEW, TRUTH[["protein", "grade"]], wavelengths=NM) > 0.8
    assert not table["unusual"].any()


def test_more_coverage_is_wider(folder: Path) -> None:
    model = load(folder)
    narrow, wide = (np.diff(model.predict_interval(NEW, c, wavelengths=NM)[:, 0]) for c in (0.5, 0.95))
    assert (wide > narrow).all()


def test_from_any_axis(folder: Path, tmp_path: Path) -> None:
    own = predict(folder, new_table(tmp_path / "nm.csv"))
    order = np.argsort(1e7 / NM)
    as_wavenumbers = predict(folder, new_table(tmp_path / "cm.csv", (1e7 / NM)[order], NEW[:, order]))
    np.testing.assert_allclose(as_wavenumbers["protein"], own["protein"], atol=1e-3)
    with pytest.warns(SpectralAxisWarning, match="filled in"):
        cut = predict(folder, new_table(tmp_path / "cut.csv", NM[8:], NEW[:, 8:]))
    np.testing.assert_allclose(cut["filled"], 8 / len(NM), atol=0.01)
    assert np.sqrt(np.mean((cut["protein"] - own["protein"]) ** 2)) < 0.3
    with pytest.raises(SpectralAxisError, match="would have to be filled in"):
        predict(folder, new_table(tmp_path / "short.csv", NM[45:], NEW[:, 45:]))


def test_unusual_spectra_are_marked(folder: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    odd = NEW.copy()
    odd[3] = rng.random(len(NM))
    odd[5] = 0.5
    odd[7] += 1.5 * np.exp(-0.5 * ((NM - 2180) / 50) ** 2)
    table = predict(folder, new_table(tmp_path / "odd.csv", values=odd))
    assert table["unusual"].tolist() == [k in (3, 5, 7) for k in range(12)]
    assert "calibration" in table["reason"][3]
    assert table["reason"][5] == "the spectrum is constant"
    assert np.isnan(table["protein"][5])
    assert "outside of its calibrated range" in table["reason"][7]


def test_unusable_spectra_do_not_stop_the_others(folder: Path, tmp_path: Path) -> None:
    odd = NEW.copy()
    odd[2, :50] = np.nan
    odd[4, 7] = -9999.0
    own = predict(folder, new_table(tmp_path / "new.csv"))
    table = predict(folder, new_table(tmp_path / "odd.csv", values=odd))
    others = [k for k in range(12) if k not in (2, 4)]
    np.testing.assert_allclose(table["protein"][others], own["protein"][others], rtol=1e-6)
    assert table["protein"].isna().tolist() == [k in (2, 4) for k in range(12)]
    assert list(table["id"]) == list(own["id"])
    assert "odd.csv, line 4" in table["reason"][2]
    assert "-9999" in table["reason"][4]
    assert table["unusual"].tolist() == [k in (2, 4) for k in range(12)]
    with pytest.raises(SpectralInputError, match=r"no spectrum can be predicted: .*line 2"):
        predict(folder, new_table(tmp_path / "none.csv", values=np.where(np.arange(71) < 50, np.nan, NEW[:1])))


def test_another_kind_of_signal_is_a_reason(folder: Path, tmp_path: Path) -> None:
    mixed = np.vstack([NEW[:6], 10.0 ** -NEW[6:]])
    with pytest.warns(UserWarning, match="another kind of signal"):
        table = predict(folder, new_table(tmp_path / "mixed.csv", values=mixed))
    assert not table["unusual"][:6].any()
    assert table["reason"][6:].str.contains("look like reflectance or transmittance").all()


def test_a_row_does_not_depend_on_other_rows(folder: Path) -> None:
    together = predict(folder, pd.DataFrame(NEW, columns=[f"{v:g}" for v in NM]))
    alone = predict(folder, pd.DataFrame(NEW[4:5], columns=[f"{v:g}" for v in NM]))
    assert alone["protein"][0] == pytest.approx(together["protein"][4], rel=1e-6)
    assert alone["protein upper"][0] == pytest.approx(together["protein upper"][4], rel=1e-6)


@pytest.mark.parametrize("output", ["p.xlsx", "missing/p.csv"])
def test_where_nothing_can_be_written(output: str, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SpectralInputError, match=r"name a \.csv file in an existing folder"):
        predict(folder, new_table(tmp_path / "new.csv"), tmp_path / output)


def test_a_second_instrument(folder: Path, tmp_path: Path) -> None:
    shape = 0.6 * np.exp(-0.5 * ((NM - 1700) / 80) ** 2)
    others, _ = make(40, seed=9)
    model = adapt(folder, new_table(tmp_path / "second.csv", values=others + shape), tmp_path / "adapted")
    assert model.embedder_.instrument_shift_ is not None
    errors = []
    for path in (folder, tmp_path / "adapted"):
        table = predict(path, new_table(tmp_path / "new.csv", values=NEW + shape))
        errors.append(np.sqrt(np.mean((table["protein"] - TRUTH["protein"]) ** 2)))
    assert errors[1] < 0.5 * errors[0]
    assert not predict(tmp_path / "adapted", new_table(tmp_path / "new.csv", values=NEW + shape))["unusual"].any()


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spectra, targets = write(tmp_path, 40)
    calibrated = ["calibrate", str(spectra), str(targets), "-o", str(tmp_path / "model"), "--target", "protein"]
    assert main([*calibrated, "--target", "grade", "--head", "ridge", "--cv", "3x1", "--test", "0.2"]) == 0
    out = capsys.readouterr().out
    assert "protein, cross-validation of 32 samples: RMSECV" in out
    assert "grade, test of 8 samples" in out
    assert "classes: high, low, middle" in out
    assert (tmp_path / "model" / "report.html").stat().st_size > 1_000_000
    assert main([*calibrated, "--head", "ridge"]) == 1
    assert "holds a model; name a new folder" in capsys.readouterr().err
    new = new_table(tmp_path / "new.csv")
    assert main(["predict", str(tmp_path / "model"), str(new), "-o", str(tmp_path / "p.csv"), "--coverage", "0.5"]) == 0
    assert "12 spectra predicted" in capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / "p.csv")) == 12
    assert main(["adapt", str(tmp_path / "model"), str(new), "-o", str(tmp_path / "second")]) == 0
    assert "second: " in capsys.readouterr().out
    assert main(["predict", str(tmp_path / "second"), str(new), "-o", str(tmp_path / "q.csv")]) == 0
    assert main(["predict", str(tmp_path), str(new), "-o", str(tmp_path / "q.csv")]) == 1
    assert "is no model folder" in capsys.readouterr().err


def test_in_nirs4all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nirs4all

    monkeypatch.chdir(tmp_path)
    # The folder is named relative to the current one, which nirs4all changes.
    calibrate(X, TABLE["protein"], "model", wavelengths=NM, head="ridge", cv="2x1", n4a=True)
    theirs = nirs4all.predict(str(tmp_path / "model" / "model.n4a"), NEW, verbose=0).y_pred
    np.testing.assert_allclose(np.ravel(theirs), load(tmp_path / "model").predict(NEW, wavelengths=NM), atol=1e-3)
