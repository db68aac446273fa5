"""Whether values are spectra, and of the calibration's kind."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from nirs4all_vit import SpectralEmbedder, SpectralInputError
from nirs4all_vit.spectra.signal import SignalKind, check_values
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
        (lambda x: -x, "the same signal with its sign turned"),
        (lambda x: 40_000.0 * 10.0**-x, "level"),
    ],
)
def test_another_kind_of_signal_is_said(convert, meaning: str) -> None:
    embedder = SpectralEmbedder(readout="mean", wavelengths=NM).fit(X)
    with pytest.warns(
        UserWarning, match=f"of 30 spectra, first row 0, are another kind of signal .*{meaning}"
    ) as messages:
        assert np.isfinite(embedder.transform(convert(NEW))).all()
    assert len(messages) == 1


def test_the_same_kind_is_not() -> None:
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
        # Another sample thickness, a drift, another day.
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
    # Bands that go to nothing, derivatives, a spike of a cosmic ray, negative absorbances.
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


def test_infinity_and_rows_that_miss_too_much_are_refused() -> None:
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
    with pytest.warns(UserWarning, match=r"row 5 is constant \(0 at all wavelengths\).* 2 such rows"):
        assert np.isfinite(embedder.transform(spoilt)).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embedder.transform(NEW)
