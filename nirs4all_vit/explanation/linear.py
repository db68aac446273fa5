"""The coefficients of a head, where it is linear."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def coefficients(head: Any) -> NDArray[np.float64] | None:
    """Return the change of each output with each column of the embedding, (n_outputs, n_columns); None where it is not constant.

    Searches are looked through to what they found. A classifier with a ``decision_function`` is described by that.
    """
    head = getattr(head, "best_estimator_", head)
    if hasattr(head, "pls_"):  # PLSDA
        head = head.pls_
    # Support vector machines have the attribute, and raise where their kernel is not linear.
    found = getattr(head, "coef_", None)
    if found is None:
        return None
    found = np.asarray(found, dtype=np.float64)
    return np.atleast_2d(found) if found.ndim <= 2 else None


def outputs(head: Any, Z: NDArray[Any], params: dict[str, Any] | None = None) -> NDArray[np.float64]:
    """Return what a head says of embeddings as numbers, (n_samples, n_outputs): predictions, or scores of classes."""
    for name in ("decision_function", "predict_proba", "predict"):
        # A regressor has none of the former; a classifier's labels are no numbers.
        if hasattr(head, name):
            said = np.asarray(getattr(head, name)(Z, **(params or {})), dtype=np.float64)
            return said.reshape(len(Z), -1)
    raise TypeError(f"{type(head).__name__} predicts nothing; give a fitted head.")
