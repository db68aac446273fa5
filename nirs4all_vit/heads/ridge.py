"""Ridge regression with the penalty chosen by leave-one-sample-out instead of leave-one-row-out."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from sklearn.base import clone
from sklearn.linear_model import RidgeClassifierCV, RidgeCV
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.validation import _num_samples, check_consistent_length, validate_data

from ..fitting import all_or_nothing
from ..spectra.data import spread_rows
from .targetwise import WeightedTargetwise

#: Maximum number of samples for choosing the penalty, evenly spread. With more samples the ridge is solved by its
#: normal equations.
_MAX_SEARCHED = 3000
#: Block size of sums over many samples, in rows.
_ROWS = 1024
#: Candidate penalties for a ridge on an embedding; at its scale a penalty near 1 is typical.
ALPHAS = np.logspace(-6, 4, 41)


def left_out_error(
    squares: NDArray[np.float64],
    vectors: NDArray[np.float64],
    Y: NDArray[np.float64],
    members: list[NDArray[np.intp]],
    alpha: float,
    *,
    intercept: bool,
) -> float:
    """Return the summed squared leave-one-group-out error in closed form.

    Parameters
    ----------
    squares, vectors : ndarray of shape (n,), (n, n)
        Eigenvalues and eigenvectors of the kernel.
    Y : ndarray of shape (n, n_targets)
        Centred targets.
    members : list of arrays
        Rows of each group.
    alpha : float
        Penalty.
    intercept : bool
        Whether the columns were centred; the mean then adds to the leverage.
    """
    share = squares / (squares + alpha)
    residual = Y - vectors @ (share[:, np.newaxis] * (vectors.T @ Y))
    mean = 1.0 / len(Y) if intercept else 0.0
    if len(members) == len(Y):
        leverage = np.square(vectors) @ share + mean
        return float(np.square(residual / np.maximum(1.0 - leverage, 1e-12)[:, np.newaxis]).sum())
    error = 0.0
    for rows in members:
        own = vectors[rows]
        block = np.eye(len(rows)) - (own * share) @ own.T - mean
        error += float(np.square(np.linalg.lstsq(block, residual[rows], rcond=None)[0]).sum())
    return error


def group_members(groups: Any) -> list[NDArray[np.intp]]:
    """Return the rows of each group."""
    codes = np.unique(np.asarray(groups), return_inverse=True)[1]
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)


def best_penalty(X: Any, Y: NDArray[np.float64], groups: Any, alphas: Any) -> tuple[float, float]:
    """Return the penalty with the smallest leave-one-group-out error, and its mean squared error."""
    X = np.asarray(X, dtype=np.float64)
    check_consistent_length(X, Y, groups)
    X, Y = X - X.mean(axis=0), Y - Y.mean(axis=0)
    squares, vectors = np.linalg.eigh(X @ X.T)
    squares, members = np.clip(squares, 0.0, None), group_members(groups)
    errors = [left_out_error(squares, vectors, Y, members, float(alpha), intercept=True) for alpha in alphas]
    best = int(np.argmin(errors))
    return float(np.asarray(alphas)[best]), float(errors[best]) / Y.size


def solve_ridge(
    X: NDArray[Any], Y: NDArray[np.float64], alpha: float, sample_weight: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ridge coefficients (n_targets, n_columns) and intercepts (n_targets,).

    `X` is processed in blocks, without a float64 copy of the whole.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_columns)
    Y : ndarray of shape (n_samples, n_targets)
    alpha : float
        Penalty.
    sample_weight : ndarray of shape (n_samples,), optional
    """
    weights = np.ones(len(X)) if sample_weight is None else sample_weight
    total = weights.sum()
    X_mean = np.zeros(X.shape[1])
    for rows in _slices(len(X)):
        X_mean += weights[rows] @ X[rows].astype(np.float64) / total
    Y_mean = weights @ Y / total
    gram, product = np.zeros((X.shape[1], X.shape[1])), np.zeros((X.shape[1], Y.shape[1]))
    for rows in _slices(len(X)):
        part = (X[rows] - X_mean) * np.sqrt(weights[rows])[:, np.newaxis]
        gram += part.T @ part
        product += part.T @ ((Y[rows] - Y_mean) * np.sqrt(weights[rows])[:, np.newaxis])
    gram[np.diag_indices_from(gram)] += alpha
    coefficients = cho_solve(cho_factor(gram.T, lower=True, overwrite_a=True, check_finite=False), product).T
    return coefficients, Y_mean - coefficients @ X_mean


