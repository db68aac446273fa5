"""Figures of merit of a calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Bootstrap samples for a confidence interval.
_N_BOOTSTRAPS = 2000


@dataclass(frozen=True)
class RegressionMetrics:
    """Errors of predicted values.

    Attributes
    ----------
    n : int
        Number of pairs of measured and predicted values.
    rmse : float
        Root mean squared error: RMSECV in cross-validation, RMSEP on a test set.
    r2 : float
        Coefficient of determination, 1 - SS(residual) / SS(total); NaN for constant values.
    bias : float
        Mean of predicted minus measured values.
    sep : float
        Standard error of prediction: standard deviation of the residuals, corrected for bias.
    rpd : float
        Standard deviation of the measured values divided by the SEP.
    rpiq : float
        Interquartile range of the measured values divided by the RMSE.
    slope : float
        Slope of measured against predicted values; 1 is ideal.
    """

    n: int
    rmse: float
    r2: float
    bias: float
    sep: float
    rpd: float
    rpiq: float
    slope: float


@dataclass(frozen=True)
class ClassificationMetrics:
    """Errors of predicted classes.

    Attributes
    ----------
    n : int
        Number of samples.
    accuracy : float
        Share of samples whose predicted class is the true one.
    balanced_accuracy : float
        Mean recall over the classes.
    f1 : float
        Mean F1 score over the classes.
    error : float
        1 - balanced accuracy.
    """

    n: int
    accuracy: float
    balanced_accuracy: float
    f1: float
    error: float


def regression_metrics(measured: ArrayLike, predicted: ArrayLike) -> RegressionMetrics:
    """Compare predicted with measured values, each (n_samples,); NaN and infinity are left out."""
    y, p = np.asarray(measured, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    finite = np.isfinite(y) & np.isfinite(p)
    y, p = y[finite], p[finite]
    n = len(y)
    if not n:
        nan = float("nan")
        return RegressionMetrics(0, nan, nan, nan, nan, nan, nan, nan)
    residual = p - y
    rmse, bias = float(np.sqrt(np.mean(residual**2))), float(residual.mean())
    sep = float(residual.std(ddof=1)) if n > 1 else float("nan")
    spread = float(y.std(ddof=1)) if n > 1 else float("nan")
    total = float(np.square(y - y.mean()).sum())
    centred = p - p.mean()
    of_predicted = float(centred @ centred)
    return RegressionMetrics(
        n,
        rmse,
        1.0 - float(np.square(residual).sum()) / total if total > 0 else float("nan"),
        bias,
        sep,
        spread / sep if sep > 0 else float("nan"),
        float(np.subtract(*np.percentile(y, [75, 25]))) / rmse if rmse > 0 else float("nan"),
        float(centred @ y) / of_predicted if of_predicted > 0 else float("nan"),
    )


def classification_metrics(measured: ArrayLike, predicted: ArrayLike) -> ClassificationMetrics:
    """Compare predicted with true classes, each (n_samples,)."""
    from sklearn.metrics import accuracy_score, f1_score, recall_score

    y, p = np.asarray(measured).astype(str), np.asarray(predicted).astype(str)
    classes = np.unique(y)
    balanced = float(recall_score(y, p, labels=classes, average="macro", zero_division=0))
    f1 = float(f1_score(y, p, labels=classes, average="macro", zero_division=0))
    return ClassificationMetrics(len(y), float(accuracy_score(y, p)), balanced, f1, 1.0 - balanced)


def rmse_ratio_interval(
    errors: NDArray[np.float64], reference: NDArray[np.float64], groups: NDArray[np.intp], confidence: float = 0.95
) -> tuple[float, float, float]:
    """Return the ratio of two root mean squared errors, with a bootstrap confidence interval.

    Parameters
    ----------
    errors, reference : ndarray of shape (n_samples,)
        Squared errors of two methods on the same samples, averaged over repetitions.
    groups : ndarray of shape (n_samples,)
        Number of the physical sample of each row; replicates are resampled together.
    confidence : float
        Level of the interval, between 0 and 1.

    Returns
    -------
    ratio, lower, upper : float
        1 if both errors are zero, infinity if only that of the second method is.
    """
    codes = np.unique(groups, return_inverse=True)[1]
    ours, theirs = np.bincount(codes, errors), np.bincount(codes, reference)
    counts = np.random.default_rng(0).multinomial(len(ours), np.full(len(ours), 1.0 / len(ours)), _N_BOOTSTRAPS)
    ratios = _root_ratio(counts @ ours, counts @ theirs)
    # Quantiles without interpolation, which fails between infinities.
    low, high = np.quantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2], method="inverted_cdf")
    return float(_root_ratio(ours.sum(), theirs.sum())), float(low), float(high)


def _root_ratio(ours: Any, theirs: Any) -> NDArray[np.float64]:
    """Return the root of a ratio of sums of squares: 1 for 0 / 0, infinity for x / 0."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    without_reference = np.where(ours > 0, np.inf, 1.0)
    return np.sqrt(np.divide(ours, theirs, out=without_reference, where=theirs > 0))
