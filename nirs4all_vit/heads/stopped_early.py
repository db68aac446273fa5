"""Estimators that stop by design before an optimiser has converged, and say nothing of it."""

from __future__ import annotations

import warnings
from typing import Any

from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor


class _StoppedEarly:
    """A few hundred steps are a penalty of their own, and a bound that a kernel runs into is meant as one: no news to users."""

    def fit(self, X: Any, y: Any) -> Any:
        """Fit without warnings of convergence."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return super().fit(X, y)  # type: ignore[misc]


class NetworkRegressor(_StoppedEarly, MLPRegressor):
    """``MLPRegressor``, quiet."""


class NetworkClassifier(_StoppedEarly, MLPClassifier):
    """``MLPClassifier``, quiet."""


class ProcessRegressor(_StoppedEarly, GaussianProcessRegressor):
    """``GaussianProcessRegressor``, quiet."""


class ProcessClassifier(_StoppedEarly, GaussianProcessClassifier):
    """``GaussianProcessClassifier``, quiet."""
