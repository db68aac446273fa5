"""Parsing of metadata values, shared by pretraining and inference; needs no torch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Category of a missing value or one that was not in pretraining.
UNKNOWN = "UNKNOWN"
#: Numeric fields computed from the wavelengths.
AXIS_FIELDS = ("spectral_start", "spectral_stop", "spectral_step")


def axis_limits(axis: NDArray[np.float64]) -> dict[str, float]:
    """Return the fields `AXIS_FIELDS` of an ascending axis (n_wavelengths,) in nm.

    They are its first and last wavelength and its median step.
    """
    step = float(np.median(np.diff(axis))) if len(axis) > 1 else 0.0
    return dict(zip(AXIS_FIELDS, (float(axis[0]), float(axis[-1]), step), strict=True))


def category(value: Any, field: str = "") -> str:
    """Return the category of a value; those of the field ``mode`` are in lower case.

    A value that is missing, empty, ``"n/a ..."`` or ``"unknown ..."`` gives ``"UNKNOWN"``.
    """
    text = str(value).strip() if value is not None else ""
    # "UNKNOWN FT-NIR" or "unknown (1100-2498 nm grid)" is no category that datasets could share.
    if not text or text.lower().startswith(("unknown", "n/a")) or text.lower() in ("nan", "<na>"):
        return UNKNOWN
    return text.lower() if field == "mode" else text


def value_and_mask(value: Any) -> tuple[float, float]:
    """Return (number, 1) for a finite number, (0, 0) for any other value."""
    if isinstance(value, bool):
        return 0.0, 0.0
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0, 0.0
    return (number, 1.0) if math.isfinite(number) else (0.0, 0.0)
