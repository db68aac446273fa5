"""SpectralEmbedder: the contracts of axis, rows, types, persistence and errors."""

from __future__ import annotations

import pickle
import threading
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from nirs4all_vit import CheckpointError, SpectralAxisError, SpectralEmbedder, SpectralInputError
from nirs4all_vit.encoder import READOUTS
from tests.conftest import ROWS_OF_NAN, make_spectra, run_python


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference over the largest value."""
    return float(np.abs(a - b).max() / np.abs(b).max())


@pytest.fixture(scope="module")
def embedded(spectra: np.ndarray, nm: np.ndarray) -> np.ndarray:
    return SpectralEmbedder().fit_transform(spectra, wavelengths=nm)


# --- scikit-learn ---------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:no wavelengths were given")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_check_estimator() -> None:
    results = check_estimator(SpectralEmbedder(), on_fail=None, expected_failed_checks=ROWS_OF_NAN)
    unusual = {r["check_name"]: r["status"] for r in results if r["status"] != "passed"}
    assert set(unusual) <= {"check_array_api_input", *ROWS_OF_NAN}, unusual
    assert len(results) > 40


@pytest.mark.parametrize("readout", READOUTS)
def test_output_is_float32_of_fixed_width(readout: str, spectra: np.ndarray, nm: np.ndarray) -> None:
    embedder = SpectralEmbedder(readout=readout).fit(spectra, wavelengths=nm)
    z = embedder.transform(spectra)
    assert z.dtype == np.float32
    assert z.shape == (len(spectra), embedder.get_feature_names_out().size)
    assert np.isfinite(z).all()
    other = np.linspace(1200, 2400, 125)
    assert embedder.transform(make_spectra(other, 3), wavelengths=other).shape == (3, z.shape[1])


def test_set_output_and_names(spectra: np.ndarray, nm: np.ndarray) -> None:
    embedder = SpectralEmbedder(readout="mean", wavelengths=nm).set_output(transform="pandas")
    frame = embedder.fit_transform(pd.DataFrame(spectra, index=np.arange(5, 5 + len(spectra))))
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns[:2]) == ["spectralembedder0", "spectralembedder1"]
    assert frame.index[0] == 5


def test_constructor_only_stores_and_clone_keeps(nm: np.ndarray) -> None:
    embedder = SpectralEmbedder("nowhere", readout="rubbish", wavelengths=nm, axis_unit="furlong", batch_size=-1)
    copy = clone(embedder)
    assert copy.readout == "rubbish"
    np.testing.assert_array_equal(copy.wavelengths, nm)


@pytest.mark.parametrize("request_it", [True, False])
def test_metadata_routing_through_a_pipeline(request_it: bool, spectra: np.ndarray, nm: np.ndarray) -> None:
    y = spectra[:, 420] - spectra[:, 300]
    other = np.linspace(1100, 2498, 300)
    with sklearn.config_context(enable_metadata_routing=True):
        embedder = SpectralEmbedder()
        if request_it:
            embedder.set_fit_request(wavelengths=True)
        pipe = make_pipeline(embedder, RidgeCV()).fit(spectra, y, wavelengths=nm)
        np.testing.assert_array_equal(pipe[0].wavelengths_, nm)
        predicted = pipe.predict(make_spectra(other), wavelengths=other)
    assert np.corrcoef(predicted, y)[0, 1] > 0.9


def test_grid_search_over_heads(spectra: np.ndarray, nm: np.ndarray) -> None:
    y = spectra[:, 420] - spectra[:, 300]
    pipe = Pipeline([("embed", SpectralEmbedder(wavelengths=nm)), ("head", RidgeCV())])
    search = GridSearchCV(pipe, {"head__alphas": [[1e-3, 1.0], [1e3]]}, cv=3).fit(spectra, y)
    assert search.best_score_ > 0.9


@pytest.mark.slow
def test_n_jobs(spectra: np.ndarray, nm: np.ndarray) -> None:
    pipe = make_pipeline(SpectralEmbedder(wavelengths=nm), RidgeCV())
    y = spectra[:, 420]
    alone, parallel = (cross_val_score(pipe, spectra, y, cv=3, n_jobs=n) for n in (1, 2))
    np.testing.assert_allclose(alone, parallel, rtol=1e-3)


def test_threads_agree(spectra: np.ndarray, nm: np.ndarray, embedded: np.ndarray) -> None:
    embedder = SpectralEmbedder(wavelengths=nm).fit(spectra)
    results: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: results.append(embedder.transform(spectra))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(relative_error(z, embedded) < 1e-5 for z in results)


# --- rows -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 7, 512])
def test_rows_do_not_depend_on_the_batch(
    batch_size: int, spectra: np.ndarray, nm: np.ndarray, embedded: np.ndarray
) -> None:
    z = SpectralEmbedder(batch_size=batch_size).fit_transform(spectra, wavelengths=nm)
    np.testing.assert_array_equal(z, embedded)


@pytest.mark.parametrize("readout", READOUTS)
def test_rows_do_not_depend_on_their_company(readout: str, spectra: np.ndarray, nm: np.ndarray) -> None:
    embedder = SpectralEmbedder(readout=readout, wavelengths=nm)
    embedded = embedder.fit_transform(spectra)
    order = np.random.default_rng(0).permutation(len(spectra))
    assert relative_error(embedder.transform(spectra[order]), embedded[order]) < 1e-6
    for i in (0, 5):
        assert relative_error(embedder.transform(spectra[i : i + 1]), embedded[i : i + 1]) < 1e-6


@pytest.mark.parametrize("readout", READOUTS)
def test_rows_do_not_depend_on_padding(readout: str, spectra: np.ndarray, nm: np.ndarray) -> None:
    embedder = SpectralEmbedder(readout=readout, adapt=False, align=False)
    embedded = embedder.fit_transform(spectra, wavelengths=nm)
    grids = [nm, np.linspace(350, 2500, 2151), np.linspace(908, 1676, 125), np.linspace(850, 1050, 100)]
    rows = [spectra[0], *(make_spectra(g, 1)[0] for g in grids[1:]), spectra[1]]
    z = embedder.fit_transform(rows, wavelengths=[*grids, nm])
    assert relative_error(z[0], embedded[0]) < 1e-5
    assert relative_error(z[4], embedded[1]) < 1e-5
    for row, grid, embedding in zip(rows[1:4], grids[1:], z[1:4], strict=True):
        alone = embedder.fit_transform(row[np.newaxis], wavelengths=grid)
        assert relative_error(embedding, alone[0]) < 1e-5


def test_a_grid_per_row_as_a_matrix(spectra: np.ndarray, nm: np.ndarray, embedded: np.ndarray) -> None:
    z = SpectralEmbedder().fit_transform(spectra, wavelengths=np.tile(nm, (len(spectra), 1)))
    assert relative_error(z, embedded) < 1e-6


def test_it_is_deterministic(spectra: np.ndarray, nm: np.ndarray, embedded: np.ndarray) -> None:
    np.testing.assert_array_equal(SpectralEmbedder().fit_transform(spectra, wavelengths=nm), embedded)


def test_half_the_points_keep_the_embedding(spectra: np.ndarray, nm: np.ndarray, embedded: np.ndarray) -> None:
    half = SpectralEmbedder().fit_transform(spectra[:, ::2], wavelengths=nm[::2])
    cosine = (half * embedded).sum(1) / np.linalg.norm(half, axis=1) / np.linalg.norm(embedded, axis=1)
    assert cosine.min() > 0.98
    # Harder: what tells the samples apart survives, too.
    a, b = half - embedded.mean(0), embedded - embedded.mean(0)
    assert ((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min() > 0.87


# --- wavelengths ----------------------------------------------------------------------------------


def test_every_way_to_give_the_axis(spectra: np.ndarray, nm: np.ndarray, embedded: np.ndarray) -> None:
    flipped, wavenumbers = spectra[:, ::-1], 1e7 / nm
    shuffled = np.random.default_rng(0).permutation(nm.size)
    ways = [
        SpectralEmbedder(wavelengths=nm).fit_transform(spectra),
        SpectralEmbedder(wavelengths=list(nm)).fit(spectra).transform(spectra),
        SpectralEmbedder(wavelengths=pd.Series(nm, index=nm)).fit_transform(spectra),
        SpectralEmbedder().fit_transform(spectra, wavelengths=pd.Index(nm)),
        SpectralEmbedder().fit_transform(spectra, wavelengths=wavenumbers),
        SpectralEmbedder(axis_unit="cm-1").fit_transform(spectra, wavelengths=wavenumbers),
        SpectralEmbedder(axis_unit="um").fit_transform(spectra, wavelengths=nm / 1000),
        SpectralEmbedder().fit_transform(flipped, wavelengths=nm[::-1]),
        SpectralEmbedder().fit_transform(spectra[:, shuffled], wavelengths=nm[shuffled]),
        SpectralEmbedder().fit_transform(pd.DataFrame(spectra, columns=[f"{v:.10g}" for v in nm])),
        SpectralEmbedder().fit_transform(pd.DataFrame(spectra, columns=nm)),
        SpectralEmbedder().fit_transform(pd.DataFrame(spectra, columns=[f"{v:.10g} nm" for v in nm])),
        SpectralEmbedder().fit_transform(pd.DataFrame(spectra, columns=[f"{v:.10g} cm-1" for v in wavenumbers])),
        SpectralEmbedder().fit_transform(pl.DataFrame(spectra, schema=[f"{v:.10g}" for v in nm])),
    ]
    for number, z in enumerate(ways):
        assert relative_error(z, embedded) < 1e-4, number


def test_argument_wins_over_constructor_wins_over_header(spectra: np.ndarray, nm: np.ndarray) -> None:
    # A header in whole numbers is the same axis, rounded.
    frame = pd.DataFrame(spectra, columns=[f"{v:.0f}" for v in nm - 0.4])
    assert SpectralEmbedder().fit(frame).wavelengths_[0] == 1100
    assert SpectralEmbedder(wavelengths=nm - 0.2).fit(frame).wavelengths_[0] == 1099.8
    assert SpectralEmbedder(wavelengths=nm - 0.2).fit(frame, wavelengths=nm).wavelengths_[0] == 1100


def test_a_header_that_contradicts_the_wavelengths_is_refused(spectra: np.ndarray, nm: np.ndarray) -> None:
    frame = pd.DataFrame(spectra, columns=[f"{v:g}" for v in nm]).iloc[:, ::-1]
    message = "run from 2498 to 1100 nm, the given wavelengths from 1100 to 2498 nm: they contradict"
    fitted = SpectralEmbedder(wavelengths=nm).fit(spectra)
    for call in (SpectralEmbedder(wavelengths=nm).fit, fitted.transform, partial(fitted.fit, wavelengths=nm)):
        with pytest.raises(SpectralAxisError, match=message):
            call(frame)


def test_other_grid_at_transform(spectra: np.ndarray, nm: np.ndarray) -> None:
    other = np.linspace(908, 1676, 125)
    X = make_spectra(other, 4)
    embedded = SpectralEmbedder(adapt=False, align=False).fit_transform(spectra, wavelengths=nm)
    embedder = SpectralEmbedder(adapt=False, align=False).fit(X, wavelengths=other)
    assert relative_error(embedder.transform(spectra, wavelengths=nm), embedded) < 1e-6
    frame = pd.DataFrame(spectra, columns=[f"{v:.10g}" for v in nm])
    assert relative_error(embedder.transform(frame), embedded) < 1e-4
    assert embedder.n_features_in_ == 125


def test_unknown_wavelengths_warn_and_assume_an_even_grid(spectra: np.ndarray) -> None:
    wide = pd.DataFrame(np.repeat(spectra, 2, axis=1))
    for X in (spectra, pd.DataFrame(spectra), pd.DataFrame(spectra).add_prefix("x"), wide.iloc[:, ::2]):
        with pytest.warns(UserWarning, match="no wavelengths were given"):
            embedder = SpectralEmbedder(readout="mean").fit(X)
        np.testing.assert_allclose(embedder.wavelengths_, np.linspace(1000, 2500, 700))


# --- types and extremes ---------------------------------------------------------------------------


def test_input_types(spectra: np.ndarray, nm: np.ndarray, embedded: np.ndarray) -> None:
    readonly = spectra.copy()
    readonly.flags.writeable = False
    for X, tolerance in (
        (spectra.astype(np.float32), 1e-4),
        (spectra.astype(np.float16), 1e-1),
        (np.asfortranarray(spectra), 1e-6),
        (readonly, 1e-6),
        (spectra.tolist(), 1e-6),
        (pd.DataFrame(spectra), 1e-6),
        (pl.DataFrame(spectra), 1e-6),
        (spectra.astype(object), 1e-6),
        (np.repeat(spectra, 2, axis=0)[::2], 1e-6),
    ):
        z = SpectralEmbedder(wavelengths=nm).fit_transform(X)
        assert z.dtype == np.float32
        assert relative_error(z, embedded) < tolerance
    counts = (spectra * 10_000).astype(np.int32)
    assert SpectralEmbedder(wavelengths=nm).fit_transform(counts).dtype == np.float32


@pytest.mark.parametrize("value", [0.0, 0.3, -5.0, 1e20, 1e-30])
def test_constant_spectra_are_finite(value: float, nm: np.ndarray) -> None:
    z = SpectralEmbedder().fit_transform(np.full((2, nm.size), value), wavelengths=nm)
    assert np.isfinite(z).all()


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e20])
def test_extreme_scales_are_finite(scale: float, spectra: np.ndarray, nm: np.ndarray) -> None:
    assert np.isfinite(SpectralEmbedder().fit_transform(spectra * scale, wavelengths=nm)).all()


def test_single_channel_and_tiny_spectra() -> None:
    for n_points in (1, 2, 3, 19):
        axis = np.linspace(1200, 1300, n_points)
        z = SpectralEmbedder().fit_transform(np.random.default_rng(0).random((3, n_points)), wavelengths=axis)
        assert np.isfinite(z).all()


def test_counts_on_a_high_pedestal_keep_their_signal(spectra: np.ndarray, nm: np.ndarray) -> None:
    signal = SpectralEmbedder().fit_transform(spectra + 6e4, wavelengths=nm)
    assert np.linalg.matrix_rank(signal - signal.mean(0), tol=1e-3 * np.linalg.norm(signal - signal.mean(0), 2)) >= 4


# --- persistence ----------------------------------------------------------------------------------


def test_pickle_holds_no_weights(spectra: np.ndarray, nm: np.ndarray, embedded: np.ndarray, tmp_path: Path) -> None:
    embedder = SpectralEmbedder().fit(spectra, wavelengths=nm)
    content = pickle.dumps(embedder)
    alignment = embedder.alignment_
    sizes = [alignment.loadings.nbytes, 3 * alignment.mean.nbytes, 4 * embedder.column_weighting_.scale.nbytes]
    sizes.append(embedder.calibration_space_.components.nbytes)
    assert len(content) - sum(sizes) < 20_000
    assert b"nirs-base" in content
    np.testing.assert_array_equal(pickle.loads(content).transform(spectra), embedded)
    joblib.dump(embedder, tmp_path / "e.joblib")
    np.save(tmp_path / "X.npy", spectra)
    printed = run_python(
        "import joblib, numpy as np\n"
        f"z = joblib.load({str(tmp_path / 'e.joblib')!r}).transform(np.load({str(tmp_path / 'X.npy')!r}))\n"
        f"np.save({str(tmp_path / 'Z.npy')!r}, z)",
        network=False,
    )
    assert printed == ""
    assert relative_error(np.load(tmp_path / "Z.npy"), embedded) < 1e-6


def test_own_checkpoint_is_pinned(own_checkpoint: Path, spectra: np.ndarray, nm: np.ndarray) -> None:
    embedder = SpectralEmbedder(own_checkpoint).fit(spectra, wavelengths=nm)
    assert embedder.checkpoint_name_ == "own-v1"
    assert embedder.transform(spectra).shape == (len(spectra), 6832)
    restored = pickle.loads(pickle.dumps(embedder))
    own_checkpoint.rename(own_checkpoint.with_name("moved.safetensors"))
    with pytest.raises(CheckpointError, match="neither a file nor bundled"):
        restored.transform(spectra)


def test_other_weights_under_the_same_path_are_refused(
    own_checkpoint: Path, spectra: np.ndarray, nm: np.ndarray
) -> None:
    from nirs4all_vit import load_checkpoint, save_checkpoint

    embedder = SpectralEmbedder(own_checkpoint).fit(spectra, wavelengths=nm)
    save_checkpoint(own_checkpoint, load_checkpoint(own_checkpoint).encoder, name="other", provenance={})
    with pytest.raises(CheckpointError, match="fitted with own-v1"):
        embedder.transform(spectra)


def test_nothing_global_is_touched() -> None:
    code = """
