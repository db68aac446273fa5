"""PLS regression for any number of samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.cross_decomposition import PLSRegression


class CappedPLSRegression(PLSRegression):
    """`sklearn.cross_decomposition.PLSRegression` that takes fewer components where there are few samples.

    A grid of components, or a small calibration set, then needs no care: instead of an error it gets as many as the
    samples allow. Columns are not standardised unless asked: an embedding's scale means something.

    Parameters
    ----------
    n_components : int, default=10
        Components, at most; never more than samples less one, or than columns.
    scale : bool, default=False
        Standardise columns and targets.
    max_iter, tol, copy : as in scikit-learn
    """

    def __init__(
        self, n_components: int = 10, *, scale: bool = False, max_iter: int = 500, tol: float = 1e-6, copy: bool = True
    ) -> None:
        super().__init__(n_components, scale=scale, max_iter=max_iter, tol=tol, copy=copy)

    def fit(self, X: Any, y: Any) -> CappedPLSRegression:
        """Calibrate on `X` (n_samples, n_columns) and `y` (n_samples,) or (n_samples, n_targets)."""
        n_components: Any = self.n_components  # type: ignore[has-type] # scikit-learn's
        shape = np.asarray(X).shape
        # What has no samples or columns is scikit-learn's to refuse.
        if isinstance(n_components, (int, np.integer)) and len(shape) == 2 and shape[0] > 1 and shape[1] > 0:
            self.n_components = min(n_components, shape[0] - 1, shape[1])
        try:
            return super().fit(X, y)
        finally:
            self.n_components = n_components
