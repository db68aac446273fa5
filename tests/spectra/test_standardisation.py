"""Instrument standardisation with transfer standards."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from nirs4all_vit import InstrumentStandardiser, SpectralAxisError, SpectralInputError
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


def test_axes_come_from_headers_too() -> None:
    frame = pd.DataFrame(on_second(B, 20, 0), columns=B)
    standardiser = InstrumentStandardiser("ds").fit(frame, X_source=pd.DataFrame(STANDARDS, columns=A))
    expected = standardiser.transform(pd.DataFrame(on_second(B, 15, 1), columns=B))
    turned = standardiser.transform(pd.DataFrame(on_second(B, 15, 1), columns=B).iloc[:, ::-1])
    np.testing.assert_allclose(turned, expected)
    # One axis for both instruments.
    same = InstrumentStandardiser("pds", wavelengths=A).fit(on_second(A, 20, 0), X_source=STANDARDS)
    both = InstrumentStandardiser("pds", wavelengths=A, source_wavelengths=A).fit(
        on_second(A, 20, 0), X_source=STANDARDS
    )
    np.testing.assert_array_equal(same.transform(on_second(A, 15, 1)), both.transform(on_second(A, 15, 1)))
    assert list(same.get_feature_names_out()[:1]) == ["instrumentstandardiser0"]


def test_missing_points_are_filled_in() -> None:
    holes, source = on_second(A, 20, 0), STANDARDS.copy()
    holes[3, 5] = source[4, 7] = np.nan
    source[:, 100] = np.nan
    standardiser = InstrumentStandardiser("ds", wavelengths=A).fit(holes, X_source=source)
    moved = standardiser.transform(np.ma.masked_invalid(np.where(np.arange(121) == 9, np.nan, on_second(A, 15, 1))))
    assert moved.shape == (15, 120)
    assert np.isfinite(moved).all()


def test_invalid_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="n_components=0 must be a positive"):
        InstrumentStandardiser(n_components=0).fit(STANDARDS, X_source=STANDARDS)
    narrow = InstrumentStandardiser("ds", wavelengths=A[:40], source_wavelengths=A)
    message = r"row 0 covers 1100 to 1490 nm, .*: 67% of it would have to be filled in"
    with pytest.raises(SpectralAxisError, match=message):
        narrow.fit(on_second(A, 20, 0)[:, :40], X_source=STANDARDS)
    with pytest.raises(ValueError, match="method='magic' is not known; use one of ds, pds, sst"):
        InstrumentStandardiser("magic").fit(STANDARDS, X_source=STANDARDS)
    with pytest.raises(SpectralInputError, match="19 standards on the second instrument, 20 on the first"):
        InstrumentStandardiser().fit(STANDARDS[1:], X_source=STANDARDS)
    with pytest.raises(ValueError, match="1 standard is too few"):
        InstrumentStandardiser().fit(STANDARDS[:1], X_source=STANDARDS[:1])
