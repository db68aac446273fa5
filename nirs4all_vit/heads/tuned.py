"""A grid search that is a head like any other."""

from __future__ import annotations

from typing import Any

from sklearn.model_selection import GridSearchCV
from sklearn.utils.validation import check_is_fitted


class TunedHead(GridSearchCV):
    """`sklearn.model_selection.GridSearchCV` whose own score is that of the estimator that it found.

    A search that minimises squared errors would score by them; beside a plain regressor, which scores by R2, a search
    over heads could not compare the two.
    """

    def score(self, X: Any, y: Any = None, **params: Any) -> float:
        """Return R2, or the accuracy of a classifier."""
        check_is_fitted(self)
        return self.best_estimator_.score(X, y, **params)
