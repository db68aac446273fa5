"""TabPFN and TabICL: their real loading code on tiny weights made here, their real weights where they are."""

from __future__ import annotations

import os
import pickle
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone

from nirs4all_vit.heads import HeadUnavailable, make_head
from nirs4all_vit.heads.tabular import LIBRARIES

TASKS = ("regression", "classification")


def tiny_tabicl(path: Path, task: str) -> None:
    model = pytest.importorskip("tabicl._model.tabicl")
    config = {
        **{"num_quantiles": 9, "embed_dim": 16, "col_num_blocks": 1, "col_nhead": 2, "col_num_inds": 4},
        **{"row_num_blocks": 1, "row_nhead": 2, "row_num_cls": 2, "icl_num_blocks": 1, "icl_nhead": 2},
        "max_classes": 0 if task == "regression" else 10,
    }
    torch.save({"config": config, "state_dict": model.TabICL(**config).state_dict()}, path)


def tiny_tabpfn(path: Path, task: str) -> None:
    v2 = pytest.importorskip("tabpfn.architectures.tabpfn_v2")
    config = v2.TabPFNV2Config(
        emsize=16, nlayers=1, nhead=2, max_num_classes=0 if task == "regression" else 10, num_buckets=20
    )
    state = v2.get_architecture(config).state_dict()
    if task == "regression":
        bars = pytest.importorskip("tabpfn.architectures.shared.bar_distribution")
        criterion = bars.FullSupportBarDistribution(torch.linspace(-4.0, 4.0, 21))
        state.update({f"criterion.{name}": tensor for name, tensor in criterion.state_dict().items()})
    torch.save({"state_dict": state, "config": asdict(config), "architecture_name": "tabpfn_v2"}, path)


MAKERS = {"tabpfn": tiny_tabpfn, "tabicl": tiny_tabicl}


@pytest.fixture(params=[(library, task) for library in LIBRARIES for task in TASKS], ids="-".join)
def tiny(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str, Path]:
    library, task = request.param
    torch.manual_seed(0)
    path = tmp_path / "tiny.ckpt"
    MAKERS[library](path, task)
    return library, task, path


def problem(task: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 700)).astype(np.float32)
    return X, X[:, 0] if task == "regression" else np.where(X[:, 0] > 0, "oats", "wheat")


def test_weights_of_a_local_file(tiny: tuple[str, str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    library, task, path = tiny
    X, y = problem(task)
    # More columns than the library takes: the head makes few of them.
    head = make_head(library, task, model_path=str(path), n_estimators=1, n_columns=20)
    fitted = clone(head).fit(X[:30], y[:30])
    predicted = fitted.predict(X[30:])
    assert predicted.shape == (10,)
    if task == "classification":
        assert set(predicted) <= {"oats", "wheat"}
        np.testing.assert_allclose(fitted.predict_proba(X[30:]).sum(axis=1), 1.0, rtol=1e-4)
    else:
        assert np.isfinite(predicted).all()
    again = pickle.loads(pickle.dumps(fitted)).predict(X[30:])
    assert np.array_equal(again, predicted) if task == "classification" else np.allclose(again, predicted, rtol=1e-4)
    # The environment may name the file instead.
    monkeypatch.setenv(LIBRARIES[library].variables[task], str(path))
    named = make_head(library, task, n_estimators=1, n_columns=20).fit(X[:30], y[:30]).predict(X[30:])
    assert np.array_equal(named, predicted) if task == "classification" else np.allclose(named, predicted, rtol=1e-4)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("task", TASKS)
def test_a_file_that_is_missing(library: str, task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(library)
    X, y = problem(task)
    file, variable = LIBRARIES[library].files[task], LIBRARIES[library].variables[task]
    advice = rf"It needs {file} \(.*(permissive|BSD).*\): .* set {variable}=.*/{file}, or pass model_path="
    with pytest.raises(HeadUnavailable, match=rf"model_path='.*gone.ckpt' is not a file\. {advice}"):
        make_head(library, task, model_path=str(tmp_path / "gone.ckpt")).fit(X, y)
    monkeypatch.setenv(variable, str(tmp_path / "gone.ckpt"))
    with pytest.raises(HeadUnavailable, match=rf"make_head\('{library}'\): {variable}=.*gone.ckpt is not a file"):
        make_head(library, task)


@pytest.mark.parametrize("library", LIBRARIES)
def test_neither_network_nor_weights(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytest.importorskip(library)
    X, y = problem("regression")
    name = "TabPFNRegressor" if library == "tabpfn" else "TabICLRegressor"

    def no_network(self, X, y):  # noqa: ARG001
        raise OSError("no route to host")

    monkeypatch.setattr(getattr(package, name), "fit", no_network)
    with pytest.raises(
        HeadUnavailable, match=f"{library} could not fetch its weights. It needs {library}-.*(BSD|permissive)"
    ):
        make_head(library).fit(X, y)


def test_columns_beyond_what_the_model_takes() -> None:
    pytest.importorskip("tabpfn")
    X, y = problem("regression")
    with pytest.raises(ValueError, match="n_columns=501; tabpfn takes 1 to 500 columns"):
        make_head("tabpfn", n_columns=501).fit(X, y)


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_the_real_weights(library: str) -> None:
    """Better than the mean on a linear target, where the weights are on this machine."""
    variable = LIBRARIES[library].variables["regression"]
    if not os.path.isfile(os.environ.get(variable, "")):
        pytest.skip(f"set {variable} to the file of the weights")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 30))
    y = X @ rng.normal(size=30)
    assert make_head(library).fit(X[:60], y[:60]).score(X[60:], y[60:]) > 0.5
