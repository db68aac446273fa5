"""Bringing an embedding to unit spread as a whole."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data


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
