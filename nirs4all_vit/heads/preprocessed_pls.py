"""PLS on spectra with the preprocessing selected by cross-validation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from ..embedding.folds import shuffled_folds
from ..progress import tracked
from ..spectra.data import spread_rows
from .pls import CappedPLSRegression
from .targetwise import Targetwise
from .views import PREPROCESSINGS

#: Maximum number of samples for selecting preprocessing and components.
_MAX_SEARCHED = 1000


class PreprocessedPLS(Targetwise, RegressorMixin, BaseEstimator):
    """PLS on spectra with the best of five preprocessings.

    The candidates are none, SNV, first derivative, SNV with first derivative, and SNV with second derivative.
    Preprocessing and number of components are selected together by cross-validation.

    Parameters
    ----------
    max_components : int, default=20
        Largest number of components.
    cv : int, default=5
        Number of folds; groups are kept together.

    Attributes
    ----------
    preprocessing_ : str
        Selected preprocessing.
    n_components_ : int
        Selected number of components.
    """

    def __init__(self, max_components: int = 20, *, cv: int = 5) -> None:
        self.max_components = max_components
        self.cv = cv

    def _fit_target(self, X: Any, y: Any, *, groups: Any = None) -> PreprocessedPLS:
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True, ensure_min_samples=2)
        rows = spread_rows(len(y), _MAX_SEARCHED)
        codes = None if groups is None else np.unique(np.asarray(groups)[rows], return_inverse=True)[1]
        n = len(rows) if codes is None else int(codes.max()) + 1
        folds = list(shuffled_folds(self.cv, max(n, 2), codes).split(rows, groups=codes)) if n > 1 else []
        limit = max(1, min(self.max_components, min((len(a) for a, _ in folds), default=len(y)) - 1, X.shape[1]))
        best = np.inf
        for name, convert in tracked(PREPROCESSINGS.items(), "preprocessings", "preprocessing"):
            features = convert(X[rows])
            if np.isfinite(best) and not np.ptp(features, axis=0).any():
                continue  # all columns are constant, as after SNV of one wavelength
            errors = np.zeros(limit)
            for inside, outside in folds:
                path = component_path(features[inside], y[rows][inside], features[outside], limit)
                errors += np.square(path - y[rows][outside]).sum(axis=1)
            if errors.min() < best:
                best, self.preprocessing_, self.n_components_ = float(errors.min()), name, int(errors.argmin()) + 1
        self.left_out_rmse_ = float(np.sqrt(best / len(rows)))
        self.pls_ = CappedPLSRegression(self.n_components_).fit(PREPROCESSINGS[self.preprocessing_](X), y)
        return self

    def _predict_target(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return np.ravel(self.pls_.predict(PREPROCESSINGS[self.preprocessing_](X)))


def component_path(
    X: NDArray[np.float64], y: NDArray[np.float64], X_new: NDArray[np.float64], n_components: int
) -> NDArray[np.float64]:
    """Return PLS predictions of `X_new` with 1, 2, ... components, (n_components, n_new), from one fit."""
    if not np.ptp(X, axis=0).any() or not np.ptp(y):
        return np.full((n_components, len(X_new)), y.mean())
    model = CappedPLSRegression(n_components).fit(X, y)
    scores = (X_new - X.mean(axis=0)) @ model.x_rotations_
    path = y.mean() + np.cumsum(scores.T * model.y_loadings_[0][:, np.newaxis], axis=0)
    missing = n_components - len(path)
    return np.concatenate([path, np.repeat(path[-1:], missing, axis=0)]) if missing else path
