"""The coefficients of a head, where it is linear."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Part of the outputs' spread that coefficients may leave unexplained: rounding.
_ROUNDING = 1e-4


def coefficients(head: Any, Z: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return the change of each output with each column of the embedding, (n_outputs, n_columns); None where it is not constant.

    That an estimator has ``coef_`` says little: a link function may stand behind it, or the classes be compared in pairs. So the coefficients have to
    give, but for a constant, what the head says of `Z`, (n_samples, n_columns). PLS-DA counts by its answers.
    """
    head = getattr(head, "pls_", head)
    # Support vector machines have the attribute, and raise where their kernel is not linear.
    coef = getattr(head, "coef_", None)
    if coef is None:
        return None
    coef = np.atleast_2d(np.asarray(coef, dtype=np.float64))
    if coef.ndim != 2 or coef.shape[1] != Z.shape[1]:
        raise ValueError(f"the head has {coef.shape[-1]} coefficients for an embedding of {Z.shape[1]} columns.")
    predictions = outputs(head, Z)
    if predictions.shape[1] != len(coef):
        return None
    left = predictions - Z @ coef.T
    return coef if (left.std(axis=0) <= _ROUNDING * (predictions.std(axis=0) + 1e-12)).all() else None


def outputs(head: Any, Z: NDArray[Any]) -> NDArray[np.float64]:
    """Return what a head says of embeddings as numbers, (n_samples, n_outputs): predictions, or scores of classes."""
    for name in ("decision_function", "predict_proba", "predict"):
        # A regressor has none of the former; a classifier's labels are no numbers.
        if hasattr(head, name):
            scores = getattr(head, name)(Z)
            if isinstance(scores, list):
                raise ValueError(f"{type(head).__name__} has several targets of classes; explain a head for each.")
            return np.asarray(scores, dtype=np.float64).reshape(len(Z), -1)
    raise TypeError(f"{type(head).__name__} predicts nothing; give a fitted head.")
