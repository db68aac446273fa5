"""Scaling of an embedding to unit spread and reduction to few columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, OneToOneFeatureMixin, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_is_fitted, validate_data

from ..fitting import all_or_nothing

#: Smallest share of the total variance assumed for a component when whitening.
_FLOOR = 1e-6


class BlockScaler(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Centre the columns and divide all of them by one number, so that their variances sum to one.

    The mean squared distance between two calibration samples becomes two for any encoder, read-out and material.
    Kernel widths and penalties are therefore comparable. Standardising each column would amplify columns that
    hold only rounding errors.

    Attributes
    ----------
    mean_ : ndarray of shape (n_columns,)
    spread_ : float
        Root of the summed variance; 1 if all columns are constant.
    """

    @all_or_nothing
    def fit(self, X: Any, y: Any = None) -> BlockScaler:  # noqa: ARG002
        """Estimate mean and spread of `X`, array-like of shape (n_samples, n_columns)."""
        X = validate_data(self, X, dtype=(np.float64, np.float32))
        self.mean_ = X.mean(axis=0, dtype=np.float64)
        spread = float(np.sqrt(X.var(axis=0, dtype=np.float64).sum()))
        # Rounding errors of constant columns do not count as spread.
        self.spread_ = spread if spread > 1e-7 * float(np.sqrt(np.square(self.mean_).sum())) else 1.0
        return self

    def transform(self, X: Any) -> Any:
        """Centre and divide; the result has the shape and the precision of `X`."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        return ((X - self.mean_) / self.spread_).astype(X.dtype, copy=False)


class PCAColumns(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Principal components of the calibration samples, at most `n_columns`, at unit total spread.

    With at most `n_columns` samples this is a rotation that preserves all distances between them. Networks,
    kernels and penalised models then give the same results as on the embedding itself, at a fraction of the cost.

    Parameters
    ----------
    n_columns : int, default=256
        Maximum number of columns, capped at the number of samples minus one and the number of columns of `X`.
    whitening : float, default=0.0
        Exponent of the standard deviation that divides each component: 0 leaves components unchanged, 1 makes all
        standard deviations equal.
    """

    def __init__(self, n_columns: int = 256, *, whitening: float = 0.0) -> None:
        self.n_columns = n_columns
        self.whitening = whitening

    def fit(self, X: Any, y: Any = None) -> PCAColumns:
        """Compute the components of `X`, array-like of shape (n_samples, n_columns)."""
        self.fit_transform(X, y)
        return self

    @all_or_nothing
    def fit_transform(self, X: Any, y: Any = None) -> Any:  # noqa: ARG002
        """Fit and transform the same samples.

        Raises
        ------
        ValueError
            `n_columns` is not a positive integer.
        """
        if not isinstance(self.n_columns, (int, np.integer)) or self.n_columns < 1:
            raise ValueError(f"n_columns={self.n_columns!r} must be a positive integer.")
        X = validate_data(self, X, dtype=(np.float64, np.float32))
        # Data frame output is for the user's steps only.
        self.spread_ = BlockScaler().set_output(transform="default")
        X = self.spread_.fit_transform(X)
        n_components = max(1, min(self.n_columns, len(X) - 1, X.shape[1]))
        # scikit-learn may choose a randomised solver; the seed makes fits reproducible.
        self.pca_ = PCA(n_components, random_state=0).set_output(transform="default")
        # Narrow kernels and small penalties need double precision.
        few = self.pca_.fit_transform(X).astype(np.float64, copy=False)
        variances = few.var(axis=0)
        # Components that hold only rounding errors are not amplified.
        floored = variances + _FLOOR * variances.sum()
        factors = np.where(floored > 0, floored, 1.0) ** (-self.whitening / 2)
        total, before = (variances * factors**2).sum(), variances.sum()
        self.factors_ = factors * np.sqrt(before / total) if total > 0 else factors
        return few * self.factors_

    def transform(self, X: Any) -> Any:
        """Return the components, (n_samples, at most n_columns)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        return self.pca_.transform(self.spread_.transform(X)).astype(np.float64, copy=False) * self.factors_

    @property
    def _n_features_out(self) -> int:
        return self.pca_.n_components_
