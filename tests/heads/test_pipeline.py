"""From spectra to predictions: grids of heads, nirs4all, the cache between them."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold

from nirs4all_vit import SpectralEmbedder, adapt_to
from nirs4all_vit.heads import CrossConformalRegressor, average_replicates, make_head, make_spectral_pipeline
from tests.conftest import X_BANK, make_spectra
from tests.nirs4all_host.test_hooks import NM, X, Y, dataset

SMALL = {
    "ridge": {},
    "pls": {},
    "krr": {"alpha": 1e-4},
    "gp": {},
    "svr": {"C": 1e3},
    "mlp": {"alpha": 0.1, "max_iter": 100},
}


def quiet_fit(estimator, X, y, **params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a Gaussian process at a bound, a network stopped early
        return estimator.fit(X, y, **params)


def test_a_grid_of_heads_encodes_each_spectrum_once(encoded: list[int]) -> None:
    heads = [make_head(name, **params) for name, params in SMALL.items()]
    search = quiet_fit(
        GridSearchCV(make_spectral_pipeline("ridge", NM, readout="contrast"), {"head": heads}, cv=3), X, Y
    )
    assert sum(encoded) == len(X)
    assert (search.cv_results_["mean_test_score"] > 0.8).all()
    assert search.score(X, Y) > 0.9
    assert np.array_equal(pickle.loads(pickle.dumps(search)).predict(X), search.predict(X))


@pytest.mark.xbank
@pytest.mark.slow
@pytest.mark.parametrize("name", ["corn_m5", "tecator_meat", "beer_craft_ftnir"])
def test_real_spectra(name: str, encoded: list[int]) -> None:
    from nirs4all_vit.pretraining import load_x_bank

    (found,) = (d for d in load_x_bank(X_BANK) if d.name == name)
    spectra = np.array(found.absorbance(np.arange(min(len(found), 60))))
    y = spectra[:, spectra.shape[1] // 2] - spectra[:, spectra.shape[1] // 3]  # a task without targets
    heads = [make_head("ridge"), make_head("pls", n_components=10), make_head("krr", gamma=0.01)]
    model = make_spectral_pipeline("ridge", found.wavelengths, readout="contrast")
    search = GridSearchCV(model, {"head": heads}, cv=3).fit(spectra, y)
    assert sum(encoded) == len(np.unique(spectra, axis=0))
    assert search.best_score_ > 0.9


def test_any_estimator_and_any_parameter_of_the_embedder() -> None:
    model = make_spectral_pipeline(Ridge(0.5), NM, readout="compact", cache=False)
    assert model["embed"].get_params()["readout"] == "compact"
    assert model["embed"].cache is False
    assert clone(model).set_params(head=make_head("ridge")).fit(X, Y).predict(X[:3]).shape == (3,)
    labels = np.where(np.median(Y) < Y, "high", "low")
    assert make_spectral_pipeline("logistic", NM, task="classification").fit(X, labels).score(X, labels) > 0.9
    with pytest.raises(ValueError, match="no head 'logistic' for regression: it is for classification"):
        make_spectral_pipeline("logistic", NM)


@pytest.mark.parametrize(
    ("name", "engine"), [*((name, "dag-ml") for name in SMALL), ("ridge", "legacy"), ("pls", "legacy")]
)
def test_in_nirs4all(
    name: str, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoded: list[int]
) -> None:
    import nirs4all

    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = nirs4all.run(
            [KFold(3), SpectralEmbedder(readout="contrast", cache=True), {"model": make_head(name, **SMALL[name])}],
            dataset=dataset(headers=NM),
            engine=engine,
            verbose=0,
            save_charts=False,
            random_state=0,
        )
        assert np.isfinite(result.best_rmse)
        assert result.best_rmse < 0.3 * Y.std()
        assert sum(encoded) == len(X)
        bundle = result.export(str(tmp_path / "model.n4a"))
        other = None if engine == "dag-ml" else engine
        again = np.ravel(nirs4all.predict(str(bundle), X[40:], engine=other, verbose=0).y_pred)
    np.testing.assert_allclose(again, np.ravel(result.final["y_pred"]), rtol=1e-3, atol=1e-4)


CLASSES = np.digitize(Y, np.quantile(Y, [1 / 3, 2 / 3]))


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        *((name, "dag-ml") for name in ("ridge", "logistic", "svc", "plsda", "gp", "mlp")),
        *((name, "legacy") for name in ("ridge", "plsda")),
    ],
)
def test_classes_in_nirs4all(name: str, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nirs4all
    from nirs4all.data import SpectroDataset

    monkeypatch.chdir(tmp_path)
    data = SpectroDataset("classes")
    for partition, rows in (("train", slice(0, 40)), ("test", slice(40, None))):
        header = {"headers": [f"{v:.6f}" for v in NM], "header_unit": "nm"}
        data.add_samples(X[rows], {"partition": partition}, **header)
        data.add_targets(CLASSES[rows])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = nirs4all.run(
            [KFold(3), SpectralEmbedder(readout="contrast", cache=True), {"model": make_head(name, "classification")}],
            dataset=data,
            engine=engine,
            verbose=0,
            save_charts=False,
            random_state=0,
        )
        predicted = np.ravel(result.final["y_pred"])
        bundle = result.export(str(tmp_path / "model.n4a"))
        other = None if engine == "dag-ml" else engine
        again = np.ravel(nirs4all.predict(str(bundle), X[40:], engine=other, verbose=0).y_pred)
    assert np.mean(predicted == CLASSES[40:]) > 0.7
    np.testing.assert_array_equal(again, predicted)


def test_nirs4all_tunes_a_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nirs4all

    monkeypatch.chdir(tmp_path)
    tuned = {
        "model": make_head("pls", n_components=5),
        "finetune_params": {"n_trials": 3, "model_params": {"n_components": ("int", 2, 12)}},
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = nirs4all.run(
            [KFold(3), SpectralEmbedder(cache=True), tuned],
            dataset=dataset(headers=NM),
            engine="legacy",
            verbose=0,
            save_charts=False,
            random_state=0,
        )
    assert result.best_rmse < 0.5 * Y.std()


def test_a_task_is_no_axis() -> None:
    with pytest.raises(TypeError, match="task='classification'"):
        make_spectral_pipeline("ridge", "classification")  # type: ignore[arg-type]


def test_groups_and_wavelengths_by_their_plain_names() -> None:
    groups = np.arange(len(X)) // 2
    for routing in (False, True):
        with sklearn.config_context(enable_metadata_routing=routing):
            for name in ("ridge", "pls", "krr"):
                model = quiet_fit(make_spectral_pipeline(name, readout="compact"), X, Y, groups=groups, wavelengths=NM)
                assert model.score(X, Y) > 0.9
            conformal = CrossConformalRegressor(make_spectral_pipeline("pls", NM, readout="compact"), cv=3)
            assert np.isfinite(conformal.fit(X, Y, groups=groups).predict_interval(X[:2])).all()
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(make_spectral_pipeline("ridge", NM), {"embed__adapt": [True]}, cv=GroupKFold(3))
        assert search.fit(X, Y, groups=groups).best_score_ > 0.5
    search = GridSearchCV(make_spectral_pipeline("ridge", NM), {"embed__adapt": [True]}, cv=GroupKFold(3))
    assert search.fit(X, Y, groups=groups, head__groups=groups).best_score_ > 0.5
    # Heads that take no groups get none.
    assert quiet_fit(make_spectral_pipeline(Ridge(), NM, readout="mean"), X, Y, groups=groups).score(X, Y) > 0.3


def test_the_committee_from_spectra_to_predictions() -> None:
    model = make_spectral_pipeline("committee", NM).fit(X[:40], Y[:40])
    assert set(model[-1].members_) == {"gp", "scales", "krr", "ridge", "pls"}
    assert model[-1].widths == (3782, 1830, 854, 366)
    assert model.score(X[40:], Y[40:]) > 0.95
    value, deviation = model.predict(X[40:], return_std=True)
    assert value.shape == deviation.shape == (20,)
    assert np.array_equal(pickle.loads(pickle.dumps(clone(model).fit(X[:40], Y[:40]))).predict(X), model.predict(X))
    holes = X[40:].copy()
    holes[:, 7] = np.nan
    assert np.corrcoef(model.predict(holes), value)[0, 1] > 0.99
    embedder = model[0]
    assert embedder.transform(X).shape == (60, 6832 + NM.size)
    assert embedder.get_feature_names_out().size == 6832 + NM.size
    np.testing.assert_array_equal(embedder.transform(X)[:, 6832:], X.astype(np.float32))
    with pytest.raises(ValueError, match="append_spectra=True needs align=True"):
        SpectralEmbedder(append_spectra=True, align=False, wavelengths=NM).fit(X)
    labels = np.where(np.median(Y) < Y, "high", "low")
    classifier = make_spectral_pipeline("committee", NM, task="classification").fit(X[:40], labels[:40])
    assert classifier.score(X[40:], labels[40:]) > 0.9


def test_the_committee_on_a_second_instrument() -> None:
    spectra = make_spectra(NM, 150, seed=3)
    y = spectra[:, 36] - spectra[:, 20]
    second = spectra + 0.8 * np.exp(-(((NM - 1850.0) / 60.0) ** 2))
    model = make_spectral_pipeline("committee", NM).fit(spectra[:60], y[:60])
    before = np.sqrt(np.mean((model.predict(second[100:]) - y[100:]) ** 2))
    after = np.sqrt(np.mean((adapt_to(model, second[60:100]).predict(second[100:]) - y[100:]) ** 2))
    assert after < 0.7 * before


def test_replicates_are_averaged() -> None:
    frame = pd.DataFrame(np.repeat(X[:5], 3, axis=0), columns=NM)
    frame.iloc[1, 2] = np.nan
    groups = np.repeat(list("edcba"), 3)
    values = np.column_stack([np.arange(15.0), np.where(np.arange(15) < 3, np.nan, 1.0)])
    means, y, names = average_replicates(frame, values, groups)
    assert list(names) == list(means.index) == list("abcde")
    np.testing.assert_allclose(means.to_numpy(), X[:5][::-1], rtol=1e-6)
    np.testing.assert_array_equal(y, [[13.0, 1.0], [10.0, 1.0], [7.0, 1.0], [4.0, 1.0], [1.0, np.nan]])
    assert average_replicates(frame.to_numpy(), np.arange(15.0), groups)[1].shape == (5,)
    with pytest.raises(ValueError, match="15 spectra, 14 values and 15 groups"):
        average_replicates(frame, values[1:], groups)
