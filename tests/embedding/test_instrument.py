"""A second instrument, told by its spectra alone."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from nirs4all_vit import SpectralEmbedder, SpectralInputError, adapt_to, second_instrument
from nirs4all_vit.cli import main
from nirs4all_vit.diagnostics.importance import input_gradients
from nirs4all_vit.embedding.instrument import CalibrationSpace, InstrumentShift
from nirs4all_vit.spectra.data import Spectra

NM = np.linspace(1100.0, 2300.0, 241)
PENALTIES = np.logspace(-3, 6, 30)


def samples(n: int, seed: int, low: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Spectra of three bands (n, L) and the content of the first (n,), above `low`."""
    generator = np.random.default_rng(seed)
    content = generator.uniform(0.0, 1.0, (n, 3))
    content[:, 0] = generator.uniform(low, 1.0, n)
    bands = np.exp(-(((NM - np.array([1450.0, 1730.0, 2100.0])[:, None]) / np.array([60.0, 40.0, 80.0])[:, None]) ** 2))
    return content @ bands + 0.3 + 5e-4 * generator.normal(size=(n, NM.size)), content[:, 0]


def on_second(X: np.ndarray) -> np.ndarray:
    """The same samples on an instrument with an offset of its own, another slope and stray bands."""
    stray = 0.15 * np.exp(-(((NM - 1550.0) / 50.0) ** 2)) - 0.1 * np.exp(-(((NM - 1990.0) / 70.0) ** 2))
    return 1.05 * X + stray + 2e-5 * (NM - 1700.0)


X, Y = samples(120, 0)
OTHERS, TEST_Y = on_second(samples(30, 1)[0]), samples(100, 2)[1]
TEST = on_second(samples(100, 2)[0])


@pytest.fixture(scope="module")
def model():
    return make_pipeline(SpectralEmbedder(wavelengths=NM), RidgeCV(PENALTIES)).fit(X, Y)


def error(model, spectra: np.ndarray = TEST, y: np.ndarray = TEST_Y) -> float:
    return float(np.sqrt(np.mean((model.predict(spectra) - y) ** 2)))


def test_unlabelled_spectra_of_others_bring_most_of_it_back(model) -> None:
    before, adapted = error(model), adapt_to(model, OTHERS)
    # What is left is what thirty others tell of the mean.
    assert error(adapted) < 0.75 * before
    # The model itself stays.
    assert error(model) == before
    assert model[0].instrument_shift_ is None


def test_spectra_of_another_population_do_no_harm(model) -> None:
    spectra, y = samples(130, 3, low=0.5)
    spectra = on_second(spectra)
    adapted = adapt_to(model, spectra[:30])
    assert error(adapted, spectra[30:], y[30:]) < 0.9 * error(model, spectra[30:], y[30:])


@pytest.mark.parametrize("low", [0.0, 0.5])
def test_the_calibrations_own_instrument_is_left_alone(model, low: float) -> None:
    spectra, _ = samples(30, 4, low)
    embedder = copy.deepcopy(model[0])
    expected = embedder.transform(TEST)
    with pytest.warns(UserWarning, match="differ from the calibration's by no more than the samples of one instrument"):
        assert embedder.adapt_to(spectra) is embedder
    np.testing.assert_array_equal(embedder.transform(TEST), expected)


def test_a_block_of_code_for_models_out_of_reach(model) -> None:
    search = GridSearchCV(model, {"ridgecv__fit_intercept": [True]}, cv=3).fit(X, Y)
    adapted = adapt_to(search, OTHERS)
    before = search.predict(TEST)
    with second_instrument(OTHERS):
        within = search.predict(TEST)
        np.testing.assert_array_equal(search.predict(TEST), within)
    np.testing.assert_allclose(within, adapted.predict(TEST), rtol=1e-6)
    np.testing.assert_array_equal(search.predict(TEST), before)
    assert np.abs(within - before).max() > 0.01


def test_a_fit_within_the_block_starts_anew() -> None:
    pipeline = make_pipeline(SpectralEmbedder(wavelengths=NM), RidgeCV(PENALTIES))
    with second_instrument(OTHERS):
        first = pipeline.fit(X, Y).predict(TEST)
        pipeline.fit(on_second(X), Y)
        with pytest.warns(UserWarning, match="no more than the samples of one instrument"):
            second = pipeline.predict(TEST)
    np.testing.assert_array_equal(second, pipeline.predict(TEST))
    assert np.abs(first - second).max() > 0.01


