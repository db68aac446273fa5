"""Splitting of a head's input into embedding scales and spectra, and preprocessing of the spectra."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import savgol_filter

#: Window and order of the Savitzky-Golay filters, in points.
_WINDOW, _ORDER = 15, 2


def snv(X: NDArray[Any]) -> NDArray[np.float64]:
    """Return standard normal variates of spectra (n, L): mean 0, standard deviation 1; constants give 0."""
    centred = X - X.mean(axis=1, keepdims=True, dtype=np.float64)
    deviation = centred.std(axis=1, keepdims=True)
    return np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 0)


def derivative(X: NDArray[Any], order: int) -> NDArray[np.float64]:
    """Return the Savitzky-Golay derivative of spectra (n, L); too short spectra are returned unchanged."""
    window = min(_WINDOW, (X.shape[1] - 1) // 2 * 2 + 1)
    if window <= _ORDER:
        return np.asarray(X, dtype=np.float64)
    return np.asarray(savgol_filter(X.astype(np.float64), window, _ORDER, deriv=order, axis=1))


#: Common preprocessings in chemometrics; each treats spectra independently.
PREPROCESSINGS: dict[str, Callable[[NDArray[Any]], NDArray[np.float64]]] = {
    "raw": lambda X: X.astype(np.float64),
    "snv": snv,
    "sg1": lambda X: derivative(X, 1),
    "snv+sg1": lambda X: derivative(snv(X), 1),
    "snv+sg2": lambda X: derivative(snv(X), 2),
}


def preprocessed(spectra: NDArray[Any]) -> list[NDArray[np.float64]]:
    """Return spectra (n, L) after each of the preprocessings."""
    return [convert(spectra) for convert in PREPROCESSINGS.values()]


def split(columns: NDArray[Any], widths: tuple[int, ...]) -> tuple[list[NDArray[Any]], NDArray[Any] | None]:
    """Return the blocks of an embedding and the spectra that follow it, or None.

    Parameters
    ----------
    columns : ndarray of shape (n, n_columns)
    widths : tuple of int
        Columns of each block. If there are fewer columns than their sum, all columns form one block.
    """
    n_embedded = sum(widths)
    if columns.shape[1] < n_embedded:
        return [columns], None
    edges = np.cumsum((0, *widths))
    blocks = [columns[:, a:b] for a, b in pairwise(edges)]
    spectra = columns[:, n_embedded:]
    return blocks, spectra if spectra.shape[1] else None
