"""Loading spectra from a folder of CSV files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nirs4all_vit.errors import SpectralAxisError, SpectralInputError
from nirs4all_vit.pretraining import SpectralDataset, load_x_bank


def write(folder: Path, name: str, text: str, **metadata: object) -> None:
    (folder / f"{name}.csv").write_text(text)
    if metadata:
        (folder / f"{name}.json").write_text(json.dumps(metadata))


def test_axis_and_metadata(tmp_path: Path) -> None:
    write(tmp_path, "b", "8000,4000\n1,2\n3,4\n", axis_unit="cm-1", family="fam")
    write(tmp_path, "a", "1100,1200\n1,2\n")
    a, b = load_x_bank(tmp_path, progress=False)
    assert (a.name, a.family, b.family) == ("a", "a", "fam")
    np.testing.assert_allclose(b.wavelengths, [1250, 2500])
    np.testing.assert_array_equal(b.values, [[1, 2], [3, 4]])
    write(tmp_path, "c", "4000,8000\n1,2\n")
    (c,) = load_x_bank(tmp_path, ["c"], progress=False)
    np.testing.assert_allclose(c.wavelengths, [1250, 2500])
    np.testing.assert_array_equal(c.values, [[2, 1]])


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("id,1100\n1,2\n", SpectralInputError, "bad.csv: the header is not a wavelength axis"),
        ("1100,1200\n1,x\n", SpectralInputError, "bad.csv: could not convert"),
        ("1100,1200\n1,2\n3,\n", SpectralInputError, "bad.csv, line 3: a value is missing"),
        ("1,1200\n1,2\n", SpectralAxisError, "wavelength 1 read as nm"),
    ],
)
def test_broken_files_are_named(text: str, error: type, message: str, tmp_path: Path) -> None:
    write(tmp_path, "bad", text)
    with pytest.raises(error, match=message):
        load_x_bank(tmp_path, progress=False)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no <dataset_id>\.csv"):
        load_x_bank(tmp_path)


@pytest.mark.parametrize(
    ("mode", "values", "absorbance"),
    [
        ("reflectance", [[0.1, 1.0]], [[1.0, 0.0]]),
        ("transmittance", [[10.0, 100.0]], [[1.0, 0.0]]),
        ("absorbance", [[0.1, 1.0]], [[0.1, 1.0]]),
        ("UNKNOWN", [[0.1, 1.0]], [[0.1, 1.0]]),
        ("reflectance", [[0.0, -0.1]], [[4.0, 4.0]]),
    ],
)
def test_absorbance(mode: str, values: list, absorbance: list) -> None:
    dataset = SpectralDataset("x", np.array(values, np.float32), np.array([1100.0, 1200.0]), {"mode": mode})
    np.testing.assert_allclose(dataset.absorbance(), absorbance, atol=1e-6)


@pytest.mark.xbank
def test_the_whole_bank_loads(x_bank: Path) -> None:
    datasets = load_x_bank(x_bank, progress=False)
    assert len(datasets) >= 95
    assert sum(len(d.values) for d in datasets) >= 27_000
    for dataset in datasets:
        assert (np.diff(dataset.wavelengths) > 0).all()
        assert dataset.values.dtype == np.float32
        assert np.isfinite(dataset.absorbance()).all()
