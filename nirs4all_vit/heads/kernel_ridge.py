"""Kernel ridge with width and penalty by closed-form leave-one-out cross-validation."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from .columns import BlockScaler
from .ridge import group_members, left_out_error
from .targetwise import WeightedTargetwise, relative_weights

#: Kernel coefficients. The mean squared distance is 2 at unit spread, so the smallest is nearly linear.
_GAMMAS = (0.003, 0.01, 0.03, 0.1, 0.3)
_ALPHAS = tuple(np.logspace(-6, 1, 15).tolist())


class LeaveOutKernelRidge(WeightedTargetwise, RegressorMixin, BaseEstimator):
    """Kernel ridge with an RBF kernel whose width and penalty are chosen by leave-one-out.

    With ``groups`` the choice is by leave-one-group-out. Columns are centred and brought to unit spread as a whole
    (`BlockScaler`), targets are centred.

    Parameters
    ----------
    gammas, alphas : tuple of float
        Candidate kernel widths and penalties.

    Attributes
    ----------
    gamma_, alpha_ : float
        Selected kernel width and penalty.
    """

    # Several complete targets share width, penalty and the decomposition.
    _joint: ClassVar[bool] = True

    def __init__(self, gammas: tuple[float, ...] = _GAMMAS, alphas: tuple[float, ...] = _ALPHAS) -> None:
        self.gammas = gammas
        self.alphas = alphas

    def _fit_target(self, X: Any, y: Any, *, groups: Any = None, sample_weight: Any = None) -> LeaveOutKernelRidge:
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True, multi_output=True)
        self.scaler_ = BlockScaler().set_output(transform="default").fit(X)
        self.samples_ = self.scaler_.transform(X)
        roots = np.sqrt(relative_weights(sample_weight, X))[:, np.newaxis]
        self.y_mean_ = np.average(y, axis=0, weights=roots[:, 0] ** 2)
        target = roots * (y - self.y_mean_).reshape(len(y), -1)
        members = group_members(np.arange(len(y)) if groups is None else groups)
        if len(members) < 2:
            members = group_members(np.arange(len(y)))
        distances = squared_distances(self.samples_, self.samples_)
        best = np.inf
        for gamma in self.gammas:
            squares, vectors = np.linalg.eigh(roots * np.exp(-gamma * distances) * roots.T)
            squares = np.clip(squares, 0.0, None)
            for alpha in self.alphas:
                error = left_out_error(squares, vectors, target, members, alpha, intercept=False)
                if error < best:
                    best, self.gamma_, self.alpha_ = error, gamma, alpha
                    self.left_out_rmse_ = float(np.sqrt(error / len(y)))
                    self.dual_ = roots * ((vectors / (squares + alpha)) @ (vectors.T @ target))
        # Stored in single precision to halve the memory; the rounding error is far below the noise.
        self.samples_ = self.samples_.astype(np.float32)
        return self

    def _predict_target(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        kernel = np.exp(-self.gamma_ * squared_distances(self.scaler_.transform(X), self.samples_))
        return np.asarray(
            self.y_mean_ + (kernel @ self.dual_ if np.ndim(self.y_mean_) else (kernel @ self.dual_)[:, 0])
        )


def squared_distances(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the squared distances between rows of `a` and `b`, (n, m)."""
    squared = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1)[None, :] - 2.0 * (a @ b.T)
    return np.asarray(np.clip(squared, 0.0, None), dtype=np.float64)
