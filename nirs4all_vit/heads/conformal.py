"""Prediction intervals from cross-validation residuals."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone
from sklearn.model_selection import check_cv
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _check_method_params, _num_samples, check_is_fitted

from .folds import shuffled_folds


class CrossConformalRegressor(MetaEstimatorMixin, RegressorMixin, BaseEstimator):
    """A regression head that also says how sure it is: conformal intervals over inner folds (CV+).

    Each inner fold is predicted by a copy fitted on the other ones. The interval of a new sample holds what those copies
    predict for it, moved by the residuals that they left. Where calibration and new samples are exchangeable it
    holds the truth about as often as `coverage`; what is proven, for folds of equal size, is ``2 * coverage - 1`` less a term of
    the order of ``sqrt(2 / n_samples)``. It knows nothing of another instrument or harvest.

    Parameters
    ----------
    estimator : regressor
        Any, a pipeline that starts with `SpectralEmbedder` too.
    cv : int or splitter, default=10
        Inner folds, a partition of the samples. An integer shuffles with a fixed seed, keeps groups together, and means as
        many folds as there are samples, or groups, where these are fewer.

    Attributes
    ----------
    estimator_ : regressor
        Fitted on all samples; `predict` is its.
    estimators_ : list of regressors
        One for each inner fold.

    References
    ----------
    Barber, R. F., Candes, E. J., Ramdas, A., Tibshirani, R. J. (2021). Predictive inference with the jackknife+. Annals of
    Statistics 49, 486-507.
    """

    def __init__(self, estimator: BaseEstimator, *, cv: Any = 10) -> None:
        self.estimator = estimator
        self.cv = cv

    def fit(self, X: Any, y: Any, *, groups: Any = None, **fit_params: Any) -> CrossConformalRegressor:
        """Calibrate.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_columns), or whatever the estimator takes
        y : array-like of shape (n_samples,)
        groups : array-like of shape (n_samples,), optional
            Physical sample of each row: replicates must not be split.
        **fit_params
            Passed to each fit; what has a value per sample is cut to the fold. ``embed__wavelengths=`` reaches the embedder of
            `make_spectral_pipeline`.

        Raises
        ------
        ValueError
            Several targets, or folds that are no partition.
        """
        y = np.asarray(y, dtype=np.float64)
        y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
        if y.ndim != 1:
            raise ValueError(f"y has {y.ndim} dimensions; intervals are for one target, fit one regressor for each.")
        n = _num_samples(X)
        cv = self.cv
        if isinstance(cv, (int, np.integer)):
            cv = shuffled_folds(int(cv), n, groups)
        self.estimator_ = clone(self.estimator).fit(X, y, **fit_params)
        self.estimators_ = []
        self.residuals_ = np.full(n, np.nan)
        self.fold_ = np.full(n, -1)
        for k, (inside, outside) in enumerate(check_cv(cv).split(X, y, groups)):
            if (self.fold_[outside] >= 0).any():
                raise ValueError("cv holds samples out more than once; give a splitter that is a partition.")
            own = _check_method_params(X, fit_params, indices=inside)
            model = clone(self.estimator).fit(_safe_indexing(X, inside), y[inside], **own)
            self.residuals_[outside] = np.abs(y[outside] - np.ravel(model.predict(_safe_indexing(X, outside))))
            self.fold_[outside] = k
            self.estimators_.append(model)
        if (self.fold_ < 0).any():
            raise ValueError(
                f"{(self.fold_ < 0).sum()} samples are in no fold of cv; give a splitter that is a partition."
            )
        if hasattr(self.estimator_, "n_features_in_"):
            self.n_features_in_ = self.estimator_.n_features_in_
        return self

    def predict(self, X: Any, **params: Any) -> NDArray[np.float64]:
        """Predict (n_samples,) by the estimator fitted on all samples; `params` are those of its `predict`."""
        check_is_fitted(self)
        return np.ravel(self.estimator_.predict(X, **params))

    def predict_interval(self, X: Any, coverage: float = 0.9, **params: Any) -> NDArray[np.float64]:
        """Return lower and upper bounds.

        Parameters
        ----------
        X : as in `fit`
        coverage : float
            Share of truths that intervals are to hold, between 0 and 1.
        **params
            Of the estimator's `predict`.

        Returns
        -------
        ndarray of shape (n_samples, 2)
            Infinite where there are too few calibration samples for such a coverage; a point where the coverage is so low that
            no interval is left.
        """
        check_is_fitted(self)
        if not 0 < coverage < 1:
            raise ValueError(f"coverage={coverage} must lie between 0 and 1.")
        by_fold = np.stack([np.ravel(model.predict(X, **params)) for model in self.estimators_], axis=1)
        centre = by_fold[:, self.fold_]
        n = len(self.residuals_)
        rank = int(np.ceil(coverage * (n + 1)))
        if rank > n:
            return np.tile([-np.inf, np.inf], (len(centre), 1))
        upper = np.partition(centre + self.residuals_, rank - 1, axis=1)[:, rank - 1]
        lower = -np.partition(self.residuals_ - centre, rank - 1, axis=1)[:, rank - 1]
        middle = (lower + upper) / 2
        return np.stack([np.minimum(lower, middle), np.maximum(upper, middle)], axis=1)
