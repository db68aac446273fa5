"""Results of a calibration, the source of metrics.json, predictions.csv and the report."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..spectra.checks import Finding
from .metrics import ClassificationMetrics, RegressionMetrics

Metrics = RegressionMetrics | ClassificationMetrics


@dataclass(frozen=True, eq=False)
class Predicted:
    """Measured and predicted values of one target.

    Attributes
    ----------
    ids : ndarray of shape (n_samples,), str
    measured : ndarray of shape (n_samples,)
        float64, NaN where a value was not measured; or str, "" for a missing class.
    predicted : ndarray of shape (n_samples,)
        float64 or str. In cross-validation, mean (or most frequent class) of the held-out
        predictions over the repetitions.
    lower, upper : ndarray of shape (n_samples,) or None
        Prediction interval; None for classes.
    possible : ndarray of shape (n_samples,), str, or None
        Conformal set of classes at the nominal coverage, joined by ``|``; None for regression.
    metrics : RegressionMetrics or ClassificationMetrics
    coverage : float
        Share of samples whose interval (or set of classes) contains the measured value.
    """

    ids: NDArray[Any]
    measured: NDArray[Any]
    predicted: NDArray[Any]
    lower: NDArray[np.float64] | None
    upper: NDArray[np.float64] | None
    possible: NDArray[Any] | None
    metrics: Metrics
    coverage: float


@dataclass(frozen=True)
class Comparison:
    """Cross-validation results of one method, on the same folds.

    Attributes
    ----------
    name : str
        Name in the report, such as "PLS, best of five preprocessings".
    metrics : RegressionMetrics or ClassificationMetrics
    ratio, lower, upper : float
        Error (RMSE, or 1 - balanced accuracy) divided by that of PLS (PLS-DA), with its 95 %
        confidence interval; 1 for PLS itself.
    """

    name: str
    metrics: Metrics
    ratio: float
    lower: float
    upper: float


@dataclass(frozen=True, eq=False)
class LearningPoint:
    """Error with fewer training samples: RMSECV, or 1 - balanced accuracy.

    Attributes
    ----------
    n_samples : int
        Number of training samples.
    error : float
    deviation : float
        Standard deviation of the error between folds.
    """

    n_samples: int
    error: float
    deviation: float


@dataclass(frozen=True, eq=False)
class TargetResult:
    """Results of one target.

    Attributes
    ----------
    name : str
    task : {"regression", "classification"}
    classes : tuple of str
        Empty for regression.
    cross_validated : Predicted
        All calibration samples, in the order of the input.
    test : Predicted or None
        Test set; None without one.
    comparisons : tuple of Comparison
        The chosen head first, then ridge and PLS.
    learning_curve : tuple of LearningPoint
        Ascending; the last has all training samples of a fold. May be empty.
    importance : ndarray of shape (n_wavelengths,) or None
        Smoothed contribution of the band around each `CalibrationResult.wavelengths` to the output.
    """

    name: str
    task: str
    classes: tuple[str, ...]
    cross_validated: Predicted
    test: Predicted | None
    comparisons: tuple[Comparison, ...]
    learning_curve: tuple[LearningPoint, ...] = ()
    importance: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class CalibrationResult:
    """Results of a calibration.

    Attributes
    ----------
    title : str
    ids, groups : ndarray of shape (n_samples,), str
        Ids and physical samples of the calibration spectra.
    spectra : ndarray of shape (n_samples, n_wavelengths), float64
        NaN where a point is missing.
    wavelengths : ndarray of shape (n_wavelengths,), float64
        In nm, ascending.
    axis_unit : {"nm", "cm-1", "um"}
        Unit of the input and of the figures.
    signal : str
        Kind of signal, such as "absorbance"; "" if unknown.
    targets : tuple of TargetResult
    t2, q : ndarray of shape (n_samples,)
        Hotelling's T2 and Q residual of each sample, divided by their limits; above 1, the sample
        is an outlier. NaN with fewer than ten physical samples.
    scores : ndarray of shape (n_samples, 2)
        First two principal components of the embeddings.
    explained : tuple of two float
        Share of the variance that each component explains.
    outliers : dict of int to str
        Rows of outliers, with the reason in words.
    coverage : float
        Nominal coverage of the intervals.
    findings : tuple of Finding
        Findings on the input tables and on the calibration.
    settings : dict
        Options, seed, number of folds and repetitions.
    provenance : dict
        Versions, hashes of the input files and of the checkpoint, date, duration.
    """

    title: str
    ids: NDArray[Any]
    groups: NDArray[Any]
    spectra: NDArray[np.float64]
    wavelengths: NDArray[np.float64]
    axis_unit: str
    signal: str
    targets: tuple[TargetResult, ...]
    t2: NDArray[np.float64]
    q: NDArray[np.float64]
    scores: NDArray[np.float64]
    explained: tuple[float, float]
    outliers: dict[int, str]
    coverage: float
    findings: tuple[Finding, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
