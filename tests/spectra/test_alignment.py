"""Spectra on other axes, and missing points."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline

from nirs4all_vit import SpectralAxisError, SpectralAxisWarning, SpectralEmbedder, SpectralNovelty
from nirs4all_vit.spectra.alignment import Alignment, fill_missing
from nirs4all_vit.spectra.data import Spectra

NM = np.linspace(1100.0, 2300.0, 241)


def material(n: int, nm: np.ndarray = NM, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy spectra of three bands on a baseline (n, L), and the first content (n,)."""
    generator = np.random.default_rng(seed)
    content = generator.uniform(0.2, 1.0, (n, 3))
    bands = np.exp(-(((nm - np.array([1450.0, 1730.0, 2100.0])[:, None]) / np.array([60.0, 40.0, 80.0])[:, None]) ** 2))
    baseline = generator.uniform(0.2, 0.5, (n, 1)) + generator.uniform(-1, 1, (n, 1)) * (nm - 1700) / 6000
    return content @ bands + baseline + 3e-4 * generator.normal(size=(n, nm.size)), content[:, 0]


X, Y = material(80)
X_NEW, Y_NEW = material(60, seed=1)


@pytest.fixture(scope="module")
def fitted() -> tuple[Alignment, SpectralEmbedder, object]:
    alignment, _ = Alignment.fit([Spectra(X, NM)])
    model = make_pipeline(SpectralEmbedder(), RidgeCV(np.logspace(-3, 6, 30))).fit(
        X, Y, spectralembedder__wavelengths=NM
    )
    return alignment, model[0], model[1]


def rms(a: np.ndarray, b: np.ndarray | float = 0.0) -> float:
    return float(np.sqrt(np.mean(np.square(a - b))))


def test_spectra_on_the_axis_are_unchanged(fitted) -> None:
    alignment = fitted[0]
    aligned, filled = alignment.align([Spectra(X_NEW, NM)])
    assert aligned.values is X_NEW
    assert not filled.any()
    nearly, filled = alignment.align([Spectra(X_NEW, NM + 1e-4)])
    assert nearly.values is X_NEW
    assert not filled.any()


@pytest.mark.parametrize(
    ("index", "share", "largest_error"),
    [
        (np.arange(1, 241), 1 / 241, 2e-3),
        (np.arange(0, 229), 12 / 241, 5e-3),
        (np.arange(48, 241), 48 / 241, 1e-2),
        (np.r_[0:100, 124:241], 24 / 241, 6e-3),
        (np.arange(0, 241, 2), 0.0, 1e-3),
    ],
    ids=["one point", "5 %", "20 %", "gap", "every second"],
)
def test_missing_ranges_are_filled_in(fitted, index: np.ndarray, share: float, largest_error: float) -> None:
    aligned, filled = fitted[0].align([Spectra(X_NEW[:, index], NM[index])])
    np.testing.assert_allclose(filled, share)
    assert rms(aligned.values, X_NEW) < largest_error
    # Measured points are unchanged.
    np.testing.assert_array_equal(aligned.values[:, index], X_NEW[:, index])


def test_predictions_hold_if_the_axis_cuts_a_band(fitted) -> None:
    _, embedder, head = fitted
    error = rms(head.predict(embedder.transform(X_NEW)), Y_NEW)
    assert error < 0.05
    for index in (np.arange(1, 241), np.arange(0, 240), np.arange(12, 241), np.arange(0, 229), np.r_[0:110, 130:241]):
        cut = head.predict(embedder.transform(X_NEW[:, index], wavelengths=NM[index]))
        assert rms(cut, Y_NEW) < 1.3 * error


def test_other_samplings_change_little(fitted) -> None:
    alignment = fitted[0]
    exact = material(60, NM, seed=1)[0] - X_NEW
    assert not exact.any()
    smooth = make_smooth(60)
    truth = smooth(NM)
    for axis in (
        NM[:-1] + 2.5,
        np.linspace(1100, 2300, 2401),
        np.linspace(1090, 2310, 150),
        1e7 / np.linspace(9100, 4340, 400),
    ):
        aligned, _ = alignment.align([Spectra(smooth(axis)[:, np.argsort(axis)], np.sort(axis))])
        assert rms(aligned.values, truth) < 2e-3


def make_smooth(n: int):
    generator = np.random.default_rng(5)
    content = generator.uniform(0.2, 1.0, (n, 3))

    def at(nm: np.ndarray) -> np.ndarray:
        centres, widths = np.array([1450.0, 1730.0, 2100.0])[:, None], np.array([60.0, 40.0, 80.0])[:, None]
        return content @ np.exp(-(((nm - centres) / widths) ** 2)) + 0.3

    return at


