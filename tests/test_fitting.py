"""A fit that fails leaves every estimator as it was."""

from __future__ import annotations

import numpy as np
import pytest

from nirs4all_vit import SpectralEmbedder, SpectralNovelty
from nirs4all_vit.errors import CheckpointError
from nirs4all_vit.heads import CrossConformalRegressor, make_head, make_spectral_pipeline
from nirs4all_vit.spectra.standardisation import InstrumentStandardiser
from tests.conftest import make_spectra

HERE, THERE = np.linspace(1100.0, 2498.0, 50), np.linspace(900.0, 1700.0, 50)
X = make_spectra(HERE, 40)
Y = X[:, 20] - X[:, 30]


def test_the_embedder() -> None:
    embedder = SpectralEmbedder(readout="mean").fit(X, wavelengths=HERE)
    before = embedder.transform(X)
    with pytest.raises(CheckpointError):
        embedder.set_params(checkpoint="/moved.safetensors").fit(X, wavelengths=THERE)
    np.testing.assert_array_equal(embedder.set_params(checkpoint="nirs-base-v2").transform(X), before)


def test_novelty() -> None:
    detector = SpectralNovelty().fit(X, wavelengths=HERE)
    before = detector.score_samples(X)
    with pytest.raises(ValueError, match="10 are the fewest"):
        detector.fit(X[:5], wavelengths=THERE)
    np.testing.assert_array_equal(detector.score_samples(X), before)


@pytest.mark.parametrize("name", ["committee", "ridge", "pls", "svr"])
def test_heads_and_pipelines(name: str) -> None:
    spoilt = np.where(np.arange(40) == 7, np.inf, Y)
    for estimator in (make_head(name), make_spectral_pipeline(name, wavelengths=HERE)):
        before = estimator.fit(X, Y).predict(X)
        # The embedder has been fitted by the time that the head refuses the values.
        with pytest.raises(ValueError, match=r"infinity|inf"):
            estimator.fit(X[::-1] * 3.0, spoilt)
        np.testing.assert_array_equal(estimator.predict(X), before)


def test_several_targets() -> None:
    head = make_head("ridge").fit(X, np.column_stack([Y, np.where(np.arange(40) < 3, np.nan, Y)]))
    before = head.predict(X)
    with pytest.raises(ValueError, match="measured on 1 samples"):
        head.fit(X, np.column_stack([Y, np.where(np.arange(40) > 0, np.nan, Y)]))
    np.testing.assert_array_equal(head.predict(X), before)


def test_intervals() -> None:
    regressor = CrossConformalRegressor(make_head("ridge"), cv=4).fit(X, Y)
    before = regressor.predict_interval(X)
    with pytest.raises(ValueError, match=r"(is|are) for one target"):
        regressor.fit(X, np.column_stack([Y, Y]))
    np.testing.assert_array_equal(regressor.predict_interval(X), before)


def test_standardisation() -> None:
    standardiser = InstrumentStandardiser().fit(1.02 * X + 0.01, X_source=X)
    before = standardiser.transform(X)
    with pytest.raises(ValueError, match=r"5.*40|40.*5|same"):
        standardiser.fit(X[:5], X_source=X)
    np.testing.assert_array_equal(standardiser.transform(X), before)
