"""Values of metadata fields, read alike in pretraining and inference; without torch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: The category of whatever is missing or was never seen in pretraining.
UNKNOWN = "UNKNOWN"
#: Numeric fields that follow from the wavelengths.
AXIS_FIELDS = ("spectral_start", "spectral_stop", "spectral_step")


def axis_limits(axis: NDArray[np.float64]) -> dict[str, float]:
    """Return the ends and the typical step of an axis (n_wavelengths,), ascending in nm: the fields of `AXIS_FIELDS`."""
    step = float(np.median(np.diff(axis))) if len(axis) > 1 else 0.0
    return dict(zip(AXIS_FIELDS, (float(axis[0]), float(axis[-1]), step), strict=True))


def category(value: Any, field: str = "") -> str:
    """Return the category that a value names; ``"UNKNOWN"`` where it is missing, empty, ``"n/a"`` or ``"unknown ..."``.

    Categories of the field ``mode`` are in lower case.
    """
    text = str(value).strip() if value is not None else ""
    # "UNKNOWN FT-NIR" and "unknown (1100-2498 nm grid)" name nothing that another dataset could share.
    if not text or text.lower().startswith(("unknown", "n/a")) or text.lower() in ("nan", "<na>"):
        return UNKNOWN
    return text.lower() if field == "mode" else text


def value_and_mask(value: Any) -> tuple[float, float]:
    """Return a finite number and 1, or (0, 0) for whatever is none."""
    if isinstance(value, bool):
        return 0.0, 0.0
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0, 0.0
    return (number, 1.0) if math.isfinite(number) else (0.0, 0.0)
