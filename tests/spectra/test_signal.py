"""Checks of spectral values, and of their kind against the calibration spectra."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from nirs4all_vit import SpectralEmbedder, SpectralInputError
from nirs4all_vit.heads import make_spectral_pipeline
from nirs4all_vit.spectra.data import Spectra
from nirs4all_vit.spectra.signal import SignalKind, check_values, dead_rows, living_rows
from tests.conftest import make_spectra

NM = np.linspace(1100.0, 2498.0, 200)
X, NEW = make_spectra(NM, 40, 0), make_spectra(NM, 30, 1)


def snv(spectra: np.ndarray) -> np.ndarray:
    return (spectra - spectra.mean(axis=1, keepdims=True)) / spectra.std(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("convert", "meaning"),
    [
        (lambda x: 10.0**-x, "reflectance or transmittance, where the calibration has absorbance"),
        (lambda x: 100.0 * 10.0**-x, "reflectance or transmittance in percent"),
        (lambda x: 1000.0 * x, "the same signal a thousand times as large"),
        (lambda x: 0.01 * x, "the same signal as a fraction"),
        (snv, "centred or SNV-corrected"),
        (lambda x: np.gradient(x, axis=1), "a first derivative"),
        (lambda x: np.gradient(np.gradient(x, axis=1), axis=1), "a second derivative"),
        (lambda x: x[:, ::-1], "the same signal on a reversed axis"),
        (lambda x: -x, "the same signal with inverted sign"),
        (lambda x: 40_000.0 * 10.0**-x, "level"),
    ],
)
def test_another_kind_of_signal_is_reported(convert, meaning: str) -> None:
    embedder = SpectralEmbedder(readout="mean", wavelengths=NM).fit(X)
    with pytest.warns(
        UserWarning, match=f"of 30 spectra, first row 0, are another kind of signal .*{meaning}"
    ) as messages:
        assert np.isfinite(embedder.transform(convert(NEW))).all()
    assert len(messages) == 1


def test_the_same_kind_of_signal_is_not_reported() -> None:
    reflectance = 10.0**-X
    for calibration, new in (
        (X, NEW),
        (reflectance, 10.0**-NEW),
        (snv(X), snv(NEW)),
        (100 * reflectance, 100 * 10.0**-NEW),
    ):
        kind = SignalKind.fit(calibration)
        assert kind is not None
        assert not kind.strange(new).any()
        # Another sample thickness or day, or a drift.
        assert not kind.strange(1.3 * new).any()
    assert SignalKind.fit(X[:3]) is None
    absorbance = SignalKind.fit(10.0**-X)
    assert absorbance is not None
    assert "absorbance, where the calibration has reflectance" in absorbance.explanation(NEW)


def test_one_odd_spectrum_is_named() -> None:
    embedder = SpectralEmbedder(readout="mean", wavelengths=NM).fit(X)
    mixed = NEW.copy()
    mixed[4] = 10.0 ** -NEW[4]
    with pytest.warns(UserWarning, match="1 of 30 spectra, first row 4, are another kind"):
        embedder.transform(mixed)


@pytest.mark.parametrize("fill", [-9999.0, -999.0, -1.23e34, 9.973e23, 9.96921e36, 1e300, -3.4e38])
@pytest.mark.parametrize("place", [(3, 70), (slice(None), slice(190, None)), (3, slice(5, 60))])
def test_fill_values_are_refused(fill: float, place: tuple) -> None:
    spoilt = X.copy()
    spoilt[place] = fill
    row, column = np.argwhere(spoilt == fill)[0]
    with pytest.raises(SpectralInputError, match=rf"at row {row}, {NM[column]:g} nm.*NaN") as caught:
        check_values(spoilt, NM)
    assert f"{fill:g}" in str(caught.value)


def test_real_signals_are_no_fill_values() -> None:
    counts = np.round(40_000 * 10.0**-X)
    saturated = counts.copy()
    saturated[:, 50:60] = 65_535
    dark = counts.copy()
    dark[:, :20] = 0.0
    # Bands that decay to zero, derivatives, a cosmic-ray spike, negative absorbances.
    narrow = np.exp(-(((NM - 1940) / np.array([[40.0], [60.0]])) ** 2))
    spike = X.copy()
    spike[2, 17] = 40.0
    for values in (
        counts,
        saturated,
        dark,
        narrow,
        np.gradient(X, axis=1),
        spike,
        X - 1.0,
        np.zeros((2, 200)),
        1e-12 * X,
    ):
        check_values(values, NM)


def test_infinity_and_mostly_missing_rows_are_refused() -> None:
    spoilt = X.copy()
    spoilt[3, 7] = np.inf
    with pytest.raises(SpectralInputError, match=r"inf at row 13, 1149.18 nm"):
        check_values(spoilt, NM, first_row=10)
    spoilt[3, 7] = np.nan
    check_values(spoilt, NM)
    spoilt[3, :101] = np.nan
    with pytest.raises(SpectralInputError, match="NaN at row 3: 50% of its points are missing, more than half"):
        check_values(spoilt, NM)


def test_constant_rows_are_named_and_finite() -> None:
    spoilt = NEW.copy()
    spoilt[[5, 9]] = 0.0
    spoilt[9, 20] = np.nan
    embedder = SpectralEmbedder(wavelengths=NM).fit(X)
    with pytest.warns(UserWarning, match=r"2 of 30 spectra hold no signal.*: rows 5, 9\. .*measure them again"):
        assert np.isfinite(embedder.transform(spoilt)).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embedder.transform(NEW)


NOISE = np.random.default_rng(0).normal(0.0, 3e-4, NM.size)
DEAD = {"zero": np.zeros(NM.size), "constant": np.full(NM.size, 0.4), "noise": NOISE, "dark": 0.02 + NOISE}


@pytest.mark.parametrize("kind", DEAD)
def test_a_dead_spectrum_does_not_count_in_fit(kind: str) -> None:
    """It does not affect the novelty limits either; warnings name it in fit and transform."""
    settings = {"readout": "mean", "robust": True, "on_outlier": "warn", "wavelengths": NM}
    alone = SpectralEmbedder(**settings).fit(np.delete(X, 7, axis=0))
    spoilt = X.copy()
    spoilt[7] = DEAD[kind]
    with pytest.warns(UserWarning, match=r"1 of 40 spectra hold no signal.*: row 7\. Drop them") as messages:
        embedder = SpectralEmbedder(**settings).fit(spoilt)
    assert len(messages) == 1
    np.testing.assert_allclose(embedder.transform(NEW), alone.transform(NEW), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(embedder.alignment_.mean, alone.alignment_.mean)
    np.testing.assert_allclose(embedder.novelty_.q_limit, alone.novelty_.q_limit, rtol=1e-6)
    np.testing.assert_allclose(embedder.calibration_space_.mean, alone.calibration_space_.mean, atol=1e-5)
    assert embedder.signal_.size == alone.signal_.size
    fresh = NEW.copy()
    fresh[[2, 11]] = DEAD[kind]
    with pytest.warns(
        UserWarning, match=r"2 of 30 spectra hold no signal.*: rows 2, 11\. Their predictions"
    ) as messages:
        embedder.set_params(on_outlier="ignore").transform(fresh)
    assert len(messages) == 1


def test_a_dead_spectrum_leaves_calibrations_as_they_are() -> None:
    """Regression: one zero spectrum among 60 multiplied the error of the ridge."""
    rng = np.random.default_rng(1)
    calibration, fresh = make_spectra(NM, 60, 0), make_spectra(NM, 60, 1)
    y, expected = (x[:, 120] - x[:, 60] + 0.3 * x[:, 170] for x in (calibration, fresh))
    spoilt = calibration.copy()
    spoilt[7] = 0.0
    errors = []
    for values in (calibration, spoilt):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            predicted = (
                make_spectral_pipeline("ridge", NM).fit(values + rng.normal(0, 1e-4, values.shape), y).predict(fresh)
            )
        errors.append(float(np.sqrt(np.mean((predicted - expected) ** 2))))
    assert errors[1] < 1.5 * errors[0]


def test_dead_rows_with_missing_points_and_different_axes() -> None:
    spoilt = X.copy()
    spoilt[7] = NOISE
    spoilt[7:9, 30:40] = np.nan
    with pytest.warns(UserWarning, match=r"1 of 40 spectra hold no signal.*: row 7\. Drop"):
        embedder = SpectralEmbedder(readout="mean", wavelengths=NM).fit(spoilt)
    alone = SpectralEmbedder(readout="mean", wavelengths=NM).fit(np.delete(spoilt, 7, axis=0))
    np.testing.assert_allclose(embedder.alignment_.mean, alone.alignment_.mean, rtol=1e-12)
    assert dead_rows([Spectra(row[np.newaxis], NM) for row in spoilt]).nonzero()[0].tolist() == [7]


def test_weak_spectra_are_not_dead_and_sets_of_dead_spectra_are_accepted() -> None:
    weak = X.copy()
    weak[3] *= 1e-3
    assert not dead_rows([Spectra(weak, NM)]).any()
    assert not dead_rows([Spectra(X * 1e-200, NM)]).any()
    assert living_rows([Spectra(np.zeros((4, 200)), NM)]).tolist() == [0, 1, 2, 3]
    assert living_rows([Spectra(np.vstack([np.zeros((3, 200)), X[:1]]), NM)]).tolist() == [0, 1, 2, 3]
    with pytest.warns(
        UserWarning, match=r"12 of 12 spectra hold no signal.*: rows 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, \.\.\."
    ):
        z = SpectralEmbedder(wavelengths=NM).fit_transform(np.full((12, 200), 0.3))
    assert np.isfinite(z).all()
