"""One dataset: modes, metadata, shapes."""

from __future__ import annotations

import numpy as np
import pytest

from nirs4all_vit.errors import SpectralAxisError, SpectralInputError
from nirs4all_vit.pretraining.data import UNKNOWN, SpectralDataset, SpectralMetadata
from tests.conftest import make_spectra

NM = np.linspace(1100.0, 1500.0, 21)


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
    assert dataset.absorbance().dtype == np.float32


def test_percent_is_decided_once_for_the_dataset() -> None:
    values = np.full((10, 21), 50.0, np.float32)
    values[3] = 1.5  # a dark sample is not a fraction
    dataset = SpectralDataset("x", values, NM, {"mode": "reflectance"})
    np.testing.assert_allclose(dataset.absorbance([3]), -np.log10(0.015), rtol=1e-6)
    np.testing.assert_array_equal(dataset.absorbance([5, 3], slice(2, 9, 2)), dataset.absorbance()[[5, 3], 2:9:2])


def test_the_hash_covers_all_that_the_absorbance_depends_on() -> None:
    X = make_spectra(NM, 5).astype(np.float32)
    base = SpectralDataset("x", X, NM).content_hash
    assert SpectralDataset("y", X, NM, {"instrument": "other"}).content_hash == base
    assert SpectralDataset("x", X + 1e-6, NM).content_hash != base
    assert SpectralDataset("x", X, NM + 1).content_hash != base
    assert SpectralDataset("x", X, NM, {"mode": "reflectance"}).content_hash != base


def test_shapes_are_checked() -> None:
    X = make_spectra(NM, 5).astype(np.float32)
    with pytest.raises(SpectralInputError, match=r"bad: spectra of shape \(5, 21\) on 20 wavelengths"):
        SpectralDataset("bad", X, NM[:20])
    with pytest.raises(SpectralInputError, match=r"bad: spectra of shape \(0, 21\)"):
        SpectralDataset("bad", X[:0], NM)
    with pytest.raises(SpectralInputError, match="bad: a baseline of shape"):
        SpectralDataset("bad", X, NM, baseline=X[:2])
    with pytest.raises(SpectralAxisError, match="bad: wavelengths must ascend"):
        SpectralDataset("bad", X, NM[::-1])


def test_metadata_has_no_holes() -> None:
    metadata = SpectralMetadata.from_dict(
        {
            "instrument": "UNKNOWN FT-NIR",
            "manufacturer": None,
            "mode": "absorbance",
            "sample_type": " ",
            "spectral_range": [1100, 2498.0],
            "temperature": "25.5",
            "particle_size": float("nan"),
            "humidity": True,
            "licence": "CC-BY",
        }
    )
    assert metadata.categorical["mode"] == "absorbance"
    assert all(
        metadata.categorical[k] == UNKNOWN for k in ("instrument", "manufacturer", "sample_type", "instrument_type")
    )
    assert metadata.numeric["spectral_start"] == (1100.0, 1.0)
    assert metadata.numeric["temperature"] == (25.5, 1.0)
    assert all(metadata.numeric[k] == (0.0, 0.0) for k in ("particle_size", "humidity", "spectral_step"))
    expected = {"mode": "absorbance", "spectral_start": 1100.0, "spectral_stop": 2498.0, "temperature": 25.5}
    assert metadata.known() == expected
    assert metadata.source["licence"] == "CC-BY"
    assert SpectralMetadata.from_dict({}).known() == {}
    odd = SpectralMetadata.from_dict({"spectral_range": "all", "temperature": "warm"})
    assert odd.known() == {}
