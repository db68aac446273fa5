"""Bringing an embedding to unit spread and to few columns, for heads that want them."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, OneToOneFeatureMixin, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_is_fitted, validate_data

from ..fitting import all_or_nothing

#: Share of the whole variance that a component is taken to have at least where components are whitened.
_FLOOR = 1e-6


class BlockScaler(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Centre the columns and divide all of them by one number, so that their variances sum to one.

    The mean square distance of two calibration samples becomes two, whatever the encoder, the read-out and the
    material: widths of kernels and penalties mean the same everywhere. Standardising each column instead would
    blow up those that hold rounding only.

    Attributes
    ----------
    mean_ : ndarray of shape (n_columns,)
    spread_ : float
        Root of the summed variance, 1 where nothing varies.
    """

    @all_or_nothing
    def fit(self, X: Any, y: Any = None) -> BlockScaler:  # noqa: ARG002
        """Find mean and spread of `X`, array-like of shape (n_samples, n_columns)."""
        X = validate_data(self, X, dtype=(np.float64, np.float32))
        self.mean_ = X.mean(axis=0, dtype=np.float64)
        spread = float(np.sqrt(X.var(axis=0, dtype=np.float64).sum()))
        # Rounding of columns that are constant is no spread.
        self.spread_ = spread if spread > 1e-7 * float(np.sqrt(np.square(self.mean_).sum())) else 1.0
        return self

    def transform(self, X: Any) -> Any:
        """Centre and divide; the result has the shape and the precision of `X`."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        return ((X - self.mean_) / self.spread_).astype(X.dtype, copy=False)


class PCAColumns(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Principal components of the calibration samples, at most so many, at unit spread as a whole.

    With no more samples than columns asked for this is a rotation that loses nothing of the distances between them:
    networks, kernels and penalised models on it are what they are on the embedding itself, at a fraction of the
    cost.

    Parameters
    ----------
    n_columns : int, default=256
        Columns, at most; never more than samples less one, or than `X` has.
    whitening : float, default=0.0
        Components are divided by their deviation to this power: 0 leaves them, 1 makes all deviations equal.
    """

    def __init__(self, n_columns: int = 256, *, whitening: float = 0.0) -> None:
        self.n_columns = n_columns
        self.whitening = whitening

    def fit(self, X: Any, y: Any = None) -> PCAColumns:
        """Find the components of `X`, array-like of shape (n_samples, n_columns)."""
        self.fit_transform(X, y)
        return self

    @all_or_nothing
    def fit_transform(self, X: Any, y: Any = None) -> Any:  # noqa: ARG002
        """Fit and transform the same samples.

        Raises
        ------
        ValueError
            `n_columns` is no positive integer.
        """
        if not isinstance(self.n_columns, (int, np.integer)) or self.n_columns < 1:
            raise ValueError(f"n_columns={self.n_columns!r} must be a positive integer.")
        X = validate_data(self, X, dtype=(np.float64, np.float32))
        # Frames are for the user's steps.
        self.spread_ = BlockScaler().set_output(transform="default")
        X = self.spread_.fit_transform(X)
        n_components = max(1, min(self.n_columns, len(X) - 1, X.shape[1]))
        # Randomised where it pays; seeded, so that a fit can be repeated.
        self.pca_ = PCA(n_components, random_state=0).set_output(transform="default")
        # Kernels and penalties near nothing need the digits.
        few = self.pca_.fit_transform(X).astype(np.float64, copy=False)
        variances = few.var(axis=0)
        # A component of rounding alone is not brought up to the others.
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
