"""Untrained views of spectra that are used in front of a general head such as TabPFN."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline, make_pipeline

from nirs4all_vit.heads import BlockScaler

from ..calibrations import Calibration
from .base import GridViews, Views
from .pls import PLS
from .preprocessing import PreprocessedViews


class PLSScores(Views):
    """Scores of PLS, with preprocessing and number of components selected by cross-validation."""

    names = ("scores",)

    def fit(self, part: Calibration) -> Self:
        """Fit PLS on the targets of the calibration set."""
        self.pls = PLS(PreprocessedViews()).fit(part)
        return self

    def view(self, part: Calibration, name: str) -> NDArray:  # noqa: ARG002
        """Return the scores."""
        return self.pls.model.transform(self.pls.views.view(part, self.pls.chosen))


class SpectralEncodings(GridViews):
    """Encodings of nirs4all-methods with their default parameters, on raw spectra.

    ``lvse`` are principal components of windows of 64 channels, ``gcu`` are 16 non-negative factors of the
    whole spectrum. Several encodings are joined, each at unit spread.
    """

    names = ("columns",)

    def __init__(self, *encodings: str) -> None:
        self.encodings = encodings

    def fit(self, part: Calibration) -> Self:
        """Fit the encodings on the calibration spectra, without targets."""
        X = super().fit(part).on_grid(part)
        self.fitted = [_pipeline(name).fit(X) for name in self.encodings]
        return self

    def view(self, part: Calibration, name: str) -> NDArray:  # noqa: ARG002
        """Return the columns of all encodings."""
        X = self.on_grid(part)
        return np.hstack([encoding.transform(X) for encoding in self.fitted])


def _pipeline(name: str) -> Pipeline:
    from n4m.decomposition import GCU, LVSE

    encoding: dict[str, Any] = {"lvse": LVSE, "gcu": GCU}
    return make_pipeline(encoding[name](), BlockScaler())
