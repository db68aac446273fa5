"""Whether a spectrum is unlike those of the calibration set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(__name__, {"SpectralNovelty": "detector"})

if TYPE_CHECKING:
    from .detector import SpectralNovelty as SpectralNovelty
