"""SpectralEmbedder in nirs4all: both engines, with and without an axis, export and reload."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

from nirs4all_vit import SpectralEmbedder, second_instrument
from nirs4all_vit.nirs4all_host.hooks import is_plausible_axis
from tests.conftest import make_spectra, run_python

NM = np.linspace(1100.0, 2498.0, 60)
X = make_spectra(NM, 60).astype(np.float32)
Y = (X[:, 36] - X[:, 20]).astype(np.float64)
ENGINES = ("dag-ml", "legacy")


def dataset(name: str = "set", headers: Any = None, unit: str = "nm", values: np.ndarray = X) -> Any:
    from nirs4all.data import SpectroDataset

    made = SpectroDataset(name)
    axis = {} if headers is None else {"headers": [f"{v:.6f}" for v in headers], "header_unit": unit}
    for partition, rows in (("train", slice(0, 40)), ("test", slice(40, None))):
        made.add_samples(values[rows], {"partition": partition}, **axis)
        made.add_targets(Y[rows])
    return made


def run(data: Any, engine: str, embedder: SpectralEmbedder | None = None, head: Any = None) -> Any:
    import nirs4all

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*legacy.*")
        return nirs4all.run(
            [KFold(3), embedder or SpectralEmbedder(readout="compact"), {"model": head or Ridge(0.1)}],
            dataset=data,
            engine=engine,
            verbose=0,
            save_charts=False,
            random_state=0,
        )


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """nirs4all writes its workspace where it is run."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray | None]:
    """The wavelengths that reach `fit` or `fit_transform`."""
    received: list[np.ndarray | None] = []
    fit = SpectralEmbedder._fit

    def spy(self: SpectralEmbedder, X: Any, wavelengths: Any) -> Any:
        received.append(wavelengths)
        return fit(self, X, wavelengths)

    monkeypatch.setattr(SpectralEmbedder, "_fit", spy)
    return received


def expected_rmse() -> float:
    embedder = SpectralEmbedder(readout="compact", wavelengths=NM).fit(X[:40])
    head = Ridge(0.1).fit(embedder.transform(X[:40]), Y[:40])
    return float(np.sqrt(np.mean((head.predict(embedder.transform(X[40:])) - Y[40:]) ** 2)))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("unit", ["nm", "cm-1"])
def test_the_real_wavelengths_arrive(engine: str, unit: str, seen: list) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="no wavelengths were given")
        result = run(dataset(headers=NM if unit == "nm" else 1e7 / NM, unit=unit), engine)
    assert seen
    for wavelengths in seen:
        np.testing.assert_allclose(wavelengths, NM, rtol=1e-6)
    assert result.final["test_score"] == pytest.approx(expected_rmse(), rel=1e-2)


@pytest.mark.parametrize("engine", ENGINES)
def test_descending_header(engine: str) -> None:
    result = run(dataset(headers=NM[::-1], values=np.ascontiguousarray(X[:, ::-1])), engine)
    assert result.final["test_score"] == pytest.approx(expected_rmse(), rel=1e-2)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["list", "array"])
def test_the_constructors_axis_serves_arrays(engine: str, kind: str) -> None:
    axis = NM.tolist() if kind == "list" else NM
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="no wavelengths were given")
        result = run(dataset(), engine, SpectralEmbedder(readout="compact", wavelengths=axis))
    assert result.final["test_score"] == pytest.approx(expected_rmse(), rel=1e-2)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["dataset", "arrays"])
