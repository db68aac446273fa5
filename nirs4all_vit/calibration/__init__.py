"""Calibration from files: model, predictions and report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Calibration": "calibrating",
        "SpectralCalibration": "model",
        "adapt": "predicting",
        "calibrate": "calibrating",
        "load": "folder",
        "predict": "predicting",
        "save": "folder",
    },
)

if TYPE_CHECKING:
    from .calibrating import Calibration as Calibration
    from .calibrating import calibrate as calibrate
    from .folder import load as load
    from .folder import save as save
    from .model import SpectralCalibration as SpectralCalibration
    from .predicting import adapt as adapt
    from .predicting import predict as predict
