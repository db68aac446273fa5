"""Figures of merit of a prediction."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, f1_score, r2_score, root_mean_squared_error


def regression_scores(y: NDArray, predicted: NDArray) -> dict[str, float]:
    """Return RMSEP, R2, bias, SEP, RPD and RPIQ of predictions of a test set.

    RPD is the standard deviation, RPIQ the interquartile range of the reference values over the RMSEP
    (Bellon-Maurel et al. 2010, TrAC 29, 1073); SEP is the RMSEP without the bias.
    """
    error = predicted - y
    rmsep = float(root_mean_squared_error(y, predicted))
    spread = float(np.subtract(*np.percentile(y, [75, 25])))
    return {
        "rmsep": rmsep,
        "r2": float(r2_score(y, predicted)) if len(y) > 1 else float("nan"),
        "bias": float(error.mean()),
        "sep": float(error.std(ddof=1)) if len(y) > 1 else float("nan"),
        "rpd": float(y.std(ddof=1)) / rmsep if len(y) > 1 and rmsep > 0 else float("inf"),
        "rpiq": spread / rmsep if rmsep > 0 else float("inf"),
    }


def classification_scores(y: NDArray, predicted: NDArray) -> dict[str, float]:
    """Return balanced accuracy, its complement, and macro F1."""
    accuracy = float(balanced_accuracy_score(y, predicted))
    return {
        "balanced_accuracy": accuracy,
        "balanced_error": 1.0 - accuracy,
        "macro_f1": float(f1_score(y, predicted, average="macro", zero_division=0)),
    }
