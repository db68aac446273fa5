"""The heads that a calibration compares, fitted on one embedding with the spectra behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from ..errors import SpectralInputError
from ..heads.committee import SpectralCommittee
from ..heads.head import head_names, make_head
from ..heads.pls import PLSDA
from ..heads.preprocessed_pls import PreprocessedPLS
from ..heads.targetwise import accepted
from ..heads.views import PREPROCESSINGS
from ..spectra.data import spread_rows

#: Heads that a model folder can hold.
SAVED_HEADS = ("committee", "ridge", "pls", "plsda", "krr", "gp", "mlp", "logistic")
_COMPONENTS = (2, 4, 6, 8, 12, 16, 20)
#: Samples that PLS-DA is tuned on, at most.
_MAX_SEARCHED = 1000


def check_head_name(name: str, tasks: set[str]) -> None:
    """Refuse a head that a model folder cannot hold, or that is not for all of the targets' tasks."""
    for task in sorted(tasks):
        suitable = [one for one in head_names(task) if one in SAVED_HEADS]
        if name not in suitable:
            raise SpectralInputError(f"head {name!r} does not suit {task} here; choose one of {', '.join(suitable)}.")


def new_head(name: str, task: str, widths: tuple[int, ...]) -> Any:
    """Return an unfitted head; a committee is told how wide the blocks of the embedding are."""
    head = make_head(name, task)
    return clone(head).set_params(widths=widths) if isinstance(head, SpectralCommittee) else head


def reads_spectra(head: Any) -> bool:
    """Tell heads that read the spectra behind the embedding from those that do not."""
    return isinstance(head, SpectralCommittee)


def fit_head(head: Any, columns: NDArray[Any], y: NDArray[Any], groups: Any, width: int) -> Any:
    """Fit a head on the columns that it reads: an embedding of `width` columns, and perhaps the spectra behind it."""
    given = columns if reads_spectra(head) else columns[:, :width]
    return head.fit(given, y, **accepted(head, groups=groups))


def read_by(head: Any, columns: NDArray[Any], width: int) -> NDArray[Any]:
    """Return the columns that a head reads."""
    return columns if reads_spectra(head) else columns[:, :width]


def predict_with_deviation(head: Any, columns: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Return predictions, and their standard deviations from a head that knows them."""
    if not isinstance(head, SpectralCommittee):
        return np.ravel(head.predict(columns)), None
    centre, deviation = head.predict(columns, return_std=True)
    return centre, np.maximum(deviation, 1e-3 * float(np.median(deviation)) + 1e-300)


def class_scores(head: Any, columns: NDArray[Any]) -> NDArray[np.float64]:
    """Return a score for each class, (n_samples, n_classes); the largest is the prediction."""
    if hasattr(head, "decision_function"):
        scores = np.asarray(head.decision_function(columns), dtype=np.float64)
        return np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores
    return np.asarray(head.predict_proba(columns), dtype=np.float64)


class PreprocessedPLSDA(ClassifierMixin, BaseEstimator):
    """PLS-DA on the best of five preprocessings of spectra, chosen with the number of components by cross-validation.

    Attributes
    ----------
    search_ : GridSearchCV
    classes_ : ndarray of shape (n_classes,)
    """

    def fit(self, X: Any, y: Any) -> PreprocessedPLSDA:
        """Calibrate on spectra (n_samples, n_wavelengths) and labels (n_samples,)."""
        steps = [("preprocessing", FunctionTransformer()), ("pls", PLSDA())]
        grid = {"preprocessing__func": list(PREPROCESSINGS.values()), "pls__n_components": list(_COMPONENTS)}
        rows = spread_rows(len(y), _MAX_SEARCHED) if len(y) > _MAX_SEARCHED else np.arange(len(y))
        counts = np.unique(np.asarray(y)[rows], return_counts=True)[1]
        if counts.min() < 2:
            self.search_ = Pipeline(steps).fit(X, y)
        else:
            folds = StratifiedKFold(min(3, int(counts.min())), shuffle=True, random_state=0)
            search = GridSearchCV(Pipeline(steps), grid, cv=folds, scoring="balanced_accuracy", refit=False)
            search.fit(X[rows], y[rows])
            self.search_ = Pipeline(steps).set_params(**search.best_params_).fit(X, y)
        self.classes_ = self.search_.classes_
        return self

    def predict(self, X: Any) -> Any:
        """Return the likeliest class of each sample."""
        return self.search_.predict(X)


def baselines(head_name: str, task: str, widths: tuple[int, ...]) -> dict[str, Any]:
    """Return what the chosen head is compared with, by the names that readers know."""
    pls = {"PLS, best of five preprocessings": PreprocessedPLS()}
    plsda = {"PLS-DA, best of five preprocessings": PreprocessedPLSDA()}
    # For classes the committee is ridge.
    ridge = (
        {}
        if head_name == "ridge" or task == "classification"
        else {"Embedding + ridge": new_head("ridge", task, widths)}
    )
    if head_name not in ("ridge", "committee") and task == "classification":
        ridge = {"Embedding + ridge": new_head("ridge", task, widths)}
    return ridge | (pls if task == "regression" else plsda)
