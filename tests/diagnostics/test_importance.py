"""Where models look: a planted band is found, gradients are slopes, windows lie where they should."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import GammaRegressor, Ridge, RidgeCV
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from nirs4all_vit import SpectralEmbedder
from nirs4all_vit.diagnostics import wavelength_importance
from nirs4all_vit.diagnostics.importance import input_gradients
from nirs4all_vit.heads import make_head, make_spectral_pipeline

NM = np.linspace(1100.0, 2300.0, 300)


def planted(centre: float, n: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Strong bands that say nothing, a weak one at `centre` that says all, baseline and noise."""
    rng = np.random.default_rng(seed)
    amounts = rng.uniform(0.2, 1.0, (n, 4))
    bands = [np.exp(-0.5 * ((NM - c) / w) ** 2) for c, w in ((1200, 40), (1450, 50), (1940, 50), (centre, 15))]
    X = amounts * [0.8, 1.0, 1.0, 0.15] @ np.stack(bands) + rng.uniform(0, 0.3, (n, 1))
    return X + 2e-4 * rng.normal(size=X.shape), 3.0 + 4.0 * amounts[:, 3] + 0.1 * rng.normal(size=n)


@pytest.mark.parametrize(
    ("method", "head", "readout", "centre"),
    [
        *(
            ("gradient", "ridge", readout, centre)
            for readout in ("contrast", "compact")
            for centre in (1320.0, 1680.0, 2050.0)
        ),
        ("occlusion", "ridge", "contrast", 2050.0),
        ("occlusion", "gp", "contrast", 1680.0),
    ],
)
def test_a_planted_band_is_found(centre: float, method: str, head: str, readout: str) -> None:
    X, y = planted(centre)
    model = make_spectral_pipeline(head, NM, readout=readout).fit(X, y)
    found = wavelength_importance(X, model, method=method)
    assert found.method == method
    assert found.values.shape == X.shape
    assert found.peak() == pytest.approx(centre, abs=10.0)


@pytest.mark.parametrize(
    "settings",
    [
        {"readout": "mean"},
        {"readout": "compact", "robust": True},
        {"readout": "contrast"},
        {"readout": "contrast", "robust": True},
        {"readout": "compact"},
    ],
)
def test_gradients_are_the_slopes_of_predictions(settings: dict[str, Any]) -> None:
    X, y = planted(1680.0)
    model = make_spectral_pipeline(Ridge(1.0), NM, **settings).fit(X, y)
    embedder, head = model["embed"], model["head"]
    slopes = input_gradients(embedder, embedder.resolve(X)[0], np.ravel(head.coef_))
    # Along a direction with all wavelengths in it, small enough to be straight.
    direction = np.random.default_rng(1).normal(size=X.shape[1]) * 5e-5
    rise = (model.predict(X + direction) - model.predict(X - direction)) / 2
    np.testing.assert_allclose(slopes @ direction, rise, rtol=0.02, atol=0.01 * np.abs(rise).max())


# Occlusion takes large steps, which bounds cut short.
@pytest.mark.parametrize(
    ("readout", "adapt", "agreement"), [("contrast", False, 0.99), ("contrast", True, 0.88), ("compact", True, 0.88)]
)
def test_the_gradient_says_what_occlusion_does(readout: str, adapt: bool, agreement: float) -> None:
    X, y = planted(1680.0)
    model = make_spectral_pipeline("ridge", NM, readout=readout, adapt=adapt).fit(X, y)
    by_gradient, by_occlusion = (wavelength_importance(X, model, method=m) for m in ("gradient", "occlusion"))
    assert np.corrcoef(by_gradient.values.ravel(), by_occlusion.values.ravel())[0, 1] > agreement
    shares = by_occlusion.overall()
    assert shares.max() > 0.3
    assert np.abs(shares[np.abs(NM - 1680.0) > 100.0]).max() < 0.3 * shares.max()


def test_what_may_be_explained() -> None:
    X, y = planted(1680.0)
    embedder = SpectralEmbedder(readout="contrast", wavelengths=NM).fit(X)
    Z = embedder.transform(X)
    by_pipeline = wavelength_importance(X, make_pipeline(embedder, RidgeCV()).fit(X, y))
    apart = wavelength_importance(X, RidgeCV().fit(Z, y), embedder)
    np.testing.assert_allclose(apart.values, by_pipeline.values, rtol=1e-3, atol=1e-5)
    # A search over whole pipelines, and one over components within the head.
    search = GridSearchCV(make_pipeline(embedder, Ridge()), {"ridge__alpha": [0.1, 1.0]}, cv=2).fit(X, y)
    assert wavelength_importance(X, search).method == "gradient"
    assert wavelength_importance(X, make_head("pls").fit(Z, y), embedder).method == "gradient"
    assert wavelength_importance(X[:5], KNeighborsRegressor(1).fit(Z, y), embedder).method == "occlusion"
    # Another axis than the fitted one, descending, in wavenumbers.
    other = pd.DataFrame(X[:, ::-2], columns=[f"{1e7 / nm:.4f}" for nm in NM[::-2]])
    embedder = SpectralEmbedder(readout="contrast").fit(pd.DataFrame(X, columns=NM))
    found = wavelength_importance(other, RidgeCV().fit(Z, y), embedder)
    assert (np.diff(found.wavelengths) > 0).all()
    assert found.peak() == pytest.approx(1680.0, abs=12.0)


