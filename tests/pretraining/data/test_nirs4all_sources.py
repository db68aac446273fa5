"""Spectra from nirs4all and nirs4all-datasets."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from nirs4all.data.dataset import SpectroDataset

from nirs4all_vit.errors import SpectralAxisError, SpectralInputError
from nirs4all_vit.pretraining.data import fetch_dataset, from_nirs4all
from tests.conftest import make_registry, make_spectra, run_python

NM = np.linspace(1100.0, 1500.0, 21)
X = make_spectra(NM, 6)


def spectro(values: object = X, axis: np.ndarray = NM, unit: str = "nm") -> SpectroDataset:
    data = SpectroDataset("grain")
    headers = [f"{v:.10g}" for v in axis]
    several = isinstance(values, list)
    data.add_samples(
        values,
        {"partition": "train"},
        headers=[headers] * len(values) if several else headers,
        header_unit=[unit] * len(values) if several else unit,
    )
    data.add_targets(np.arange(6.0))
    return data


@pytest.mark.parametrize(("axis", "unit"), [(NM, "nm"), (1e7 / NM, "cm-1"), (NM[::-1], "nm")])
def test_a_dataset_in_memory(axis: np.ndarray, unit: str) -> None:
    values = X[:, ::-1] if axis[0] > axis[-1] and unit == "nm" else X
    (dataset,) = from_nirs4all(spectro(values, axis, unit))
    assert (dataset.name, dataset.family) == ("grain", "grain")
    np.testing.assert_allclose(dataset.wavelengths, NM)
    np.testing.assert_allclose(dataset.values, X, rtol=1e-6)
    assert dataset.values.dtype == np.float32
    assert "targets" not in dataset.metadata.source


def test_signal_types_become_modes() -> None:
    data = spectro(10.0**-X)
    data.set_signal_type("reflectance", 0)
    (dataset,) = from_nirs4all(data, "named")
    assert (dataset.name, dataset.mode) == ("named", "reflectance")
    np.testing.assert_allclose(dataset.absorbance(), X, atol=1e-5)


def test_each_source_is_a_dataset() -> None:
    first, second = from_nirs4all(spectro([X, X * 2]))
    assert (first.name, second.name, second.family) == ("grain", "grain-1", "grain")
    np.testing.assert_allclose(second.values, 2 * X, rtol=1e-6)


def test_a_folder_of_csv_files_opens_as_nirs4all_opens_it(tmp_path: Path) -> None:
    columns = [f"{v:g}" for v in NM]
    pd.DataFrame(X, columns=columns).to_csv(tmp_path / "Xcal.csv", index=False, sep=";")
    pd.DataFrame(np.arange(6.0), columns=["y"]).to_csv(tmp_path / "Ycal.csv", index=False, sep=";")
    (dataset,) = from_nirs4all(tmp_path)
    np.testing.assert_allclose(dataset.wavelengths, NM)
    np.testing.assert_allclose(dataset.values, X, rtol=1e-5)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        from_nirs4all(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SpectralInputError, match="nirs4all cannot open"):
        from_nirs4all(tmp_path / "empty")
    nameless = SpectroDataset("nameless")
    nameless.add_samples(X, {"partition": "train"})
    with pytest.raises(SpectralAxisError, match="nameless"):
        from_nirs4all(nameless)
    holes = X.copy()
    holes[2, 3] = np.nan
    with pytest.raises(SpectralInputError, match="grain, spectrum 3: a value is missing"):
        from_nirs4all(spectro(holes))


DATASET_ID = "corn_eigenvector_nir"


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    return make_registry(tmp_path, DATASET_ID)


def test_public_datasets_by_id(registry: Path) -> None:
    make_registry(registry, DATASET_ID, {"m5": X, "mp5": 2 * X}, NM)
    first, second = fetch_dataset(DATASET_ID, registry)
    assert (first.name, second.name) == (DATASET_ID, f"{DATASET_ID}-mp5")
    assert first.family == second.family == DATASET_ID
    np.testing.assert_allclose(second.values, 2 * X, rtol=1e-6)
    np.testing.assert_allclose(first.wavelengths, NM)


def test_offline_is_one_clear_error(registry: Path) -> None:
    code = f"""
from nirs4all_vit.pretraining import fetch_dataset
try:
    fetch_dataset({DATASET_ID!r}, {str(registry)!r})
except ConnectionError as error:
    print(error)
"""
    printed = run_python(code, network=False)
    assert f"dataset '{DATASET_ID}' cannot be fetched (no network?): " in printed
    assert "Load a copy on disk with load_x_bank." in printed


def test_unknown_ids_and_a_missing_package(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"unknown dataset 'nope'.* must be a checkout of the nirs4all-datasets"
    ):
        fetch_dataset("nope", registry)
    monkeypatch.setitem(sys.modules, "nirs4all_datasets", None)
    with pytest.raises(ImportError, match="pip install 'nirs4all-datasets'"):
        fetch_dataset(DATASET_ID, registry)
