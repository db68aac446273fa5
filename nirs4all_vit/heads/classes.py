"""A mean of classifiers that err in different ways."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from .committee import DEFAULT_WIDTHS, SpectralCommittee


class CommitteeClassifier(ClassifierMixin, BaseEstimator):
    """The committee's kernel ridge and ridge on membership of each class; the class with the largest answer wins.

    PLS on the spectra is left out: it has nearly twice their error (research log, section 28).

    Parameters
    ----------
    widths, max_samples : as in `SpectralCommittee`

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    committees_ : list of SpectralCommittee
        One for each class; of two classes one.
    """

    __metadata_request__fit: ClassVar = {"groups": True}

    def __init__(self, widths: tuple[int, ...] = DEFAULT_WIDTHS, *, max_samples: int = 1000) -> None:
        self.widths = widths
        self.max_samples = max_samples

    def fit(self, X: Any, y: Any, *, groups: Any = None) -> CommitteeClassifier:
        """Fit.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_columns)
        y : array-like of shape (n_samples,)
            Labels.
        groups : as in `SpectralCommittee.fit`
        """
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32))
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y holds one class only, {self.classes_[0]!r}; a classifier needs two or more.")
        # Of two classes one answer tells both.
        members = range(len(self.classes_)) if len(self.classes_) > 2 else (1,)
        self.committees_ = []
        for k in members:
            committee = SpectralCommittee(self.widths, max_samples=self.max_samples, members=_MEMBERS)
            self.committees_.append(committee.fit(X, (codes == k).astype(np.float64), groups=groups))
        return self

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return the answers: (n_samples, n_classes), or of two classes (n_samples,), above 0 for the second."""
        check_is_fitted(self)
        answers = self._answers(X)
        return answers[:, 1] - answers[:, 0] if len(self.classes_) == 2 else answers

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the answers, cut to 0 .. 1 and summing to one: scores, not calibrated probabilities."""
        check_is_fitted(self)
        cut = self._answers(X).clip(1e-9, 1.0)
        return np.asarray(cut / cut.sum(axis=1, keepdims=True))

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the likeliest class of each sample."""
        check_is_fitted(self)
        return np.asarray(self.classes_[self._answers(X).argmax(axis=1)])

    def _answers(self, X: Any) -> NDArray[np.float64]:
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        answers = np.stack([committee.predict(X) for committee in self.committees_], axis=1)
        return np.hstack([1.0 - answers, answers]) if len(self.classes_) == 2 else answers


#: Their time does not grow with the number of classes as that of Gaussian processes does.
_MEMBERS = ("krr", "ridge")
