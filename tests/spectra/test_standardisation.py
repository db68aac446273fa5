"""Spectra of a second instrument by transfer standards."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone

from nirs4all_vit import InstrumentStandardiser, SpectralInputError
from tests.conftest import make_spectra

A, B = np.linspace(1100.0, 2300.0, 121), np.linspace(1090.0, 2310.0, 200)
STANDARDS, NEW = make_spectra(A, 20), make_spectra(A, 15, seed=1)


def on_second(nm: np.ndarray, n: int, seed: int) -> np.ndarray:
    return 1.1 * make_spectra(nm, n, seed=seed) + 0.05 + 0.02 * np.sin(nm / 90.0)


@pytest.mark.parametrize("method", ["ds", "pds", "sst"])
def test_spectra_look_like_the_first_instruments(method: str) -> None:
    standardiser = InstrumentStandardiser(method, wavelengths=B[::-1], source_wavelengths=A)
    standardiser.fit(on_second(B[::-1], 20, 0), X_source=STANDARDS)
    moved = clone(standardiser).fit(on_second(B[::-1], 20, 0), X_source=STANDARDS).transform(on_second(B[::-1], 15, 1))
    np.testing.assert_array_equal(standardiser.wavelengths_, A)
    before = np.abs(on_second(A, 15, 1) - NEW).mean()
    assert np.abs(moved - NEW).mean() < 0.2 * before


def test_one_axis_needs_no_wavelengths() -> None:
    standardiser = InstrumentStandardiser("ds").fit(on_second(A, 20, 0), X_source=STANDARDS)
    assert standardiser.wavelengths_ is None
    assert standardiser.transform(on_second(A, 15, 1)).shape == NEW.shape


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(ValueError, match="method='magic' is not known; use one of ds, pds, sst"):
        InstrumentStandardiser("magic").fit(STANDARDS, X_source=STANDARDS)
    with pytest.raises(SpectralInputError, match="19 standards on the second instrument, 20 on the first"):
        InstrumentStandardiser().fit(STANDARDS[1:], X_source=STANDARDS)
    with pytest.raises(ValueError, match="1 standard is too few"):
        InstrumentStandardiser().fit(STANDARDS[:1], X_source=STANDARDS[:1])