import numpy as np, torch, random
torch.manual_seed(3); np.random.seed(3); random.seed(3)
torch.set_num_threads(1); torch.set_default_dtype(torch.float64)
before = (torch.get_rng_state().clone(), np.random.get_state()[1].copy(), random.getstate())
from nirs4all_vit import SpectralEmbedder
z = SpectralEmbedder().fit_transform(np.random.default_rng(0).random((40, 60)), wavelengths=np.linspace(900, 1700, 60))
assert z.dtype == np.float32
assert torch.get_num_threads() == 1 and torch.get_default_dtype() == torch.float64 and torch.is_grad_enabled()
assert torch.equal(before[0], torch.get_rng_state())
assert (before[1] == np.random.get_state()[1]).all() and before[2] == random.getstate()
"""
    run_python(code)
    assert torch.get_default_dtype() == torch.float32


# --- errors: one sentence each, before any work ---------------------------------------------------


def _bad_inputs() -> list[tuple]:
    nm, X = np.linspace(1100, 2498, 20), np.ones((4, 20))
    nan, inf = X.copy(), X.copy()
    nan[2, 3:14], inf[1, 0] = np.nan, np.inf
    axis, data = SpectralAxisError, SpectralInputError
    return [
        ({}, nan, nm, data, "X contains NaN at row 2: 55% of its points are missing"),
        ({}, np.where(X[:, :1] * nm > 2400, -1.23e34, X), nm, data, "contains -1.23e\\+34 at row 0, 2424.42 nm"),
        ({}, np.where(nm == nm[7], -9999.0, X), nm, data, "-9999 at row 0, 1615.05 nm, .* a fill value"),
        ({}, X * 1e300, nm, data, "contains 1e\\+300 at row 0, 1100 nm, which no instrument gives"),
        ({"max_filled": 2}, X, nm, ValueError, "max_filled=2"),
        ({}, inf, nm, data, "X contains inf at row 1, 1100 nm"),
        ({}, X[0], nm, data, "got a 1-D array"),
        ({}, X[:0], nm, ValueError, r"0 sample\(s\)"),
        ({}, X[:, :0], None, ValueError, r"0 feature\(s\)"),
        ({}, X, nm[:5], axis, "5 wavelengths for spectra of 20 points"),
        ({}, X, nm[:4], axis, "metadata routing slices"),
        ({}, X, np.r_[nm[:-1], nm[0]], axis, "wavelength 1100 occurs more than once"),
        ({}, X, np.r_[nm[:-1], -3], axis, "hold -3"),
        ({}, X, ["a"] * 20, axis, "must be numbers"),
        ({}, X, np.arange(20) + 150, axis, "outside of 200 to 30,000 nm"),
        ({"axis_unit": "parsec"}, X, nm, axis, "axis_unit='parsec' is not a known unit"),
        ({"axis_unit": "um"}, X, nm, axis, "read as um"),
        ({"readout": "latent"}, X, nm, ValueError, "readout='latent' does not exist"),
        ({"batch_size": 0}, X, nm, ValueError, "batch_size=0"),
        ({"checkpoint": "nirs-huge-v9"}, X, nm, CheckpointError, "neither a file nor bundled; bundled: nirs-base"),
        ({"device": "abacus"}, X, nm, ValueError, "device='abacus' is not available"),
        ({}, [X[0], X[0, :9]], None, axis, "need wavelengths="),
        ({}, [X[0], X[0, :9]], [nm, nm], axis, "spectrum 1 has 9 points, its wavelengths 20"),
        ({}, [X[0], nan[2]], [nm, nm], data, "NaN at row 1: 55%"),
        ({}, X, [nm, nm], axis, "2 wavelength axes for 4 spectra"),
        ({}, [X[0], None], [nm, nm], data, "spectrum 1 must be a 1-D array of numbers, got NoneType"),
        ({}, [X[0], X[0, :9]], [nm, -nm[:9]], axis, "spectrum 1: wavelengths hold -1100"),
        ({}, X[np.newaxis], nm, data, "dim 3"),
        ({}, X + 1j, nm, data, "Complex data not supported"),
        ({}, np.full((2, 20), "a"), nm, data, "contains 'a' at row 0, column '0', which is not a number"),
        ({}, np.ma.masked_greater(np.where(X > 0, nm, 0), nm[3]), nm, data, "NaN at row 0: 80%"),
        ({}, pd.DataFrame(X, columns=np.linspace(0.3, 2, 20)[np.r_[10:20, :10]]), None, axis, "without a header"),
        ({}, pd.DataFrame(X, columns=["id", *map(str, nm[1:])]), None, axis, "column 'id' is not a wavelength"),
    ]


@pytest.mark.parametrize(("parameters", "X", "wavelengths", "error", "message"), _bad_inputs())
def test_bad_input_is_one_clear_sentence(
    parameters: dict, X: object, wavelengths: object, error: type, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_work(*_: object, **__: object) -> None:
        raise AssertionError("embedding began before the input was checked")

    monkeypatch.setattr("nirs4all_vit.embedding.inference.embed", no_work)
    with pytest.raises(error, match=message) as caught:
        SpectralEmbedder(**parameters).fit_transform(X, wavelengths=wavelengths)
    assert "\n" not in str(caught.value)


def test_wrong_width_at_transform_says_what_to_do(spectra: np.ndarray, nm: np.ndarray) -> None:
    embedder = SpectralEmbedder().fit(spectra, wavelengths=nm)
    with pytest.raises(SpectralInputError, match=r"X has 699 features.*transform\(X, wavelengths=\.\.\.\)"):
        embedder.transform(spectra[:, 1:])