def test_without_a_header_it_warns_and_runs(engine: str, kind: str, seen: list) -> None:
    with pytest.warns(UserWarning, match="no wavelengths were given: an even grid"):
        result = run(dataset() if kind == "dataset" else (X, Y), engine)
    assert set(map(type, seen)) == {type(None)}
    assert np.isfinite(result.cv_best_score)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_first_spectrum_read_as_header_is_ignored(engine: str, workspace: Path, seen: list) -> None:
    folder = workspace / "headerless"
    folder.mkdir()
    np.savetxt(folder / "Xcal.csv", X[:40], delimiter=";")
    np.savetxt(folder / "Ycal.csv", Y[:40], delimiter=";")
    np.savetxt(folder / "Xval.csv", X[40:], delimiter=";")
    np.savetxt(folder / "Yval.csv", Y[40:], delimiter=";")
    with pytest.warns(UserWarning, match=r"(not a wavelength axis|no wavelengths were given)"):
        result = run(str(folder), engine)
    assert set(map(type, seen)) == {type(None)}
    assert np.isfinite(result.cv_best_score)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("start", [325.0, 1100.0])
def test_csv_folder_with_nm_header(engine: str, start: float, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nirs4all takes the header for wavenumbers; the embedder ends up with the true axis."""
    axis = start + np.arange(60) * 5.0
    folder = workspace / "nm"
    folder.mkdir()
    for part, rows in (("cal", slice(0, 40)), ("val", slice(40, None))):
        header = ";".join(f"{v:g}" for v in axis)
        np.savetxt(folder / f"X{part}.csv", X[rows], delimiter=";", header=header, comments="")
        np.savetxt(folder / f"Y{part}.csv", Y[rows], delimiter=";", header="y", comments="")
    resolved = []
    resolve = SpectralEmbedder.resolve

    def spy(self: SpectralEmbedder, *arguments: Any, **options: Any) -> Any:
        out = resolve(self, *arguments, **options)
        resolved.append(self.wavelengths_)
        return out

    monkeypatch.setattr(SpectralEmbedder, "resolve", spy)
    run(str(folder), engine)
    for seen_axis in resolved:
        np.testing.assert_allclose(seen_axis, axis, rtol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_unit_that_contradicts_the_host_is_refused(engine: str) -> None:
    with pytest.raises(Exception, match="leave it at 'auto'"):
        run(dataset(headers=NM), engine, SpectralEmbedder(axis_unit="cm-1"))


@pytest.mark.parametrize("engine", ENGINES)
def test_several_datasets_on_different_grids(engine: str, seen: list) -> None:
    short = np.linspace(908.0, 1676.0, 60)
    result = run([dataset("long", NM), dataset("short", short, values=make_spectra(short, 60))], engine)
    assert {round(float(w[0])) for w in seen} == {1100, 908}
    assert len(result.get_datasets()) == 2


def test_beside_another_preprocessing() -> None:
    """After a row-wise operator that keeps the axis, the wavelengths still arrive."""
    import nirs4all
    from nirs4all.operators.transforms import StandardNormalVariate

    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="no wavelengths were given")
        result = nirs4all.run(
            [KFold(3), StandardNormalVariate(), SpectralEmbedder(readout="compact"), {"model": PLSRegression(3)}],
            dataset=dataset(headers=NM),
            verbose=0,
            save_charts=False,
        )
    assert result.final["test_score"] < 0.5 * Y[40:].std()


@pytest.mark.parametrize("engine", ENGINES)
def test_export_and_predict_in_a_new_process(engine: str, workspace: Path) -> None:
    import nirs4all

    result = run(dataset(headers=NM), engine)
    bundle = Path(result.export(str(workspace / "model.n4a")))
    predict_engine = None if engine == "dag-ml" else engine
    np.save(workspace / "X.npy", X[40:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        here = np.ravel(nirs4all.predict(str(bundle), X[40:], engine=predict_engine, verbose=0).y_pred)
    run_python(
        f"""
import nirs4all, numpy as np, warnings
warnings.simplefilter("ignore")
p = nirs4all.predict({str(bundle)!r}, np.load({str(workspace / "X.npy")!r}), engine={predict_engine!r}, verbose=0)
np.save({str(workspace / "P.npy")!r}, np.ravel(p.y_pred))
""",
        cwd=workspace,
        network=False,
    )
    there = np.load(workspace / "P.npy")
    np.testing.assert_allclose(there, here, rtol=1e-5)
    np.testing.assert_allclose(there, np.ravel(result.final["y_pred"]), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_second_instrument_at_prediction(engine: str, workspace: Path) -> None:
    import nirs4all

    result = run(dataset(headers=NM), engine)
    bundle = str(result.export(str(workspace / "model.n4a")))
    second = X + 0.8 * np.exp(-(((NM - 1850.0) / 60.0) ** 2)).astype(np.float32)
    others, new = second[:40], second[40:]

    def error() -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predicted = nirs4all.predict(bundle, new, engine=None if engine == "dag-ml" else engine, verbose=0).y_pred
        return float(np.sqrt(np.mean((np.ravel(predicted) - Y[40:]) ** 2)))

    before = error()
    with second_instrument(others):
        assert error() < 0.7 * before
    assert error() == before


def behind(step: Any, engine: str, *, embed: Any = None) -> Any:
    import nirs4all

    steps = [KFold(3), step, embed or SpectralEmbedder(readout="compact"), {"model": Ridge(0.1)}]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*legacy.*")
        return nirs4all.run(
            steps, dataset=dataset(headers=NM), engine=engine, verbose=0, save_charts=False, random_state=0
        )


@pytest.mark.parametrize(
    ("name", "parameters", "axis"),
    [
        ("CropTransformer", {"start": 5, "end": 50}, NM[5:50]),
        ("CropTransformer", {"start": 3}, NM[3:]),
        ("ResampleTransformer", {"num_samples": 40}, np.linspace(1100.0, 2498.0, 40)),
    ],
)
def test_the_axis_behind_a_cut(name: str, parameters: dict[str, int], axis: np.ndarray, seen: list) -> None:
    from nirs4all.operators.transforms import features

    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="no wavelengths were given")
        result = behind(getattr(features, name)(**parameters), "dag-ml")
    assert np.isfinite(result.cv_best_score)
    for wavelengths in seen:
        np.testing.assert_allclose(wavelengths, axis, rtol=1e-6)
    # The other engine hands nothing over there; it says so, and runs.
    with pytest.warns(UserWarning, match="no wavelengths were given: an even grid"):
        behind(getattr(features, name)(**parameters), "legacy")


def test_another_number_of_columns_is_told_in_a_sentence() -> None:
    from sklearn.decomposition import PCA

    with pytest.raises(Exception, match=r"makes 20 columns of 60 wavelengths; give their axis, SpectralEmbedder\(wav"):
        behind(PCA(20), "dag-ml")


def test_other_operators_are_given_what_nirs4all_gives_them() -> None:
    from nirs4all.operators.transforms.features import CropTransformer
    from nirs4all.pipeline.dagml import node_runner

    axes = [tuple(f"{1e7 / v:.4f}" for v in NM)]
    (after,) = [node_runner._axis_after_step(CropTransformer(5, 50), axes[0], 0)]
    np.testing.assert_allclose(1e7 / np.asarray(after, dtype=float), NM[5:50], rtol=1e-6)

    class Strict(Ridge):
        _requires_wavelengths = True

    with pytest.raises(ValueError, match="requires coordinates for source 0"):
        node_runner._coordinate_chain([Strict()], [after])


def test_registration_does_not_depend_on_the_order_of_imports() -> None:
    check = """
from nirs4all.controllers.registry import CONTROLLER_REGISTRY
assert sum(c.__name__ == "SpectralEmbedderController" for c in CONTROLLER_REGISTRY) == 1
"""
    run_python("import nirs4all.controllers\nfrom nirs4all_vit import SpectralEmbedder\n" + check)
    run_python("from nirs4all_vit import SpectralEmbedder\nimport nirs4all.controllers\n" + check)


@pytest.mark.parametrize(
    ("axis", "plausible"),
    [
        (NM, True),
        (NM[::-1], True),
        (np.arange(60), False),
        (1e7 / X[0], False),
        (np.r_[NM, NM[:1] + 1], True),  # a sensor of its own
        (1000 + 900 * X[0], False),
        ([np.inf, 1100.0], False),
    ],
)
def test_plausibility(axis: Any, plausible: bool) -> None:
    assert is_plausible_axis(axis) is plausible
