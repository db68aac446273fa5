"""Columns scaled by their deviation over the calibration spectra, halfway."""

from __future__ import annotations

import numpy as np
import pytest

from nirs4all_vit import SpectralEmbedder
from nirs4all_vit.adaptation import adapted_scale
from tests.conftest import make_spectra

NM = np.linspace(1100.0, 2400.0, 120)


def test_halfway_to_standardised_columns() -> None:
    Z = np.random.default_rng(0).normal(size=(400, 5)).astype(np.float32) * np.float32([100, 10, 1, 0.1, 0])
    before, after = Z.std(axis=0), (Z * adapted_scale(Z)).std(axis=0)
    ratio = (after[:4] / after[2]) / np.sqrt(before[:4] / before[2])
    np.testing.assert_allclose(ratio, 1.0, atol=0.2)  # the floor takes a little from the smallest
    assert np.square(after).sum() == pytest.approx(np.square(before).sum(), rel=1e-5)
    assert np.isfinite(adapted_scale(Z)).all()


def test_what_does_not_vary_stays() -> None:
    np.testing.assert_array_equal(adapted_scale(np.ones((3, 4), np.float32)), np.ones(4))
    np.testing.assert_array_equal(adapted_scale(np.float32([[1.0, 2.0]])), np.ones(2))


def test_the_embedder_adapts_to_the_spectra_of_fit_alone() -> None:
    X, other = make_spectra(NM, 30), make_spectra(NM, 5, seed=1)
    plain = SpectralEmbedder(readout="contrast", adapt=False).fit(X, wavelengths=NM)
    adapted = SpectralEmbedder(readout="contrast").fit(X, wavelengths=NM)
    np.testing.assert_array_equal(plain.scale_, 1.0)
    np.testing.assert_array_equal(adapted.scale_, adapted_scale(plain.transform(X)))
    np.testing.assert_array_equal(adapted.transform(other), plain.transform(other) * adapted.scale_)
    np.testing.assert_array_equal(
        SpectralEmbedder(readout="contrast").fit_transform(X, wavelengths=NM), adapted.transform(X)
    )
