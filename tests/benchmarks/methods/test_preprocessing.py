"""Preprocessings are nirs4all's, row by row."""

from __future__ import annotations

import numpy as np
import pytest
from nirs4all.operators.transforms import ASLSBaseline, SavitzkyGolay

from benchmarks.methods.preprocessing import PREPROCESSINGS


def test_asls_and_savitzky_golay_are_nirs4alls(spectra: np.ndarray) -> None:
    snv = PREPROCESSINGS["snv"]
    corrected = ASLSBaseline().fit_transform(spectra)
    np.testing.assert_array_equal(PREPROCESSINGS["asls+snv"](spectra), snv(corrected))
    derived = SavitzkyGolay(window_length=15, polyorder=2, deriv=1).fit_transform(spectra)
    np.testing.assert_array_equal(PREPROCESSINGS["sg1"](spectra), derived)
    np.testing.assert_allclose(snv(spectra).mean(axis=1), 0, atol=1e-10)
    np.testing.assert_allclose(snv(spectra).std(axis=1), 1, rtol=0.01)


@pytest.mark.parametrize("name", PREPROCESSINGS)
@pytest.mark.parametrize("points", [3, 19, 125])
def test_each_row_on_its_own_and_finite_on_any_length(name: str, points: int) -> None:
    X = np.random.default_rng(0).normal(size=(6, points)).cumsum(axis=1)
    X[2] = 1.0  # a constant spectrum
    whole = PREPROCESSINGS[name](X)
    assert np.isfinite(whole).all()
    np.testing.assert_allclose(whole[3:4], PREPROCESSINGS[name](X[3:4]), atol=1e-10)
