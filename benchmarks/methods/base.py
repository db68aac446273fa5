"""A method of the benchmark is a head on views of the spectra."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold

from ..calibrations import Calibration


class Unavailable(RuntimeError):
    """A method that cannot run here; the text says why."""


class Method(ABC):
    """A way from spectra to predictions, with all its choices made inside the calibration set."""

    @abstractmethod
    def fit(self, part: Calibration) -> Self:
        """Calibrate; `Unavailable` says that something it needs is not installed."""

    @abstractmethod
    def predict(self, part: Calibration) -> NDArray:
        """Predict values, or codes of classes; ``part.y`` is not looked at.

        The spectra may be on another grid than in `fit`.
        """


class Views(ABC):
    """Feature matrices of the same spectra; `names` says what there is to choose from."""

    names: tuple[str, ...]

    def fit(self, part: Calibration) -> Self:  # noqa: ARG002
        """Learn from the calibration spectra what `view` needs, never from their targets."""
        return self

    @abstractmethod
    def view(self, part: Calibration, name: str) -> NDArray:
        """Return one matrix (n, d)."""


class GridViews(Views):
    """Views whose columns are wavelengths: spectra on another grid are interpolated to the calibration's."""

    def fit(self, part: Calibration) -> Self:
        """Note the grid."""
        self.wavelengths = part.wavelengths
        return self

    def on_grid(self, part: Calibration) -> NDArray[np.float64]:
        """Return spectra on the grid of `fit`, by linear interpolation; the end values are extended outwards."""
        X = part.X.astype(np.float64)
        present = np.isfinite(X)
        if np.array_equal(part.wavelengths, self.wavelengths) and present.all():
            return X
        order = np.argsort(part.wavelengths)
        axis, X, present = part.wavelengths[order], X[:, order], present[:, order]
        return np.stack([np.interp(self.wavelengths, axis[p], row[p]) for row, p in zip(X, present, strict=True)])


def inner_folds(part: Calibration) -> Iterator[tuple[NDArray, NDArray]]:
    """Yield five folds of a calibration set, by sample: where components and preprocessings are chosen."""
    n_groups = np.unique(part.groups).size
    return GroupKFold(min(5, n_groups), shuffle=True, random_state=0).split(part.X, groups=part.groups)
