"""What a calibration found out: the numbers behind metrics.json, predictions.csv and the report."""

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
    """Measured and predicted values of some samples.

    Attributes
    ----------
    ids : ndarray of shape (n_samples,), str
    measured : ndarray of shape (n_samples,)
        float64, NaN where a value was not measured; or str, "" where a class is not known.
    predicted : ndarray of shape (n_samples,)
        float64 or str. In cross-validation the mean (the most frequent class) over the repetitions, each by a model that has not seen the sample.
    lower, upper : ndarray of shape (n_samples,) or None
        Prediction interval; None for classes.
    possible : ndarray of shape (n_samples,), str, or None
        For classes: those that the sample may have at the asked coverage, separated by ``|``.
    metrics : RegressionMetrics or ClassificationMetrics
    coverage : float
        Share of samples whose interval (or set of classes) holds the measured value.
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
    """One method in the same cross-validation.

    Attributes
    ----------
    name : str
        As a reader knows it, such as "PLS, best of five preprocessings".
    metrics : RegressionMetrics or ClassificationMetrics
    ratio, lower, upper : float
        Error (RMSE, or 1 - balanced accuracy) over that of PLS (PLS-DA), and its 95 % confidence interval; 1 for PLS itself.
    """

    name: str
    metrics: Metrics
    ratio: float
    lower: float
    upper: float


@dataclass(frozen=True, eq=False)
class LearningPoint:
    """Error with a part of the samples: RMSECV, or 1 - balanced accuracy."""

    n_samples: int
    error: float
    deviation: float


@dataclass(frozen=True, eq=False)
class TargetResult:
    """Everything about one target.

    Attributes
    ----------
    name : str
    task : {"regression", "classification"}
    classes : tuple of str
        Empty for numbers.
    cross_validated : Predicted
        All samples, in the order of the input.
    test : Predicted or None
        Samples that took no part in calibration or cross-validation.
    comparisons : tuple of Comparison
        The head that was chosen first; then ridge, PLS.
    learning_curve : tuple of LearningPoint
        Ascending; the last one with all samples of a fold. May be empty.
    importance : ndarray of shape (n_wavelengths,) or None
        Smoothed; what a band contributes to the output, at `CalibrationResult.wavelengths`.
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
    """A whole calibration.

    Attributes
    ----------
    title : str
    ids, groups : ndarray of shape (n_samples,), str
        Of the calibration samples; `groups` names physical samples, and equals `ids` without replicates.
    spectra : ndarray of shape (n_samples, n_wavelengths), float64
        NaN where a point is missing.
    wavelengths : ndarray of shape (n_wavelengths,), float64
        In nm, ascending.
    axis_unit : {"nm", "cm-1", "um"}
        Unit of the input, in which pictures are drawn.
    signal : str
        What the spectra hold, such as "absorbance"; "" where unknown.
    targets : tuple of TargetResult
    t2, q : ndarray of shape (n_samples,)
        Hotelling's T2 and Q residual of each sample, over their limits: above 1 is an outlier. NaN where they were not measured (fewer
        than ten samples).
    scores : ndarray of shape (n_samples, 2)
        First two principal components of the embeddings.
    explained : tuple of two float
        Share of the variance that each explains.
    outliers : dict of int to str
        Rows that stand apart, and why, in words.
    coverage : float
        That intervals were asked to hold.
    findings : tuple of Finding
        Of the table checks.
    settings : dict
        Options, seeds, number of folds and repetitions.
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
