"""The embedding made insensitive to drift, scatter and shift."""

import pickle

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.utils.estimator_checks import check_estimator

from nirs4all_vit import SpectralEmbedder
from nirs4all_vit.embedding.glsw import GLSW
from tests.conftest import ROWS_OF_NAN

NM = np.linspace(1100.0, 2300.0, 200)
#: A tilt: a curved baseline hardly moves predictions, with or without.
DRIFT = 0.1 * (NM - 1700.0) / 600.0


def _material(n: int, seed: int = 0, *, narrow: bool = False):
    """Spectra of components that add up to one and the content of the first, with a little noise.

    Three broad bands, or four components of five narrow bands each.
    """
    generator = np.random.default_rng(seed)
    if narrow:
        bands = np.random.default_rng(7)
        centres, widths, heights = (
            bands.uniform(low, high, (4, 5, 1)) for low, high in ((1150.0, 2250.0), (8.0, 60.0), (0.1, 1.0))
        )
        pure = (heights * np.exp(-(((NM - centres) / widths) ** 2))).sum(axis=1)
    else:
        centres, widths = np.array([1450.0, 1730.0, 2100.0]), np.array([60.0, 40.0, 80.0])
        pure = np.exp(-(((NM - centres[:, None]) / widths[:, None]) ** 2))
    content = generator.dirichlet([3.0] * len(pure), n)
    return content @ pure + 1e-3 * generator.normal(size=(n, NM.size)), content[:, 0]


def _moved(X: np.ndarray, nm: float) -> np.ndarray:
    return np.stack([np.interp(NM + nm, NM, row) for row in X])


DISTURBED = {"drift": lambda X: X + DRIFT, "scatter": lambda X: 1.2 * X, "shift": lambda X: _moved(X, 4.0)}
#: How much of the growth of errors may be left.
LEFT = {"drift": 0.7, "scatter": 0.8, "shift": 0.6}


@pytest.fixture(scope="module")
def errors():
    """RMSEP by disturbance, plain and robust; a shift moves narrow bands, drift and scatter broad ones."""
    rmsep = {"left": LEFT}
    for narrow in (False, True):
        (X, y), (X_test, y_test) = _material(80, narrow=narrow), _material(60, 1, narrow=narrow)
        names = ("shift",) if narrow else ("drift", "scatter")
        for robust in (False, True):
            embedder = SpectralEmbedder(robust=robust, wavelengths=NM)
            head = RidgeCV(np.logspace(-6, 6, 25)).fit(embedder.fit_transform(X), y)
            for name in ("none", *names):
                spectra = X_test if name == "none" else DISTURBED[name](X_test)
                predicted = head.predict(embedder.transform(spectra))
                key = f"none, {names[-1]}" if name == "none" else name
                rmsep[key, robust] = float(np.sqrt(np.mean((predicted - y_test) ** 2)))
    rmsep |= {("none, drift", robust): rmsep["none, scatter", robust] for robust in (False, True)}
    return rmsep


@pytest.mark.parametrize("name", DISTURBED)
def test_errors_grow_less(errors, name):
    plain, robust = (errors[name, kind] - errors[f"none, {name}", kind] for kind in (False, True))
    assert plain > 0.002
    assert robust < errors["left"][name] * plain


def test_undisturbed_spectra_lose_little(errors):
    for name in DISTURBED:
        assert errors[f"none, {name}", True] < 1.1 * errors[f"none, {name}", False]


def test_rows_do_not_depend_on_their_company():
    X, _ = _material(300)
    embedder = SpectralEmbedder(readout="contrast", robust=True, wavelengths=NM)
    whole = embedder.fit_transform(X)
    np.testing.assert_array_equal(whole, embedder.transform(X))
    np.testing.assert_array_equal(whole[257:262], embedder.transform(X[257:262]))


def test_a_pickle_holds_the_directions_and_a_refit_replaces_them():
    X, _ = _material(30)
    embedder = SpectralEmbedder(readout="contrast", robust=True, wavelengths=NM).fit(X)
    loss = embedder.glsw_.loss
    assert 3 <= len(loss) <= 128
    assert ((loss > 0) & (loss < 1)).all()
    directions = embedder.glsw_.directions.astype(np.float64)
    np.testing.assert_allclose(directions @ directions.T, np.eye(len(loss)), atol=1e-4)
    spread = [
        SpectralEmbedder(readout="contrast", robust=r, wavelengths=NM).fit_transform(X).var(axis=0).sum()
        for r in (False, True)
    ]
    assert spread[1] == pytest.approx(spread[0], rel=1e-3)
    again = pickle.loads(pickle.dumps(embedder))
    np.testing.assert_array_equal(again.transform(X), embedder.transform(X))
    plain = embedder.set_params(robust=False).fit(X)
    assert not hasattr(plain, "glsw_")
    np.testing.assert_array_equal(
        plain.transform(X), SpectralEmbedder(readout="contrast", wavelengths=NM).fit_transform(X)
    )


def test_spectra_on_grids_of_their_own():
    X, _ = _material(20)
    shared = SpectralEmbedder(readout="contrast", robust=True, wavelengths=NM).fit_transform(X)
    own = SpectralEmbedder(readout="contrast", robust=True).fit_transform(list(X), wavelengths=[NM] * 20)
    np.testing.assert_allclose(own, shared, atol=2e-3 * shared.std())


@pytest.mark.parametrize("X", [np.ones((5, 200)), _material(1)[0], np.tile(_material(1)[0], (4, 1))])
def test_nothing_is_taken_where_nothing_varies(X):
    embedder = SpectralEmbedder(readout="contrast", robust=True, wavelengths=NM)
    assert np.isfinite(embedder.fit_transform(X)).all()
    assert len(embedder.glsw_.loss) == 0


def test_a_single_point():
    embedder = SpectralEmbedder(readout="contrast", robust=True)
    assert np.isfinite(embedder.fit_transform([[0.2], [0.4], [0.7]], wavelengths=[1500.0])).all()


def test_applied_in_place_to_any_precision():
    rows = np.array([[3.0, 4.0]])
    GLSW(np.array([[1.0, 0.0]], dtype=np.float32), np.array([0.5], dtype=np.float32)).apply(rows)
    np.testing.assert_array_equal(rows, [[1.5, 4.0]])


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore:no wavelengths were given")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn():
    embedder = SpectralEmbedder(readout="mean", robust=True)
    results = check_estimator(embedder, on_fail=None, expected_failed_checks=ROWS_OF_NAN)
    unusual = {r["check_name"]: r["status"] for r in results if r["status"] != "passed"}
    assert set(unusual) <= {"check_array_api_input", *ROWS_OF_NAN}, unusual
