"""Ridge regression on any features, with the penalty selected by leave-one-out."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeClassifierCV, RidgeCV

from ..calibrations import Calibration
from .base import GridViews, Method, Views

#: Penalties relative to the mean diagonal of the kernel, suitable for raw spectra and derivatives.
ALPHAS = np.logspace(-10, 3, 40)


class ScaledRidge:
    """scikit-learn's RidgeCV on centred features with a common scale.

    All features are divided by the root of their mean squared norm, so that penalties are relative
    to the mean diagonal of the kernel. Features are not scaled individually.

    Attributes
    ----------
    score : float
        Cross-validated score of the selected penalty; higher is better.
    model : RidgeCV or RidgeClassifierCV
        Fitted model; in classification, indicator columns share one penalty.
    """

    def fit(self, Z: NDArray, part: Calibration) -> Self:
        """Calibrate on features (n, d)."""
        Z = np.asarray(Z, dtype=np.float64)
        self.mean = Z.mean(axis=0)
        centred = Z - self.mean
        self.scale = max(float(np.sqrt((centred**2).sum(axis=1).mean())), 1e-300)
        features = centred / self.scale
        estimator = RidgeCV if part.task == "regression" else RidgeClassifierCV
        self.model = estimator(ALPHAS).fit(features, part.y)
        self.score = float(self.model.best_score_)
        return self

    def predict(self, Z: NDArray) -> NDArray:
        """Predict values or classes."""
        return self.model.predict((np.asarray(Z, dtype=np.float64) - self.mean) / self.scale)


class Ridge(Method):
    """Ridge on the view with the best leave-one-out score."""

    def __init__(self, views: Views) -> None:
        self.views = views

    def fit(self, part: Calibration) -> Self:
        """Select the view and calibrate."""
        self.views.fit(part)
        fitted = [(ScaledRidge().fit(self.views.view(part, name), part), name) for name in self.views.names]
        self.head, self.chosen = max(fitted, key=lambda pair: pair[0].score)
        return self

    def predict(self, part: Calibration) -> NDArray:
        """Predict values or classes."""
        return self.head.predict(self.views.view(part, self.chosen))


class PrincipalComponents(GridViews):
    """Scores of at most `n_components` principal components of the raw spectra."""

    names = ("pca",)

    def __init__(self, n_components: int = 30) -> None:
        self.n_components = n_components

    def fit(self, part: Calibration) -> Self:
        """Fit the principal components."""
        X = super().fit(part).on_grid(part)
        self.pca = PCA(min(self.n_components, len(X) - 1, X.shape[1]), svd_solver="full").fit(X)
        return self

    def view(self, part: Calibration, name: str) -> NDArray:  # noqa: ARG002
        """Return the scores."""
        return self.pca.transform(self.on_grid(part))
