"""A grid search that is a head like any other."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.utils.validation import _num_samples, check_is_fitted

from ..embedding.folds import shuffled_folds


class TunedHead(GridSearchCV):
    """`sklearn.model_selection.GridSearchCV` for calibration sets as they come.

    With an integer `cv`, folds are shuffled with a fixed seed, as calibration samples often come sorted; classes are spread
    evenly, groups are kept together; and there are fewer folds where there are fewer samples, or members of a class.

    Its score is that of the estimator that it found. A search that minimises squared errors would score by them; beside a plain
    regressor, which scores by R2, a search over heads could not compare the two.
    """

    def fit(self, X: Any, y: Any = None, *, groups: Any = None, **params: Any) -> TunedHead:
        """Search; `groups` (n_samples,) names the physical sample of each row, where there are replicates."""
        cv: Any = self.cv  # type: ignore[has-type] # scikit-learn's
        if isinstance(cv, (int, np.integer)):
            # Made here, not by whoever builds the head: nirs4all's default engine writes parameters down as JSON.
            self.cv = self._folds(int(cv), y, groups, _num_samples(X))
        try:
            return super().fit(X, y, **params) if groups is None else super().fit(X, y, groups=groups, **params)
        finally:
            self.cv = cv

    def _folds(self, n_folds: int, y: Any, groups: Any, n_samples: int) -> Any:
        if groups is not None:
            n_samples = len(np.unique(groups))
        if n_samples < 2:
            raise ValueError(f"{n_samples} sample: a head that searches its parameters needs two or more.")
        if groups is None and is_classifier(self.estimator):
            classes, counts = np.unique(np.asarray(y), return_counts=True)
            if counts.min() < 2:
                rare = str(classes[counts.argmin()])
                raise ValueError(
                    f"class {rare!r} has one sample: a head that searches its parameters needs two of each; drop it, or give "
                    f"make_head {', '.join(name.rpartition('__')[2] for name in self.param_grid)}."
                )
            return StratifiedKFold(min(n_folds, counts.min()), shuffle=True, random_state=0)
        return shuffled_folds(n_folds, n_samples, groups)

    def score(self, X: Any, y: Any = None, **params: Any) -> float:
        """Return R2, or the accuracy of a classifier."""
        check_is_fitted(self)
        return self.best_estimator_.score(X, y, **params)