def _slices(n: int) -> list[slice]:
    return [slice(start, start + _ROWS) for start in range(0, n, _ROWS)]


def _has_groups(groups: Any) -> bool:
    return groups is not None and 1 < len(np.unique(np.asarray(groups))) < len(groups)


class GroupRidge(WeightedTargetwise, RidgeCV):
    """`sklearn.linear_model.RidgeCV` with ``groups``: the penalty is chosen by leave-one-group-out.

    Without groups it equals RidgeCV with leave-one-out. Beyond 3,000 samples the penalty is chosen on 3,000 of them,
    evenly spread, and the ridge is fitted on all. Several targets may have missing values. With ``alpha_per_target``
    each target has its own penalty (with groups and complete targets they share one).

    Parameters
    ----------
    alphas, fit_intercept, scoring, cv, gcv_mode, store_cv_results, alpha_per_target : as in scikit-learn's RidgeCV
    """

    _joint: ClassVar[bool] = True
    # scikit-learn handles zero weights, and dropping rows would shift the row numbers of folds given by `cv`.
    _sees_to_zeros: ClassVar[bool] = True

    def _fit_target(self, X: Any, y: Any, *, groups: Any = None, sample_weight: Any = None) -> GroupRidge:
        if _num_samples(X) > _MAX_SEARCHED and self.cv is None and self.fit_intercept:
            return self._fit_many(X, y, groups, sample_weight)
        if not _has_groups(groups):
            return RidgeCV.fit(self, X, y, sample_weight=sample_weight)
        alphas: Any = self.alphas  # type: ignore[has-type] # scikit-learn's
        target = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        penalty, error = best_penalty(X, target, groups, alphas)
        self.alphas = [penalty]
        try:
            RidgeCV.fit(self, X, y, sample_weight=sample_weight)
        finally:
            self.alphas = alphas
        self.best_score_ = -error
        return self

    def _fit_many(self, X: Any, y: Any, groups: Any, sample_weight: Any) -> GroupRidge:
        """Choose the penalty on a subset of the samples, and fit on all."""
        X, y = validate_data(
            self, X, y, dtype=(np.float64, np.float32), multi_output=True, y_numeric=True, force_writeable=False
        )
        rows = spread_rows(len(y), _MAX_SEARCHED)
        some, weights = (None if part is None else np.asarray(part) for part in (groups, sample_weight))
        searched = clone(self).fit(
            X[rows],
            y[rows],
            groups=None if some is None else some[rows],
            sample_weight=None if weights is None else weights[rows],
        )
        Y = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        penalties = np.broadcast_to(searched.alpha_, Y.shape[1])
        solved = {alpha: solve_ridge(X, Y, float(alpha), weights) for alpha in np.unique(penalties)}
        coefficients = np.stack([solved[alpha][0][k] for k, alpha in enumerate(penalties)])
        intercepts = np.array([solved[alpha][1][k] for k, alpha in enumerate(penalties)])
        one = np.ndim(y) == 1
        self.coef_ = coefficients[0] if one else coefficients
        self.intercept_: Any = float(intercepts[0]) if one else intercepts
        self.alpha_, self.best_score_ = searched.alpha_, searched.best_score_
        return self

    def _predict_target(self, X: Any) -> Any:
        return RidgeCV.predict(self, X)


class GroupRidgeClassifier(RidgeClassifierCV):
    """`sklearn.linear_model.RidgeClassifierCV` with ``groups``, as `GroupRidge`.

    Parameters
    ----------
    alphas, fit_intercept, scoring, cv, class_weight, store_cv_results : as in scikit-learn's RidgeClassifierCV
    """

    @all_or_nothing
    def fit(self, X: Any, y: Any, *, groups: Any = None, sample_weight: Any = None) -> GroupRidgeClassifier:
        """Choose the penalty and fit; parameters as in `GroupRidge`'s ``fit``, `y` of shape (n_samples,)."""
        if not _has_groups(groups):
            return super().fit(X, y, sample_weight=sample_weight)
        alphas: Any = self.alphas  # type: ignore[has-type] # scikit-learn's
        indicators = LabelBinarizer(pos_label=1, neg_label=-1).fit_transform(y).astype(np.float64)
        self.alphas = [best_penalty(X, indicators, groups, alphas)[0]]
        try:
            return super().fit(X, y, sample_weight=sample_weight)
        finally:
            self.alphas = alphas
