"""PLS regression and discriminant analysis for any number of samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cross_decomposition import PLSRegression
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from ..fitting import all_or_nothing


class CappedPLSRegression(PLSRegression):
    """`sklearn.cross_decomposition.PLSRegression` with components capped by the number of samples.

    If `n_components` exceeds the number that the samples allow, that number is used instead of raising an error, so
    that one grid of components suits any calibration set. Columns are not standardised by default, because the scale
    of embedding columns is informative.

    Parameters
    ----------
    n_components : int, default=10
        Maximum number of components, capped at the number of samples minus one, of columns, and the rank of `X`.
    scale : bool, default=False
        Standardise columns and targets.
    max_iter, tol, copy : as in scikit-learn
    """

    def __init__(
        self, n_components: int = 10, *, scale: bool = False, max_iter: int = 500, tol: float = 1e-6, copy: bool = True
    ) -> None:
        super().__init__(n_components, scale=scale, max_iter=max_iter, tol=tol, copy=copy)

    @all_or_nothing
    def fit(self, X: Any, y: Any) -> CappedPLSRegression:
        """Calibrate on `X` (n_samples, n_columns) and `y` (n_samples,) or (n_samples, n_targets)."""
        n_components: Any = self.n_components  # type: ignore[has-type] # scikit-learn's
        shape = np.asarray(X).shape
        # Input without samples or columns is left to scikit-learn's checks.
        if isinstance(n_components, (int, np.integer)) and len(shape) == 2 and shape[0] > 1 and shape[1] > 0:
            self.n_components = min(n_components, shape[0] - 1, shape[1])
        try:
            while True:
                try:
                    with np.errstate(divide="ignore", invalid="ignore"):
                        return super().fit(X, y)
                except ValueError:
                    # Beyond the rank of X scikit-learn's fit fails on NaN. Other errors are raised at one component.
                    if not isinstance(self.n_components, (int, np.integer)) or self.n_components < 2:
                        raise
                    self.n_components -= 1
        finally:
            self.n_components = n_components


class PLSDA(ClassifierMixin, BaseEstimator):
    """PLS discriminant analysis: PLS regression on class membership; the largest response wins.

    Parameters
    ----------
    n_components : int, default=10
        Maximum number of components, capped at the number of samples minus one.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    pls_ : CappedPLSRegression

    References
    ----------
    Barker, M., Rayens, W. (2003). Partial least squares for discrimination. Journal of Chemometrics 17, 166-173.
    """

    def __init__(self, n_components: int = 10) -> None:
        self.n_components = n_components

    @all_or_nothing
    def fit(self, X: Any, y: Any) -> PLSDA:
        """Calibrate on `X` (n_samples, n_columns) and labels `y` (n_samples,)."""
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        binarizer = LabelBinarizer().fit(y)
        self.classes_ = binarizer.classes_
        if len(self.classes_) < 2:
            raise ValueError(f"y holds one class only, {self.classes_[0]!r}; PLSDA needs two or more.")
        member = binarizer.transform(y).astype(np.float64)
        if member.shape[1] == 1:
            member = np.hstack([1.0 - member, member])
        self.pls_ = CappedPLSRegression(self.n_components).fit(X, member)
        return self

    def predict_proba(self, X: Any) -> Any:
        """Return responses clipped to 0 .. 1 and normalised to sum to one; not calibrated probabilities."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        cut = self.pls_.predict(X).clip(1e-9, 1.0)
        return cut / cut.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> Any:
        """Return the most likely class of each sample."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return self.classes_[self.pls_.predict(X).argmax(axis=1)]
