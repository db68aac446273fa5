"""Pretraining objectives, one file each."""

from .episodic_calibration import EpisodicCalibration

__all__ = ["EpisodicCalibration"]
