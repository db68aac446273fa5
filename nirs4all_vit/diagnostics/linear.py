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
    found = getattr(head, "coef_", None)
    if found is None:
        return None
    found = np.atleast_2d(np.asarray(found, dtype=np.float64))
    if found.ndim != 2 or found.shape[1] != Z.shape[1]:
        raise ValueError(f"the head has {found.shape[-1]} coefficients for an embedding of {Z.shape[1]} columns.")
    said = outputs(head, Z)
    if said.shape[1] != len(found):
        return None
    left = said - Z @ found.T
    return found if (left.std(axis=0) <= _ROUNDING * (said.std(axis=0) + 1e-12)).all() else None


def outputs(head: Any, Z: NDArray[Any]) -> NDArray[np.float64]:
    """Return what a head says of embeddings as numbers, (n_samples, n_outputs): predictions, or scores of classes."""
    for name in ("decision_function", "predict_proba", "predict"):
        # A regressor has none of the former; a classifier's labels are no numbers.
        if hasattr(head, name):
            said = getattr(head, name)(Z)
            if isinstance(said, list):
                raise ValueError(f"{type(head).__name__} has several targets of classes; explain a head for each.")
            return np.asarray(said, dtype=np.float64).reshape(len(Z), -1)
    raise TypeError(f"{type(head).__name__} predicts nothing; give a fitted head.")
