"""Public sets of nirs4all-datasets as calibration problems."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.__main__ import main
from benchmarks.problems import Problems, public_names, read_public
from tests.conftest import make_registry, make_spectra

DATASET_ID, NM = "corn_eigenvector_nir", np.linspace(1100.0, 2498.0, 120)
X = make_spectra(NM, 60)


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """Two instruments; the table of targets in another order, one value missing."""
    order = np.random.default_rng(0).permutation(60)
    targets = pd.DataFrame({"sample_id": [f"s{i}" for i in order], "Moisture": X[order, 30], "Oil": X[order, 80]})
    targets.loc[targets["sample_id"] == "s5", "Oil"] = np.nan
    return make_registry(tmp_path / "registry", DATASET_ID, {"m5": X, "mp5": 2 * X}, NM, targets)


def test_each_instrument_is_a_dataset_with_targets_joined_by_sample(registry: Path) -> None:
    assert public_names(registry) == [f"{DATASET_ID}@m5", f"{DATASET_ID}@mp5"]
    spectra, wavelengths, found = read_public(registry, f"{DATASET_ID}@mp5")
    np.testing.assert_allclose(spectra, 2 * X, rtol=1e-6)
    np.testing.assert_allclose(wavelengths, NM, rtol=1e-4)
    moisture, oil = found
    assert (moisture.target, moisture.family, moisture.task) == ("Moisture", DATASET_ID, "regression")
    np.testing.assert_allclose(moisture.y, X[:, 30])
    np.testing.assert_array_equal(oil.rows, np.delete(np.arange(60), 5))
    np.testing.assert_allclose(oil.y, np.delete(X[:, 80], 5))


def test_sets_that_cannot_be_fetched_are_named_and_left_out(registry: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_registry(registry, "diesel_fuels_nir_eigenvector")
    names = Problems(registry=registry).names
    assert (names[0], names[-1]) == ("synthetic-0", f"{DATASET_ID}@mp5")
    assert "left out: diesel_fuels_nir_eigenvector cannot be fetched" in capsys.readouterr().err


def test_the_runner_takes_them(registry: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["run", "phase0", "--registry", str(registry), "--datasets", f"{DATASET_ID}@m5", "--jobs", "1"]
    assert main([*command, "--methods", "mean", "snv-pls", "ridge@nirs-base-v2", "--out", str(out)]) == 0
    assert len(list((out / "tasks").glob("*.json"))) == 2 * 3 * 3


def test_what_is_not_there(registry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FileNotFoundError, match="no public set nope"):
        read_public(registry, "nope")
    with pytest.raises(FileNotFoundError, match="checkout of nirs4all-datasets"):
        public_names(tmp_path)
    assert main(["run", "phase0", "--registry", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "checkout of nirs4all-datasets" in capsys.readouterr().err
