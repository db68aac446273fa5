"""Prediction intervals from cross-validation residuals."""

from __future__ import annotations

from inspect import signature
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context, get_config
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone
from sklearn.model_selection import check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _check_method_params, _num_samples, check_is_fitted, has_fit_parameter

from ..embedding.folds import shuffled_folds
from ..fitting import all_or_nothing
from ..progress import tracked


class CrossConformalRegressor(MetaEstimatorMixin, RegressorMixin, BaseEstimator):
    """A regression head that also says how sure it is: conformal intervals from inner folds.

    Each inner fold is predicted by a copy fitted on the other ones. The interval of a new sample is what the estimator on all samples
    predicts, give or take a quantile of the residuals that those copies left. An estimator that predicts its own standard
    deviation, such as ``make_head("committee")``, has residuals counted in units of it: intervals are wider where it is less
    certain. Where calibration and new samples are exchangeable it
    holds the truth about as often as `coverage`; the benchmark's `intervals` counts how often. Nothing is proven, as it is for CV+, which asks
    each copy and is wider: estimators that change much with a sample more or less, such as least squares on as many columns as
    samples, hold less. It knows nothing of another instrument or harvest.

    Parameters
    ----------
    estimator : regressor
        Any, a pipeline that starts with `SpectralEmbedder` too.
    cv : int or splitter, default=20
        Inner folds, a partition of the samples. An integer shuffles with a fixed seed, keeps groups together, and means as
        many folds as there are samples, or groups, where these are fewer. Fewer folds are faster and their intervals wider.

    Attributes
    ----------
    estimator_ : regressor
        Fitted on all samples; `predict` is its.
    residuals_ : ndarray of shape (n_samples,)
        Absolute, each from a copy that has not seen the sample; in units of that copy's standard deviation if `scaled_`.
    scaled_ : bool
        The estimator predicts its own standard deviation.
    n_samples_ : int
        Physical samples: groups, where there are any.

    References
    ----------
    Barber, R. F., Candes, E. J., Ramdas, A., Tibshirani, R. J. (2021). Predictive inference with the jackknife+. Annals of
    Statistics 49, 486-507.
    """

    __metadata_request__fit: ClassVar = {"groups": True}

    def __init__(self, estimator: BaseEstimator, *, cv: Any = 20) -> None:
        self.estimator = estimator
        self.cv = cv

    @all_or_nothing
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
        # Heads that search their parameters keep replicates together, too.
        name = _groups_parameter(self.estimator)
        if groups is not None and name is not None:
            fit_params = {**fit_params, name: np.asarray(groups)}
        residuals = np.full(n, np.nan)
        held_out = np.zeros(n, dtype=bool)
        splitter = check_cv(cv)
        folds = splitter.split(X, y, groups)
        for inside, outside in tracked(folds, "folds", "fold", total=splitter.get_n_splits(X, y, groups)):
            if held_out[outside].any():
                raise ValueError("cv holds samples out more than once; give a splitter that is a partition.")
            own = _check_method_params(X, fit_params, indices=inside)
            model = self._fitted(_safe_indexing(X, inside), y[inside], own)
            centre, scale = _with_deviation(model, _safe_indexing(X, outside), {})
            residuals[outside] = np.abs(y[outside] - centre) / (1.0 if scale is None else scale)
            held_out[outside] = True
        if not held_out.all():
            raise ValueError(f"{(~held_out).sum()} samples are in no fold of cv; give a splitter that is a partition.")
        self.estimator_ = self._fitted(X, y, fit_params)
        self.scaled_ = scale is not None
        self.residuals_, self.n_samples_ = residuals, n if groups is None else len(np.unique(groups))
        if hasattr(self.estimator_, "n_features_in_"):
            self.n_features_in_ = self.estimator_.n_features_in_
        return self

    def _fitted(self, X: Any, y: Any, params: dict[str, Any]) -> Any:
        # Names that carry a step are those without metadata routing.
        plain = get_config()["enable_metadata_routing"] and not any("__" in name for name in params)
        with config_context(enable_metadata_routing=plain):
            return clone(self.estimator).fit(X, y, **params)

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
            Infinite where there are too few calibration samples for such a coverage.
        """
        if not 0 < coverage < 1:
            raise ValueError(f"coverage={coverage} must lie between 0 and 1.")
        check_is_fitted(self)
        centre, scale = _with_deviation(self.estimator_, X, params)
        width = conformal_quantile(self.residuals_, self.n_samples_, coverage)
        half = width if scale is None else width * scale
        return np.stack([centre - half, centre + half], axis=1)


def conformal_quantile(residuals: NDArray[np.float64], n_samples: int, coverage: float) -> float:
    """Return the residual that a new sample exceeds with a probability of 1 - `coverage`; infinity if there are too few samples.

    Parameters
    ----------
    residuals : ndarray of shape (n,)
        Of samples left out.
    n_samples : int
        Physical samples among them: replicates are no further ones.
    coverage : float
        Between 0 and 1.
    """
    # Place (n + 1) * coverage among n sorted residuals, between two of them where need be: rounding up would hold more than
    # asked for, by half a sample.
    share = coverage * (n_samples + 1) / n_samples
    return float(np.quantile(residuals, share, method="interpolated_inverted_cdf")) if share <= 1 else np.inf


def _with_deviation(
    model: Any, X: Any, params: dict[str, Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Return predictions, and their standard deviations where the model tells them."""
    last = model.steps[-1][1] if isinstance(model, Pipeline) else model
    if "return_std" not in signature(getattr(last, "_predict_target", last.predict)).parameters:
        return np.ravel(model.predict(X, **params)), None
    centre, deviation = model.predict(X, return_std=True, **params)
    centre, deviation = np.ravel(centre), np.ravel(deviation)
    floor = 1e-3 * float(np.median(deviation)) + 1e-300
    return centre, np.maximum(deviation, floor)


def _groups_parameter(estimator: Any) -> str | None:
    """Return what `fit` calls the groups, in a pipeline those of its last step; None where nothing takes any."""
    if has_fit_parameter(estimator, "groups"):
        return "groups"
    if isinstance(estimator, Pipeline):
        name, last = estimator.steps[-1]
        inner = _groups_parameter(last)
        return inner and f"{name}__{inner}"
    return None
