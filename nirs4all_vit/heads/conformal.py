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
    """Regressor with conformal prediction intervals from inner cross-validation.

    Each inner fold is predicted by a copy of the estimator fitted on the other folds. The interval of a new sample is
    the prediction of the estimator fitted on all samples, plus and minus a quantile of the absolute residuals of the
    copies. If the estimator predicts its own standard deviation, as ``make_head("committee")`` does, residuals are
    divided by it, and intervals are wider where the estimator is less certain.

    If calibration and new samples are exchangeable, the empirical coverage is close to `coverage`; the benchmark's
    `intervals` measures it. There is no proven guarantee, unlike for CV+, which uses the predictions of all copies and
    gives wider intervals. Coverage is lower for unstable estimators, such as least squares on as many columns as
    samples. Intervals do not account for another instrument or harvest.

    Parameters
    ----------
    estimator : regressor
        Any regressor, including a pipeline that starts with `SpectralEmbedder`.
    cv : int or splitter, default=20
        Inner folds, a partition of the samples. With an integer, folds are shuffled with a fixed seed, groups are kept
        together, and the number of folds is capped at the number of samples or groups. Fewer folds are faster but give
        wider intervals.

    Attributes
    ----------
    estimator_ : regressor
        Estimator fitted on all samples; `predict` uses it.
    residuals_ : ndarray of shape (n_samples,)
        Absolute residuals of samples held out, in units of the predicted standard deviation if `scaled_`.
    scaled_ : bool
        Whether the estimator predicts its own standard deviation.
    n_samples_ : int
        Number of physical samples: the number of groups, if given.

    References
    ----------
    Barber, R. F., Candes, E. J., Ramdas, A., Tibshirani, R. J. (2021). Predictive inference with the jackknife+.
    Annals of Statistics 49, 486-507.
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
        X : array-like of shape (n_samples, n_columns), or another input of the estimator
        y : array-like of shape (n_samples,)
        groups : array-like of shape (n_samples,), optional
            Physical sample of each row; replicates of a sample stay in one fold.
        **fit_params
            Passed to each fit; parameters with one value per sample are indexed by fold. ``embed__wavelengths=``
            reaches the embedder of `make_spectral_pipeline`.

        Raises
        ------
        ValueError
            There are several targets, or the folds are not a partition.
        """
        y = np.asarray(y, dtype=np.float64)
        y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
        if y.ndim != 1:
            raise ValueError(f"y has {y.ndim} dimensions; intervals are for one target, fit one regressor for each.")
        n = _num_samples(X)
        cv = self.cv
        if isinstance(cv, (int, np.integer)):
            cv = shuffled_folds(int(cv), n, groups)
        # Heads that tune their parameters also keep replicates together.
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
        # STEP__PARAMETER names are used only without metadata routing.
        plain = get_config()["enable_metadata_routing"] and not any("__" in name for name in params)
        with config_context(enable_metadata_routing=plain):
            return clone(self.estimator).fit(X, y, **params)

    def predict(self, X: Any, **params: Any) -> NDArray[np.float64]:
        """Predict (n_samples,) with the estimator fitted on all samples; `params` go to its `predict`."""
        check_is_fitted(self)
        return np.ravel(self.estimator_.predict(X, **params))

    def predict_interval(self, X: Any, coverage: float = 0.9, **params: Any) -> NDArray[np.float64]:
        """Return lower and upper bounds.

        Parameters
        ----------
        X : as in `fit`
        coverage : float
            Nominal coverage, between 0 and 1.
        **params
            Parameters of the estimator's `predict`.

        Returns
        -------
        ndarray of shape (n_samples, 2)
            Bounds; infinite if there are too few calibration samples for this coverage.
        """
        if not 0 < coverage < 1:
            raise ValueError(f"coverage={coverage} must lie between 0 and 1.")
        check_is_fitted(self)
        centre, scale = _with_deviation(self.estimator_, X, params)
        width = conformal_quantile(self.residuals_, self.n_samples_, coverage)
        half = width if scale is None else width * scale
        return np.stack([centre - half, centre + half], axis=1)


def conformal_quantile(residuals: NDArray[np.float64], n_samples: int, coverage: float) -> float:
    """Return the residual that new samples exceed with probability 1 - `coverage`.

    Parameters
    ----------
    residuals : ndarray of shape (n,)
        Absolute residuals of held-out samples.
    n_samples : int
        Number of physical samples; replicates count once.
    coverage : float
        Nominal coverage, between 0 and 1.

    Returns
    -------
    float
        Infinity if there are too few samples.
    """
    # Position (n + 1) * coverage among n sorted residuals, interpolated: rounding up would exceed the requested
    # coverage by half a sample.
    share = coverage * (n_samples + 1) / n_samples
    return float(np.quantile(residuals, share, method="interpolated_inverted_cdf")) if share <= 1 else np.inf


def _with_deviation(
    model: Any, X: Any, params: dict[str, Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Return predictions, and their standard deviations (None if the model does not predict them)."""
    last = model.steps[-1][1] if isinstance(model, Pipeline) else model
    if "return_std" not in signature(getattr(last, "_predict_target", last.predict)).parameters:
        return np.ravel(model.predict(X, **params)), None
    centre, deviation = model.predict(X, return_std=True, **params)
    centre, deviation = np.ravel(centre), np.ravel(deviation)
    floor = 1e-3 * float(np.median(deviation)) + 1e-300
    return centre, np.maximum(deviation, floor)


def _groups_parameter(estimator: Any) -> str | None:
    """Return the name of the groups parameter of `fit` (of the last step, in a pipeline), or None."""
    if has_fit_parameter(estimator, "groups"):
        return "groups"
    if isinstance(estimator, Pipeline):
        name, last = estimator.steps[-1]
        inner = _groups_parameter(last)
        return inner and f"{name}__{inner}"
    return None
