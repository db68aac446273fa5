"""Support for one or several targets with missing values."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.base import clone
from sklearn.metrics import r2_score
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _check_sample_weight, _num_samples, has_fit_parameter

from ..fitting import all_or_nothing
from ..progress import tracked


class Targetwise:
    """Mixin that lets single-target regressors take several targets.

    Targets are fitted separately, each on its measured samples. `y` of shape (n_samples, 1) is one target. With several
    targets, NaN marks a value that was not measured. Subclasses define `_fit_target` and `_predict_target` for one
    target.

    Attributes
    ----------
    estimators_ : list of estimators
        One estimator per target, if there are several.
    """

    __metadata_request__fit: ClassVar = {"groups": True}
    #: Whether `_fit_target` fits several complete targets at once.
    _joint: ClassVar[bool] = False
    # Defined by subclasses.
    _fit_target: Any
    _predict_target: Any

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, *, groups: Any = None) -> Any:
        """Fit.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_columns)
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets; NaN is allowed if there are several.
        groups : array-like of shape (n_samples,), optional
            Physical sample of each row; replicates stay together when parameters are tuned.

        Raises
        ------
        ValueError
            A target was measured on fewer than two samples.
        """
        return self._fit_targets(X, y, {"groups": groups})

    def predict(self, X: Any, **params: Any) -> Any:
        """Predict, (n_samples,) or (n_samples, n_targets)."""
        if "estimators_" not in self.__dict__:
            return self._predict_target(X, **params)
        parts = [one.predict(X, **params) for one in self.estimators_]
        if isinstance(parts[0], tuple):
            return tuple(np.stack(part, axis=1) for part in zip(*parts, strict=True))
        return np.stack([np.ravel(part) for part in parts], axis=1)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return R2 (the mean over several targets), or the accuracy of a classifier."""
        if "estimators_" in self.__dict__:
            return float(r2_score(y, self.predict(X), sample_weight=sample_weight))
        with config_context(enable_metadata_routing=False):
            return super().score(X, y, sample_weight)  # type: ignore[misc]

    @all_or_nothing
    def _fit_targets(self, X: Any, y: Any, per_sample: dict[str, Any]) -> Any:
        per_sample = {name: value for name, value in per_sample.items() if value is not None}
        self.__dict__.pop("estimators_", None)
        values = None if y is None else np.asarray(y)
        if values is None or values.ndim != 2:
            return self._fit_target(X, y, **per_sample)
        if values.shape[1] == 1:
            return self._fit_target(X, values[:, 0], **per_sample)
        values = values.astype(np.float64)
        if self._joint and not np.isnan(values).any():
            return self._fit_target(X, values, **per_sample)
        if len(values) != _num_samples(X):
            raise ValueError(f"{len(values)} rows of targets for {_num_samples(X)} samples; they must agree.")
        targets = tracked(range(values.shape[1]), "targets", "target")
        self.estimators_ = [self._of_target(k, X, values[:, k], per_sample) for k in targets]
        # Standard attributes of a fitted estimator: column names and number, coefficients.
        for name in ("n_features_in_", "feature_names_in_"):
            is_own = not isinstance(getattr(type(self), name, None), property)
            if is_own and hasattr(self.estimators_[0], name):
                setattr(self, name, getattr(self.estimators_[0], name))
        if all(hasattr(one, "coef_") for one in self.estimators_):
            self.coef_ = np.stack([np.ravel(one.coef_) for one in self.estimators_])
            self.intercept_ = np.array([float(np.ravel(one.intercept_)[0]) for one in self.estimators_])
        return self

    def _of_target(self, k: int, X: Any, y: NDArray[np.float64], per_sample: dict[str, Any]) -> Any:
        rows = np.flatnonzero(~np.isnan(y))
        if len(rows) < 2:
            raise ValueError(f"target {k} was measured on {len(rows)} samples; at least two are needed.")
        own = {name: _safe_indexing(value, rows) for name, value in per_sample.items()}
        return clone(self).fit(_safe_indexing(X, rows), y[rows], **own)


class WeightedTargetwise(Targetwise):
    """`Targetwise` with sample weights; samples of weight 0 are dropped unless the subclass handles them."""

    _sees_to_zeros: ClassVar[bool] = False

    def fit(self, X: Any, y: Any, *, groups: Any = None, sample_weight: Any = None) -> Any:
        """Fit.

        Parameters
        ----------
        X, y, groups : as in `Targetwise.fit`
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each sample. The noise variance is inversely proportional to it; weight 0 drops the sample.

        Raises
        ------
        ValueError
            A target was measured on fewer than two samples, or weights are negative or all zero.
        """
        if sample_weight is not None and not self._sees_to_zeros:
            weights = relative_weights(sample_weight, X)
            rows = np.flatnonzero(weights)
            if len(rows) < len(weights):
                X, y, sample_weight, groups = (
                    None if part is None else _safe_indexing(part, rows) for part in (X, y, sample_weight, groups)
                )
        return self._fit_targets(X, y, {"groups": groups, "sample_weight": sample_weight})


def relative_weights(sample_weight: Any, X: Any) -> NDArray[np.float64]:
    """Return weights rescaled to mean 1, (n_samples,); raises a ValueError if negative or all zero."""
    weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    return weights / weights.mean()


def accepted(estimator: Any, **params: Any) -> dict[str, Any]:
    """Return the parameters that are not None and accepted by the estimator's `fit`."""
    return {name: value for name, value in params.items() if value is not None and has_fit_parameter(estimator, name)}
