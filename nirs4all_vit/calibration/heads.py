"""Heads that a calibration compares, fitted on an embedding with appended spectra."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.model_selection import StratifiedKFold

from ..errors import SpectralInputError
from ..heads.committee import SpectralCommittee
from ..heads.head import head_names, make_head
from ..heads.pls import PLSDA, CappedPLSRegression
from ..heads.preprocessed_pls import PreprocessedPLS
from ..heads.targetwise import accepted
from ..heads.views import PREPROCESSINGS
from ..spectra.data import spread_rows

#: Heads that can be saved in a model folder.
SAVED_HEADS = ("committee", "ridge", "pls", "plsda", "krr", "gp", "mlp", "logistic")
#: Largest number of samples, and number of folds, for tuning PLS-DA.
_MAX_SEARCHED, _N_FOLDS = 1000, 3


def check_head_name(name: str, tasks: set[str]) -> None:
    """Refuse a head that cannot be saved or does not suit all tasks."""
    for task in sorted(tasks):
        suitable = [one for one in head_names(task) if one in SAVED_HEADS]
        if name not in suitable:
            raise SpectralInputError(f"head {name!r} does not suit {task} here; choose one of {', '.join(suitable)}.")


def new_head(name: str, task: str, widths: tuple[int, ...]) -> Any:
    """Return an unfitted head; a committee gets the widths of the embedding's blocks."""
    head = make_head(name, task)
    return clone(head).set_params(widths=widths) if isinstance(head, SpectralCommittee) else head


def reads_spectra(head: Any) -> bool:
    """Return whether a head uses the appended spectra beside the embedding."""
    return isinstance(head, SpectralCommittee)


def fit_head(head: Any, columns: NDArray[Any], y: NDArray[Any], groups: Any, width: int) -> Any:
    """Fit a head on the columns that it uses, with groups unless each group has a single row.

    The first `width` columns are the embedding, the others the appended spectra.
    """
    replicates = groups if groups is not None and len(np.unique(groups)) < len(groups) else None
    return head.fit(read_by(head, columns, width), y, **accepted(head, groups=replicates))


def read_by(head: Any, columns: NDArray[Any], width: int) -> NDArray[Any]:
    """Return the columns that a head uses."""
    return columns if reads_spectra(head) else columns[:, :width]


def predict_with_deviation(head: Any, columns: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Return predictions and their standard deviations; None for heads without deviations."""
    if not isinstance(head, SpectralCommittee):
        return np.ravel(head.predict(columns)).astype(np.float64), None
    centre, deviation = head.predict(columns, return_std=True)
    return centre, np.maximum(deviation, 1e-12)


def class_scores(head: Any, columns: NDArray[Any]) -> NDArray[np.float64]:
    """Return a score per class, (n_samples, n_classes); the class with the highest is predicted."""
    if hasattr(head, "decision_function"):
        scores = np.asarray(head.decision_function(columns), dtype=np.float64)
        return np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores
    return np.asarray(head.predict_proba(columns), dtype=np.float64)


class PreprocessedPLSDA(ClassifierMixin, BaseEstimator):
    """PLS-DA on spectra with the best of five preprocessings.

    Cross-validation selects the preprocessing and the number of components by balanced accuracy.

    Parameters
    ----------
    max_components : int, default=20
        Largest number of components.

    Attributes
    ----------
    preprocessing_ : str
    n_components_ : int
    plsda_ : PLSDA
    classes_ : ndarray of shape (n_classes,)
    """

    def __init__(self, max_components: int = 20) -> None:
        self.max_components = max_components

    def fit(self, X: Any, y: Any) -> PreprocessedPLSDA:
        """Calibrate on spectra (n_samples, n_wavelengths) and labels (n_samples,)."""
        y = np.asarray(y)
        rows = spread_rows(len(y), _MAX_SEARCHED)
        self.classes_, codes = np.unique(y, return_inverse=True)
        n_folds = min(_N_FOLDS, int(np.bincount(codes[rows], minlength=len(self.classes_)).min()))
        self.preprocessing_, self.n_components_, best = "snv", min(10, self.max_components), -1.0
        folds = (
            list(StratifiedKFold(n_folds, shuffle=True, random_state=0).split(rows, codes[rows])) if n_folds > 1 else []
        )
        limit = max(1, min(self.max_components, min((len(a) for a, _ in folds), default=len(y)) - 1, X.shape[1]))
        for name, convert in PREPROCESSINGS.items() if folds else ():
            features = convert(X[rows])
            if not np.ptp(features, axis=0).any():
                continue  # the preprocessing removes all variation, as SNV does for one wavelength
            recalls = np.zeros(limit)
            for inside, outside in folds:
                truth = codes[rows][outside]
                path = _class_path(features[inside], codes[rows][inside], features[outside], limit)
                each = [np.mean([(one == k)[truth == k].mean() for k in np.unique(truth)]) for one in path]
                recalls += np.asarray(each)
            if recalls.max() > best:
                best, self.preprocessing_, self.n_components_ = float(recalls.max()), name, int(recalls.argmax()) + 1
        self.plsda_ = PLSDA(self.n_components_).fit(PREPROCESSINGS[self.preprocessing_](X), y)
        return self

    def predict(self, X: Any) -> Any:
        """Return the predicted class of each sample, (n_samples,)."""
        return self.plsda_.predict(PREPROCESSINGS[self.preprocessing_](X))


def _class_path(
    X: NDArray[np.float64], codes: NDArray[np.intp], X_new: NDArray[np.float64], n_components: int
) -> NDArray[np.intp]:
    """Return classes of `X_new` by PLS-DA with 1, 2, ... components, (n_components, n_new).

    One fit suffices: components are nested.
    """
    members = np.eye(int(codes.max()) + 1)[codes]
    if not np.ptp(X, axis=0).any() or not np.ptp(members, axis=0).any():
        return np.full((n_components, len(X_new)), members.mean(axis=0).argmax())
    model = CappedPLSRegression(n_components).fit(X, members)
    scores = (X_new - X.mean(axis=0)) @ model.x_rotations_
    path = np.cumsum(scores.T[:, :, np.newaxis] * model.y_loadings_.T[:, np.newaxis], axis=0) + members.mean(axis=0)
    classes = path.argmax(axis=2)
    missing = n_components - len(classes)
    return np.concatenate([classes, np.repeat(classes[-1:], missing, axis=0)]) if missing else classes


def baselines(head_name: str, task: str, widths: tuple[int, ...]) -> dict[str, Any]:
    """Return the methods that the head is compared with, by their names in the report."""
    pls = {"PLS, best of five preprocessings": PreprocessedPLS()}
    plsda = {"PLS-DA, best of five preprocessings": PreprocessedPLSDA()}
    # The committee for classification is a ridge.
    ridge = (
        {}
        if head_name == "ridge" or task == "classification"
        else {"Embedding + ridge": new_head("ridge", task, widths)}
    )
    if head_name not in ("ridge", "committee") and task == "classification":
        ridge = {"Embedding + ridge": new_head("ridge", task, widths)}
    return ridge | (pls if task == "regression" else plsda)
