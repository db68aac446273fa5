"""Partial least squares, with view and components selected by inner cross-validation."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.cross_decomposition import PLSRegression
from sklearn.metrics import balanced_accuracy_score

from ..calibrations import Calibration
from .base import Method, Views, inner_folds

MAX_COMPONENTS = 20


class PLS(Method):
    """PLS regression, or PLS-DA on indicator columns for classes.

    Parameters
    ----------
    views : Views
        Candidate views; inner cross-validation selects view and number of components.

    Attributes
    ----------
    chosen : str
        Name of the selected view.
    model : PLSRegression
        Fitted model, on centred features without scaling.
    """

    def __init__(self, views: Views) -> None:
        self.views = views

    def fit(self, part: Calibration) -> Self:
        """Select view and components, and calibrate."""
        self.views.fit(part)
        self.task, self.classes = part.task, np.unique(part.y)
        best = np.inf
        for name in self.views.names:
            X = self.views.view(part, name)
            errors = self._errors(X, part)
            if errors.min() < best:
                best, self.chosen, n, features = float(errors.min()), name, int(errors.argmin()) + 1, X
        self.model = _fitted(features, self._targets(part.y), n)
        return self

    def predict(self, part: Calibration) -> NDArray:
        """Predict values or classes."""
        predicted = self.model.predict(self.views.view(part, self.chosen))
        return self._decided(predicted.reshape(len(part), -1))

    def _errors(self, X: NDArray, part: Calibration) -> NDArray:
        """Return the cross-validated error by number of components."""
        folds = list(inner_folds(part))
        smallest = min(len(train) for train, _ in folds)
        limit = max(1, min(MAX_COMPONENTS, smallest - 1, X.shape[1]))
        errors = np.zeros(limit)
        for train, test in folds:
            path = component_path(_fitted(X[train], self._targets(part.y[train]), limit), X[test])
            for k in range(limit):
                decided, y = self._decided(path[min(k, len(path) - 1)]), part.y[test]
                error = ((decided - y) ** 2).sum() if self.task == "regression" else _class_error(y, decided)
                errors[k] += error
        return errors

    def _targets(self, y: NDArray) -> NDArray:
        if self.task == "regression":
            return y.astype(np.float64)
        return (y[:, None] == self.classes[None, :]).astype(np.float64)

    def _decided(self, predicted: NDArray) -> NDArray:
        return predicted[:, 0] if self.task == "regression" else self.classes[predicted.argmax(axis=1)]


def component_path(model: PLSRegression, X: NDArray) -> NDArray:
    """Return predictions with 1, 2, ... components, (n_components, n_samples, n_targets).

    PLS components are nested: the first k rotations and loadings of a model are those of the model
    with k components.
    """
    scores = (X - model._x_mean) @ model.x_rotations_
    steps = scores.T[:, :, None] * model.y_loadings_.T[:, None, :]
    return np.cumsum(steps, axis=0) + model.intercept_


def _fitted(X: NDArray, Y: NDArray, n_components: int) -> PLSRegression:
    return PLSRegression(n_components, scale=False).fit(X, Y)


def _class_error(y: NDArray, decided: NDArray) -> float:
    return len(y) * (1.0 - balanced_accuracy_score(y, decided))
