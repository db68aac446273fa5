"""Outlier detection relative to the calibration set, and wavelength importance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {"SpectralNovelty": "novelty", "WavelengthImportance": "importance", "wavelength_importance": "importance"},
)

if TYPE_CHECKING:
    from .importance import WavelengthImportance as WavelengthImportance
    from .importance import wavelength_importance as wavelength_importance
    from .novelty import SpectralNovelty as SpectralNovelty
