"""Columns weighed by what the calibration spectra say of them, and kept from going far out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from nirs4all_vit import SpectralEmbedder
from nirs4all_vit.embedding.column_weighting import _MAX_SPECTRA, ColumnWeighting, _unique_share
from tests.conftest import make_spectra

NM = np.linspace(1100.0, 2400.0, 120)


def columns(n: int, seed: int = 0) -> np.ndarray:
    """Twenty columns that share two factors, and five of their own, all of different size."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(n, 2)) @ rng.normal(size=(2, 20)) + 0.1 * rng.normal(size=(n, 20))
    return (np.hstack([shared, rng.normal(size=(n, 5))]) * np.geomspace(0.1, 10.0, 25) + 3.0).astype(np.float32)


def test_few_spectra_tell_halfway_to_standardised_columns() -> None:
    Z = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32) * np.float32([100, 10, 1, 0.1, 0])
    adaptation = ColumnWeighting.fit(Z)
    assert adaptation.lower is None
    before, after = Z.std(axis=0), adaptation.apply(Z.copy()).std(axis=0)
    ratio = (after[:4] / after[2]) / np.sqrt(before[:4] / before[2])
    np.testing.assert_allclose(ratio, 1.0, atol=0.2)  # the floor takes a little from the smallest
    assert np.square(after).sum() == pytest.approx(np.square(before).sum(), rel=1e-5)


def test_what_does_not_vary_stays() -> None:
    for Z in (np.ones((30, 4), np.float32), np.float32([[1.0, 2.0]])):
        np.testing.assert_array_equal(ColumnWeighting.fit(Z).apply(Z.copy()), Z)


@pytest.mark.parametrize("n", [10, 60, 500])
def test_the_summed_variance_stays(n: int) -> None:
    Z = columns(n)
    after = ColumnWeighting.fit(Z).apply(Z.copy()).var(axis=0).sum()
    assert after == pytest.approx(Z.var(axis=0).sum(), rel=1e-4 if n <= _MAX_SPECTRA else 0.1)


def test_the_unique_share_is_what_the_other_spectra_leave() -> None:
    """Against scikit-learn's ridge, literally left out one by one."""
    Z = columns(40).astype(np.float64)
    Z -= Z.mean(axis=0)
    penalty = np.square(Z).sum(axis=1).mean()
    predicted = cross_val_predict(Ridge(penalty), Z, Z, cv=LeaveOneOut())
    expected = np.square(Z - predicted).mean(axis=0) / Z.var(axis=0)
    found, variance = _unique_share(Z, np.zeros(25))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(variance, Z.var(axis=0))


def test_what_no_other_column_confirms_counts_for_less() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(200, 2)) @ rng.normal(size=(2, 300))
    Z = np.hstack([shared / shared.std(axis=0), rng.normal(size=(200, 100))]).astype(np.float32)
    weight = ColumnWeighting.fit(Z).apply(Z.copy()).std(axis=0) / Z.std(axis=0)
    assert weight[300:].max() < 0.2 * weight[:300].min()


def test_a_column_of_rounding_gains_nothing() -> None:
    Z = np.hstack([columns(100), np.full((100, 1), 7.0, np.float32)])
    Z[::2, 25] = np.nextafter(np.float32(7), np.float32(8))
    changed = ColumnWeighting.fit(Z).apply(Z.copy())
    assert changed[:, 25].std() < 1e-3 * changed[:, :25].std(axis=0).min()


def test_far_out_goes_no_further_and_all_else_stays() -> None:
    Z = columns(100)
    adaptation = ColumnWeighting.fit(Z)
    centre, deviation = Z.mean(axis=0), Z.std(axis=0)
    for side in (-1.0, 1.0):
        near, far = (centre + side * k * deviation[np.newaxis] for k in (5.9, 1e4))
        np.testing.assert_array_equal(adaptation.apply(near.copy()), near * adaptation.scale)
        limit = 6.0 * (deviation + 1e-3 * deviation.mean())
        np.testing.assert_allclose(adaptation.apply(far)[0] / adaptation.scale, centre + side * limit, rtol=1e-4)


def test_the_slope_is_that_of_what_is_applied() -> None:
    Z, step = columns(50).astype(np.float64), 1e-3
    adaptation = ColumnWeighting.fit(Z.astype(np.float32))
    wide = Z + 4.0 * (Z - Z.mean(axis=0))
    assert adaptation.lower is not None
    assert adaptation.upper is not None
    edge = np.minimum(np.abs(wide - adaptation.lower), np.abs(wide - adaptation.upper)) < step
    difference = (adaptation.apply(wide + step) - adaptation.apply(wide - step)) / (2.0 * step)
    slope = adaptation.slope(wide)
    np.testing.assert_allclose(slope[~edge], difference[~edge], rtol=1e-3, atol=1e-4)
    assert 0.0 < (slope == 0.0).mean() < 0.5
    np.testing.assert_array_equal(ColumnWeighting.none(25).slope(wide), np.ones_like(wide))


@pytest.mark.parametrize("n", [5, 30])
def test_the_embedder_adapts_to_the_spectra_of_fit_alone(n: int) -> None:
    X, other = make_spectra(NM, n), make_spectra(NM, 5, seed=1)
    plain = SpectralEmbedder(readout="contrast", adapt=False).fit(X, wavelengths=NM)
    adapted = SpectralEmbedder(readout="contrast").fit(X, wavelengths=NM)
    np.testing.assert_array_equal(plain.column_weighting_.scale, 1.0)
    expected = ColumnWeighting.fit(plain.transform(X))
    np.testing.assert_array_equal(adapted.column_weighting_.scale, expected.scale)
    together = adapted.transform(other)
    np.testing.assert_array_equal(together, expected.apply(plain.transform(other)))
    np.testing.assert_array_equal(adapted.transform(other[3:4])[0], together[3])
    np.testing.assert_array_equal(
        SpectralEmbedder(readout="contrast").fit_transform(X, wavelengths=NM), adapted.transform(X)
    )