def test_a_finer_axis_is_averaged(fitted) -> None:
    fine = np.linspace(1100, 2300, 2401)
    smooth = make_smooth(60)
    noise = 5e-3 * np.random.default_rng(0).normal(size=(60, 2401))
    aligned, _ = fitted[0].align([Spectra(smooth(fine) + noise, fine)])
    # Ten points are averaged into one.
    assert rms(aligned.values, smooth(NM)) < 5e-3 / 2.5


def test_a_row_depends_on_its_spectrum_alone(fitted) -> None:
    embedder = fitted[1]
    index = np.arange(9, 230)
    holes = X_NEW.copy()
    holes[::3, 40:44] = np.nan
    holes[5, 100] = np.nan
    for values, axis in ((X_NEW[:, index], NM[index]), (holes, NM)):
        together = embedder.transform(values, wavelengths=axis)
        order = np.random.default_rng(0).permutation(len(values))
        np.testing.assert_array_equal(embedder.transform(values[order], wavelengths=axis), together[order])
        np.testing.assert_array_equal(embedder.transform(values[7:8], wavelengths=axis), together[7:8])


def test_nan_is_a_missing_point(fitted) -> None:
    _, embedder, head = fitted
    holes = X_NEW.copy()
    holes[np.arange(60)[:, None], np.random.default_rng(0).integers(0, 241, (60, 3))] = np.nan
    plain = head.predict(embedder.transform(X_NEW))
    assert rms(head.predict(embedder.transform(holes)), plain) < 0.02
    # The same in fit.
    model = make_pipeline(SpectralEmbedder(wavelengths=NM), RidgeCV(np.logspace(-3, 6, 30)))
    with_holes = X.copy()
    with_holes[np.arange(80)[:, None], np.random.default_rng(1).integers(0, 241, (80, 3))] = np.nan
    assert rms(model.fit(with_holes, Y).predict(X_NEW), plain) < 0.02
    frame = pd.DataFrame(np.ma.masked_invalid(holes), columns=NM)
    np.testing.assert_array_equal(embedder.transform(frame), embedder.transform(holes))
    np.testing.assert_array_equal(embedder.transform(np.ma.masked_invalid(holes)), embedder.transform(holes))


