"""Common preprocessings of chemometrics, computed by nirs4all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..calibrations import Calibration
from .base import GridViews

Preprocessing = Callable[[NDArray[np.float64]], NDArray[np.float64]]

#: Window in points and polynomial order of the Savitzky-Golay filters.
_WINDOW, _ORDER = 15, 2


def _raw(X: NDArray) -> NDArray:
    return X


def _snv(X: NDArray) -> NDArray:
    from nirs4all.operators.transforms import StandardNormalVariate

    # Constant spectra become zero.
    return np.nan_to_num(StandardNormalVariate().fit_transform(X), nan=0.0, posinf=0.0, neginf=0.0)


def _derivative(order: int) -> Preprocessing:
    def derive(X: NDArray) -> NDArray:
        from nirs4all.operators.transforms import SavitzkyGolay

        window = min(_WINDOW, (X.shape[1] - 1) // 2 * 2 + 1)
        if window <= _ORDER:
            return X
        return np.asarray(SavitzkyGolay(window_length=window, polyorder=_ORDER, deriv=order).fit_transform(X))

    return derive


def _asls(X: NDArray) -> NDArray:
    from nirs4all.operators.transforms import ASLSBaseline

    return np.asarray(ASLSBaseline().fit_transform(X))


def _chain(*steps: Preprocessing) -> Preprocessing:
    def run(X: NDArray) -> NDArray:
        for step in steps:
            X = step(X)
        return X

    return run


#: Preprocessings by name; each processes spectra independently.
PREPROCESSINGS: dict[str, Preprocessing] = {
    "raw": _raw,
    "snv": _snv,
    "sg1": _derivative(1),
    "snv+sg1": _chain(_snv, _derivative(1)),
    "snv+sg2": _chain(_snv, _derivative(2)),
    "asls+snv": _chain(_asls, _snv),
}

#: Candidates of "best of five preprocessings".
CANDIDATES = ("raw", "snv", "sg1", "snv+sg1", "snv+sg2")


class PreprocessedViews(GridViews):
    """Preprocessed spectra, by names of ``PREPROCESSINGS``."""

    def __init__(self, names: Sequence[str] = CANDIDATES) -> None:
        self.names = tuple(names)

    def view(self, part: Calibration, name: str) -> NDArray:
        """Return preprocessed spectra on the grid of `fit`."""
        return PREPROCESSINGS[name](self.on_grid(part))
