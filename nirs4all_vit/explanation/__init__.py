"""Where a model looks: wavelengths that drive a prediction, windows that the encoder reads through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "WavelengthImportance": "importance",
        "attention_windows": "windows",
        "wavelength_importance": "importance",
    },
)

if TYPE_CHECKING:
    from .importance import WavelengthImportance as WavelengthImportance
    from .importance import wavelength_importance as wavelength_importance
    from .windows import attention_windows as attention_windows