def test_mostly_missing_columns_are_left_out() -> None:
    holes = X.copy()
    holes[:, 60:64] = np.nan
    holes[:50, 64] = np.nan
    embedder = SpectralEmbedder(wavelengths=NM[::-1])
    with pytest.warns(SpectralAxisWarning, match="5 wavelengths are missing in more than half .*: 1400, 1405, .* nm"):
        embedder.fit(holes[:, ::-1])
    assert embedder.alignment_.wavelengths.size == 236
    assert embedder.n_features_in_ == 241
    # Later measurements at these wavelengths have no effect.
    filled = np.where(np.isnan(holes), 0.5, holes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(embedder.transform(holes[50:, ::-1]), embedder.transform(filled[50:, ::-1]))


def test_an_axis_for_each_spectrum() -> None:
    generator = np.random.default_rng(3)
    axes = [
        np.linspace(1100 + a, 2300 + b, n)
        for a, b, n in zip(*generator.uniform(-9, 9, (2, 80)), generator.integers(200, 300, 80), strict=True)
    ]
    rows, y = zip(*(material(1, axis, seed=100 + i) for i, axis in enumerate(axes)), strict=True)
    rows, y = [row[0] for row in rows], np.concatenate(y)
    model = make_pipeline(SpectralEmbedder(), RidgeCV(np.logspace(-3, 6, 30)))
    model.fit(rows[:60], y[:60], spectralembedder__wavelengths=axes[:60])
    predicted = model[-1].predict(model[0].transform(rows[60:], wavelengths=axes[60:]))
    assert rms(predicted, y[60:]) < 0.1
    axis = model[0].alignment_.wavelengths
    assert 1100 <= axis[0] < 1110
    assert 2285 < axis[-1] <= 2300
    with pytest.raises(SpectralAxisError, match=r"no range in common: .* set align=False"):
        SpectralEmbedder().fit([X[0], X[1]], wavelengths=[NM, NM / 2.5])


def test_an_even_axis_in_wavenumbers_has_no_gaps() -> None:
    nm = np.arange(800.0, 2500.0)
    grid = np.sort(1e7 / np.arange(4000.1, 12_499.0, 8.0))
    spectra, _ = material(40, nm)
    alignment, _ = Alignment.fit([Spectra(spectra, nm)])
    resampled = np.stack([np.interp(grid, nm, row) for row in spectra])
    _, filled = alignment.align([Spectra(resampled, grid)])
    assert filled.max() < 0.002
    # Four adjacent dead channels are a gap.
    _, filled = alignment.align(
        [Spectra(np.delete(resampled, slice(500, 504), axis=1), np.delete(grid, slice(500, 504)))]
    )
    assert 0.001 < filled.max() < 0.02


def test_much_filling_warns_and_too_much_is_refused(fitted) -> None:
    embedder = fitted[1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embedder.transform(X_NEW[:, 4:], wavelengths=NM[4:])
    message = "row 0 covers 1250 to 2300 nm, the calibration covers 1100 to 2300 nm: 12% of it is filled in"
    with pytest.warns(SpectralAxisWarning, match=message):
        embedder.transform(X_NEW[:, 30:], wavelengths=NM[30:])
    with pytest.raises(
        SpectralAxisError, match=r"1100 to 1650 nm, .*: 54% of it would have to be filled in, more than 50%"
    ):
        embedder.transform(X_NEW[:, :111], wavelengths=NM[:111])
    with pytest.raises(SpectralAxisError, match=r"row 0 covers 1100 to 2300 nm with gaps, .*: 9[0-9]% of it would"):
        embedder.transform(X_NEW[:, [0, 120, -1]], wavelengths=NM[[0, 120, -1]])
    with pytest.raises(SpectralAxisError, match=r"no wavelength in common. Check the axis and its unit"):
        embedder.transform(X_NEW, wavelengths=NM + 1300)
    with pytest.warns(SpectralAxisWarning, match="points are 25 nm apart, 5 nm in the calibration"):
        embedder.transform(X_NEW[:, ::5], wavelengths=NM[::5])
    strict = SpectralEmbedder(max_filled=0.05, wavelengths=NM).fit(X)
    with pytest.raises(SpectralAxisError, match="more than 5%"):
        strict.transform(X_NEW[:, 20:], wavelengths=NM[20:])


def test_without_alignment_each_spectrum_is_embedded_on_its_own_range() -> None:
    embedder = SpectralEmbedder(align=False, adapt=False, wavelengths=NM).fit(X)
    cut = embedder.transform(X_NEW[:, 50:], wavelengths=NM[50:])
    again = SpectralEmbedder(adapt=False).fit_transform(X_NEW[:, 50:], wavelengths=NM[50:])
    np.testing.assert_allclose(cut, again, rtol=1e-5, atol=1e-4)
    holes = X_NEW.copy()
    holes[:, 100] = np.nan
    present = np.delete(np.arange(241), 100)
    without = embedder.transform(X_NEW[:, present], wavelengths=NM[present])
    np.testing.assert_allclose(embedder.transform(holes), without, rtol=1e-4, atol=1e-3)


def test_degenerate_spectra_are_finite() -> None:
    for values, axis in (
        (np.ones((1, 5)), NM[:5]),
        (np.full((4, 2), 0.3), NM[:2]),
        (X[:2], NM),
        (np.repeat(X[:1], 9, 0), NM),
    ):
        alignment, _ = Alignment.fit([Spectra(values, axis)])
        aligned, _ = alignment.align([Spectra(values[:, 1:], axis[1:])])
        assert np.isfinite(aligned.values).all()
    single, _ = Alignment.fit([Spectra(X[:, :1], NM[:1])])
    aligned, filled = single.align([Spectra(X[:, :3], NM[:3] - 4.0)])
    assert np.isfinite(aligned.values).all()
    assert not filled.any()


def test_pickles_are_small_and_give_the_same(fitted) -> None:
    alignment = fitted[0]
    index = np.arange(7, 241)
    expected = alignment.align([Spectra(X_NEW[:, index], NM[index])])[0].values
    content = pickle.dumps(alignment)
    np.testing.assert_array_equal(
        pickle.loads(content).align([Spectra(X_NEW[:, index], NM[index])])[0].values, expected
    )
    nm = np.linspace(350, 2500, 10_000)
    large, _ = Alignment.fit([Spectra(material(100, nm)[0], nm)])
    assert len(pickle.dumps(large)) < 1_000_000


def test_novelty_accepts_the_inputs_of_the_embedder() -> None:
    detector = SpectralNovelty(wavelengths=NM).fit(X)
    holes = X_NEW.copy()
    holes[:, 77] = np.nan
    assert (detector.predict(holes) == detector.predict(X_NEW)).mean() > 0.9
    assert (detector.predict(X_NEW[:, 5:], wavelengths=NM[5:]) == 1).mean() > 0.85
    assert detector.bank_scores(holes) == pytest.approx(detector.bank_scores(X_NEW), abs=0.2)


def test_fill_missing_drops_mostly_missing_wavelengths() -> None:
    holes = X.astype(np.float32)
    holes[:, 3] = np.nan
    holes[2, 100:105] = np.nan
    values, axis = fill_missing(holes, NM)
    assert values.dtype == np.float32
    assert values.shape == (80, 240)
    assert axis.size == 240
    assert rms(values[2, 99:104], X[2, 100:105]) < 2e-3