@pytest.mark.parametrize("method", ["gradient", "occlusion"])
def test_neither_the_unit_nor_what_else_the_embedder_does_matters(method: str, tmp_path) -> None:
    X, y = planted(1680.0, 40)
    expected = None
    for wavelengths, unit in ((NM, "nm"), (1e7 / NM, "cm-1"), (NM / 1e3, "um")):
        settings = {"axis_unit": unit, "readout": "contrast", "on_outlier": "raise", "cache": tmp_path / "cache"}
        model = make_pipeline(SpectralEmbedder(wavelengths=wavelengths, **settings), Ridge(1.0)).fit(X, y)
        size = (tmp_path / "cache").stat().st_size + sum(path.stat().st_size for path in (tmp_path / "cache").iterdir())
        found = wavelength_importance(X, model, method=method)
        assert sum(path.stat().st_size for path in (tmp_path / "cache").iterdir()) <= size
        assert np.corrcoef(found.outputs, model.predict(X))[0, 1] > 0.9999
        expected = found.overall() if expected is None else expected
        np.testing.assert_allclose(found.overall(), expected, atol=0.02 * expected.max())


def test_coefficients_that_are_no_slopes() -> None:
    X, y = planted(1680.0)
    embedder = SpectralEmbedder(readout="contrast", wavelengths=NM).fit(X)
    Z = embedder.transform(X)
    labels = np.searchsorted(np.quantile(y, [0.33, 0.66]), y)
    # Pairs of classes, and a logarithm in between.
    for head in (SVC(kernel="linear").fit(Z, labels), GammaRegressor().fit(Z, y)):
        with pytest.raises(ValueError, match="is not linear; use method='occlusion'"):
            wavelength_importance(X, head, embedder, method="gradient")
    several = KNeighborsClassifier().fit(Z, np.c_[labels, labels])
    with pytest.raises(ValueError, match="several class targets; explain one head per target"):
        wavelength_importance(X, several, embedder)


def test_the_ends_of_the_spectrum_count() -> None:
    nm = np.linspace(1100.0, 2300.0, 13)
    rng = np.random.default_rng(0)
    X = 0.5 + 0.1 * rng.normal(size=(60, 13))
    model = make_spectral_pipeline(make_head("ridge"), nm).fit(X, X[:, 0])
    assert wavelength_importance(X, model).peak() == 1100.0


def test_classes_and_several_outputs() -> None:
    X, y = planted(1680.0)
    labels = np.array(["a", "b", "c"])[np.searchsorted(np.quantile(y, [0.33, 0.66]), y)]
    for name in ("ridge", "plsda", "svc"):
        model = make_spectral_pipeline(name, NM, task="classification", readout="contrast").fit(X, labels)
        assert wavelength_importance(X[::10], model, output=2).values.shape == (6, 300)
    both = make_spectral_pipeline("ridge", NM, readout="contrast").fit(X, np.c_[X[:, 200], y])
    assert wavelength_importance(X, both, output=1).peak() == pytest.approx(1680.0, abs=10.0)
    with pytest.raises(ValueError, match="output=2, but the head has 2; count from 0"):
        wavelength_importance(X, both, output=2)


def test_errors() -> None:
    X, y = planted(1680.0, 20)
    embedder = SpectralEmbedder(readout="contrast", wavelengths=NM).fit(X)
    Z = embedder.transform(X)
    for head, arguments, message in (
        (Ridge().fit(Z, y), {}, "begins with a SpectralEmbedder, or come with embedder="),
        (
            KNeighborsRegressor().fit(Z, y),
            {"embedder": embedder, "method": "gradient"},
            "is not linear; use method='occl",
        ),
        (Ridge().fit(Z, y), {"embedder": embedder, "method": "shapley"}, "method='shapley' is not known"),
        (Ridge().fit(Z, y), {"embedder": embedder, "width": 0.0}, "must be a positive number of nanometres"),
        (Ridge().fit(Z[:, :9], y), {"embedder": embedder}, "9 coefficients for an embedding of"),
    ):
        with pytest.raises(ValueError, match=message):
            wavelength_importance(X, head, **arguments)
    with pytest.raises(ValueError, match="one spectrum has nothing to be compared with"):
        wavelength_importance(X[:1], Ridge().fit(Z, y), embedder)


def test_plot() -> None:
    import matplotlib.pyplot as plt

    X, y = planted(1680.0, 20)
    found = wavelength_importance(X, make_spectral_pipeline("ridge", NM, readout="contrast").fit(X, y))
    _, axes = plt.subplots()
    assert found.plot(axes) is axes
    assert axes.get_xlabel() == "wavelength (nm)"
    assert found.plot().figure is not axes.figure
    plt.close("all")