def test_a_block_that_adapts_nothing_says_so(model) -> None:
    with pytest.warns(UserWarning, match="nothing was adapted"), second_instrument(OTHERS):
        model[1].predict(model[0].instrument_shift_ is None and np.zeros((1, model[1].n_features_in_)))


@pytest.mark.xbank
@pytest.mark.parametrize("name", ["corn_m5", "tecator_meat"])
def test_samples_beyond_the_calibration_are_not_another_instrument(name: str, x_bank) -> None:
    spectra = pd.read_csv(x_bank / f"{name}.csv")
    order = np.argsort(pd.read_csv(x_bank.parent / "y_bank" / f"{name}.csv").select_dtypes(float).iloc[:, 0].to_numpy())
    half = len(order) // 2
    embedder = SpectralEmbedder().fit(spectra.iloc[order[:half]])
    with pytest.warns(UserWarning, match="no more than|the difference may come from the samples"):
        embedder.adapt_to(spectra.iloc[order[half : half + 30]])


def test_other_axes_clones_pickles_and_a_new_fit(model) -> None:
    embedder = copy.deepcopy(model[0])
    cut = NM[4:-3]
    embedder.adapt_to(OTHERS[:, 4:-3], wavelengths=cut)
    assert model[1].predict(embedder.transform(TEST)) == pytest.approx(adapt_to(model, OTHERS).predict(TEST), abs=0.05)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(embedder)).transform(TEST), embedder.transform(TEST))
    together = embedder.transform(TEST)
    np.testing.assert_array_equal(embedder.transform(TEST[7:9]), together[7:9])
    assert embedder.fit(X).instrument_shift_ is None


def test_gradients_follow(model) -> None:
    adapted = adapt_to(model, np.concatenate([OTHERS, 1.4 * OTHERS]))
    assert len(adapted[0].instrument_shift_.loss)
    slopes = input_gradients(adapted[0], Spectra(TEST, NM), adapted[1].coef_)
    step = 1e-4 * np.random.default_rng(0).normal(size=NM.size).cumsum() / 10
    moved = adapted.predict(TEST + step) - adapted.predict(TEST - step)
    np.testing.assert_allclose(moved, 2 * slopes @ step, rtol=0.05, atol=0.02 * np.abs(moved).max())


def test_what_cannot_be_is_said(model) -> None:
    with pytest.raises(ValueError, match="4 spectra of the second instrument are too few; give 5 or more"):
        adapt_to(model, OTHERS[:4])
    with pytest.raises(SpectralInputError, match="copies of one another"):
        adapt_to(model, np.repeat(OTHERS[:3], 10, axis=0))
    with pytest.raises(ValueError, match="Pipeline holds no fitted SpectralEmbedder"):
        adapt_to(make_pipeline(SpectralEmbedder(), RidgeCV()), OTHERS)
    with pytest.raises(ValueError, match="RidgeCV holds no fitted"):
        adapt_to(model[1], OTHERS)


def test_degenerate_calibrations_are_finite() -> None:
    for Z in (np.zeros((1, 40), np.float32), np.ones((6, 40), np.float32), np.eye(3, 40, dtype=np.float32)):
        space = CalibrationSpace.fit(Z)
        new = np.random.default_rng(0).normal(size=(8, 40)).astype(np.float32)
        assert np.isfinite(InstrumentShift.fit(space, new).apply(new.copy())).all()


def test_the_calibration_space_is_small(model) -> None:
    assert len(pickle.dumps(model[0].calibration_space_)) < 350_000


def test_on_the_command_line(model, tmp_path) -> None:
    paths = {}
    for name, spectra in (("a", X), ("others", OTHERS), ("new", TEST)):
        paths[name] = tmp_path / f"{name}.npy"
        np.save(paths[name], spectra)
    np.save(tmp_path / "nm.npy", NM)
    command = ["embed", str(paths["new"]), "-o", str(tmp_path / "z.npy"), "--wavelengths", str(tmp_path / "nm.npy")]
    assert main([*command, "--calibration", str(paths["a"]), "--second-instrument", str(paths["others"])]) == 0
    expected = copy.deepcopy(model[0]).adapt_to(OTHERS).transform(TEST)
    np.testing.assert_allclose(np.load(tmp_path / "z.npy"), expected, rtol=1e-4, atol=1e-3)
    assert main([*command, "--second-instrument", str(paths["others"])]) == 1


def test_nothing_warns_on_sound_spectra(model) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        adapt_to(model, OTHERS).predict(TEST)
