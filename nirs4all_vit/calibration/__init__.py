"""From files to a decision: calibrate, predict, and a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Calibration": "calibrate",
        "SpectralCalibration": "model",
        "adapt": "predict",
        "calibrate": "calibrate",
        "load": "folder",
        "predict": "predict",
        "save": "folder",
    },
)

if TYPE_CHECKING:
    from .calibrate import Calibration as Calibration
    from .calibrate import calibrate as calibrate
    from .folder import load as load
    from .folder import save as save
    from .model import SpectralCalibration as SpectralCalibration
    from .predict import adapt as adapt
    from .predict import predict as predict
