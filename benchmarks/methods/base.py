"""Base classes of the methods: a method is a head on views of the spectra."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold

from ..calibrations import Calibration


class Unavailable(RuntimeError):
    """Raised if a method cannot run here; the message gives the reason."""


class Method(ABC):
    """Prediction method; all choices are made inside the calibration set."""

    @abstractmethod
    def fit(self, part: Calibration) -> Self:
        """Calibrate; raises `Unavailable` if a requirement is not installed."""

    @abstractmethod
    def predict(self, part: Calibration) -> NDArray:
        """Predict values or codes of classes; ``part.y`` is not used.

        The spectra may be on another grid than in `fit`.
        """


class Views(ABC):
    """Alternative feature matrices of the same spectra, by `names`."""

    names: tuple[str, ...]

    def fit(self, part: Calibration) -> Self:  # noqa: ARG002
        """Fit the views on the calibration spectra, without targets."""
        return self

    @abstractmethod
    def view(self, part: Calibration, name: str) -> NDArray:
        """Return the feature matrix (n, d) of a view."""


class GridViews(Views):
    """Views with wavelengths as columns; spectra are interpolated to the calibration grid."""

    def fit(self, part: Calibration) -> Self:
        """Store the grid."""
        self.wavelengths = part.wavelengths
        return self

    def on_grid(self, part: Calibration) -> NDArray[np.float64]:
        """Return spectra on the grid of `fit`, by linear interpolation with constant ends."""
        X = part.X.astype(np.float64)
        present = np.isfinite(X)
        if np.array_equal(part.wavelengths, self.wavelengths) and present.all():
            return X
        order = np.argsort(part.wavelengths)
        axis, X, present = part.wavelengths[order], X[:, order], present[:, order]
        return np.stack([np.interp(self.wavelengths, axis[p], row[p]) for row, p in zip(X, present, strict=True)])


def inner_folds(part: Calibration) -> Iterator[tuple[NDArray, NDArray]]:
    """Yield five folds of a calibration set by sample, to select components and preprocessing."""
    n_groups = np.unique(part.groups).size
    return GroupKFold(min(5, n_groups), shuffle=True, random_state=0).split(part.X, groups=part.groups)
