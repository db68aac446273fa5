"""The encoder tuned on the calibration set."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from nirs4all_vit import SpectralClassifier, SpectralRegressor

from ..calibrations import Calibration
from ..embeddings import EmbeddedView
from .base import Method


class Tuned(Method):
    """`SpectralRegressor` or `SpectralClassifier`, from the weights and the read-out of a view.

    Parameters
    ----------
    views : EmbeddedView
        Names the checkpoint; embeddings that are kept are of no use here, as the encoder changes.
    """

    def __init__(self, views: EmbeddedView) -> None:
        self.weights, self.readout = views.weights, views.readout

    def fit(self, part: Calibration) -> Tuned:
        """Tune and calibrate; samples stay together where some are held back."""
        made = SpectralRegressor if part.task == "regression" else SpectralClassifier
        model = made(self.weights, readout=self.readout, axis_unit="nm", device="cpu")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*stays as it was pretrained")
            self.model = model.fit(part.X, part.y, wavelengths=part.wavelengths, groups=part.groups)
        self.chosen = "tuned" if self.model.tuned_ else "frozen"
        return self

    def predict(self, part: Calibration) -> NDArray:
        """Predict values or codes of classes."""
        return np.ravel(self.model.predict(part.X, wavelengths=part.wavelengths))
