"""A failed fit leaves an estimator unchanged; fitted state is not mixed with parameters that were set later."""

from __future__ import annotations

import numpy as np
import pytest

from nirs4all_vit import SpectralEmbedder, SpectralNovelty
from nirs4all_vit.errors import CheckpointError
from nirs4all_vit.finetuning import SpectralRegressor
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
    with pytest.raises(ValueError, match="at least 10 samples are needed"):
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


CHANGES = {
    "checkpoint": "/moved.safetensors",
    "readout": "cls",
    "adapt": False,
    "robust": True,
    "align": False,
    "max_filled": 0.1,
    "append_spectra": True,
    "wavelengths": HERE + 5.0,
    "axis_unit": "cm-1",
    "batch_size": 8,
    "device": "cpu",
    "cache": True,
    "on_outlier": "warn",
    "metadata": {"mode": "absorbance"},
}
#: Read when spectra are embedded, and of no effect on what was fitted.
RUNTIME = {"adapt", "max_filled", "axis_unit", "batch_size", "device", "cache"}


@pytest.mark.parametrize("name", CHANGES)
def test_parameters_that_are_set_after_fit(name: str) -> None:
    """The embedding is the fitted one, or the error names the parameter; `wavelengths` are those of new spectra."""
    assert set(CHANGES) == set(SpectralEmbedder().get_params())
    embedder = SpectralEmbedder(readout="mean").fit(X, wavelengths=HERE)
    before = embedder.transform(X)
    embedder.set_params(**{name: CHANGES[name]})
    if name in RUNTIME:
        np.testing.assert_array_equal(embedder.transform(X), before)
    elif name == "wavelengths":
        fresh = SpectralEmbedder(readout="mean").fit(X, wavelengths=HERE)
        np.testing.assert_array_equal(embedder.transform(X), fresh.transform(X, wavelengths=HERE + 5.0))
        assert not np.array_equal(embedder.transform(X), before)
    else:
        with pytest.raises(ValueError, match=name if name != "checkpoint" else "/moved") as error:
            embedder.transform(X)
        assert "\n" not in str(error.value)
    if name == "readout":
        for call in (embedder.adapt_to, embedder.transform):
            with pytest.raises(
                ValueError, match="was fitted with readout='mean', and has readout='cls' now; fit it again, or set"
            ):
                call(X)
    assert embedder.set_params(**SpectralEmbedder(readout="mean").get_params()) is embedder
    np.testing.assert_array_equal(embedder.transform(X), before)


@pytest.mark.parametrize("name", ["robust", "append_spectra"])
def test_parameters_that_are_unset_after_fit(name: str) -> None:
    embedder = SpectralEmbedder(readout="mean", **{name: True}).fit(X, wavelengths=HERE).set_params(**{name: False})
    with pytest.raises(ValueError, match=f"was fitted with {name}=True, and has {name}=False now"):
        embedder.transform(X)


@pytest.mark.parametrize("settings", [{"batch_size": 0}, {"cache": 3}, {"max_filled": 2.0}, {"on_outlier": "cry"}])
def test_parameters_that_cannot_be_are_refused_after_fit(settings: dict) -> None:
    embedder = SpectralEmbedder(readout="mean").fit(X, wavelengths=HERE).set_params(**settings)
    with pytest.raises(ValueError, match=next(iter(settings))):
        embedder.transform(X)


@pytest.mark.filterwarnings("ignore:.*stays as it was pretrained")
def test_the_readout_of_a_tuned_encoder() -> None:
    model = SpectralRegressor(readout="mean", max_steps=1, batch_size=8, wavelengths=HERE).fit(X, Y)
    with pytest.raises(ValueError, match="SpectralRegressor was fitted with readout='mean', and has readout='cls' now"):
        model.set_params(readout="cls").predict(X)
