"""TabPFN and TabICL, foundation models for tabular data, on principal components of an embedding."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from ..fitting import all_or_nothing
from .columns import PCAColumns


class HeadUnavailable(RuntimeError):
    """A head is unavailable because a package or weight file is missing; the message names the remedy."""


class _Library(NamedTuple):
    package: str
    #: Environment variables for a local weight file, by task.
    variables: dict[str, str]
    #: File downloaded if no local file is given, by task.
    files: dict[str, str]
    licence: str
    #: Largest number of columns that the model was designed for.
    most_columns: int


LIBRARIES = {
    "tabpfn": _Library(
        "tabpfn",
        {"regression": "TABPFN_REGRESSOR", "classification": "TABPFN_CLASSIFIER"},
        {"regression": "tabpfn-v2-regressor.ckpt", "classification": "tabpfn-v2-classifier.ckpt"},
        "version 2: permissive, with attribution; later versions: gated and not for commercial use",
        500,
    ),
    "tabicl": _Library(
        "tabicl",
        {"regression": "TABICL_REGRESSOR", "classification": "TABICL_CLASSIFIER"},
        {"regression": "tabicl-regressor-v2-20260212.ckpt", "classification": "tabicl-classifier-v2-20260212.ckpt"},
        "BSD-3-Clause",
        500,
    ),
}


def why_not(library: str, task: str) -> str | None:
    """Return the reason why a library cannot run, or None; downloadable weights count as available."""
    about = LIBRARIES[library]
    if importlib.util.find_spec(about.package) is None:
        return f"{about.package} is not installed: pip install 'nirs4all-vit[{library}]'"
    named = os.environ.get(about.variables[task])
    if named and not Path(named).is_file():
        return f"{about.variables[task]}={named} is not a file"
    return None


def weights_here(library: str, task: str) -> bool:
    """Return whether the weights are on this machine, by environment variable or in the library's cache."""
    about = LIBRARIES[library]
    if os.environ.get(about.variables[task]):
        return True  # `why_not` checks that the file exists
    if library == "tabicl":
        from huggingface_hub import try_to_load_from_cache

        return isinstance(try_to_load_from_cache("jingang/TabICL", about.files[task]), str)
    from tabpfn.model_loading import get_cache_dir

    return (Path(get_cache_dir()) / about.files[task]).is_file()


class _Tabular(BaseEstimator):
    _task: str

    def __init__(
        self,
        library: str = "tabpfn",
        *,
        model_path: str | os.PathLike[str] | None = None,
        n_columns: int = 100,
        n_estimators: int = 8,
        device: str = "cpu",
        random_state: int | None = 0,
    ) -> None:
        self.library = library
        self.model_path = model_path
        self.n_columns = n_columns
        self.n_estimators = n_estimators
        self.device = device
        self.random_state = random_state

    def _fit(self, X: Any, y: Any) -> Any:
        if self.library not in LIBRARIES:
            raise ValueError(f"library={self.library!r} is not known; use one of {', '.join(LIBRARIES)}.")
        about = LIBRARIES[self.library]
        if not 1 <= self.n_columns <= about.most_columns:
            raise ValueError(f"n_columns={self.n_columns}; {self.library} takes 1 to {about.most_columns} columns.")
        missing = why_not(self.library, self._task)
        path = self.model_path or os.environ.get(about.variables[self._task])
        if missing is None and path is not None and not Path(path).is_file():
            missing = f"model_path={str(path)!r} is not a file"
        if missing:
            raise HeadUnavailable(f"{missing}. {self._advice()}")
        self.columns_ = PCAColumns(self.n_columns)
        few = self.columns_.fit_transform(X)
        model = self._model(path)
        try:
            self.model_ = model.fit(few, y)
        except (ValueError, TypeError, MemoryError):
            raise
        except Exception as error:
            if path is not None:
                raise
            # Any error of the downloader has the same remedy.
            raise HeadUnavailable(f"{self.library} could not fetch its weights. {self._advice()}") from error
        return self

    def _advice(self) -> str:
        about = LIBRARIES[self.library]
        return (
            f"It needs {about.files[self._task]} ({about.licence}): let it download the file where there is a network, "
            f"or set {about.variables[self._task]}=/path/to/{about.files[self._task]}, or pass model_path=."
        )

    def _model(self, path: str | os.PathLike[str] | None) -> Any:
        common = {"n_estimators": self.n_estimators, "device": self.device, "random_state": self.random_state}
        if self.library == "tabicl":
            import tabicl

            estimator = tabicl.TabICLRegressor if self._task == "regression" else tabicl.TabICLClassifier
            # With the path of an existing file the loader does not look elsewhere.
            return estimator(model_path=path, allow_auto_download=path is None, **common)
        import tabpfn
        from tabpfn.constants import ModelVersion

        estimator = tabpfn.TabPFNRegressor if self._task == "regression" else tabpfn.TabPFNClassifier
        if path is not None:
            return estimator(model_path=str(path), **common)
        # Version 2 has the permissive licence.
        return estimator.create_default_for_version(ModelVersion.V2, **common)

    def _few(self, X: Any) -> Any:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        return self.columns_.transform(X)


class TabularRegressor(RegressorMixin, _Tabular):
    """TabPFN or TabICL on principal components of an embedding.

    Parameters
    ----------
    library : {"tabpfn", "tabicl"}
    model_path : path, default=None
        Local weight file. Default: the file of the environment variable ``TABPFN_REGRESSOR`` or ``TABICL_REGRESSOR``,
        else the library's own download (version 2 of TabPFN).
    n_columns : int, default=100
        Number of principal components, 1 to 500.
    n_estimators : int, default=8
        Number of averaged passes with shuffled columns.
    device : str, default="cpu"
    random_state : int or None, default=0
    """

    _task = "regression"

    @all_or_nothing
    def fit(self, X: Any, y: Any) -> TabularRegressor:
        """Store `X` (n_samples, n_columns) and `y` (n_samples,) as context.

        Raises `HeadUnavailable` if the package or its weights are missing.
        """
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32), y_numeric=True)
        return self._fit(X, y)

    def predict(self, X: Any) -> Any:
        """Predict (n_samples,)."""
        return np.asarray(self.model_.predict(self._few(X)), dtype=np.float64)


class TabularClassifier(ClassifierMixin, _Tabular):
    """`TabularRegressor` for classes; the variables are ``TABPFN_CLASSIFIER`` and ``TABICL_CLASSIFIER``."""

    _task = "classification"

    @all_or_nothing
    def fit(self, X: Any, y: Any) -> TabularClassifier:
        """Store `X` (n_samples, n_columns) and labels `y` (n_samples,) as context.

        Raises `HeadUnavailable` if the package or its weights are missing.
        """
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32))
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        return self._fit(X, codes)

    def predict_proba(self, X: Any) -> Any:
        """Return class probabilities (n_samples, n_classes)."""
        return self.model_.predict_proba(self._few(X))

    def predict(self, X: Any) -> Any:
        """Return the most likely class of each sample."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]
