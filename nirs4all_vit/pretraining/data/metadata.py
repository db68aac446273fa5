"""What is known of a dataset's measurement: sparse, never required."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: The category of whatever is missing.
UNKNOWN = "UNKNOWN"

#: Fields that an encoder may be told about.
CATEGORICAL = ("instrument", "manufacturer", "instrument_type", "mode", "sample_type")
NUMERIC = ("spectral_start", "spectral_stop", "spectral_step", "temperature", "particle_size", "humidity")


@dataclass(frozen=True)
class SpectralMetadata:
    """Metadata of one dataset, in a form that has no holes.

    Attributes
    ----------
    categorical : mapping of str to str
        One value per field of `CATEGORICAL`, ``"UNKNOWN"`` where missing.
    numeric : mapping of str to (float, float)
        One (value, mask) per field of `NUMERIC`; (0, 0) where missing. Wavelengths in nm, temperature
        in degrees Celsius, particle size in micrometres, humidity in percent.
    source : mapping
        Everything that the file said: family, licence, provenance, doubts.
    """

    categorical: Mapping[str, str]
    numeric: Mapping[str, tuple[float, float]]
    source: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, source: Mapping[str, Any]) -> SpectralMetadata:
        """Read a sparse dictionary; any field may be missing, null, empty or ``"UNKNOWN ..."``."""
        numbers = dict(source)
        limits = source.get("spectral_range")
        if isinstance(limits, (list, tuple)) and len(limits) == 2:
            numbers |= {"spectral_start": limits[0], "spectral_stop": limits[1]}
        return cls(
            {name: _category(source.get(name)) for name in CATEGORICAL}
            | {"mode": _category(source.get("mode"), lower=True)},
            {name: value_and_mask(numbers.get(name)) for name in NUMERIC},
            dict(source),
        )

    @property
    def family(self) -> str:
        """Family of the dataset, ``"UNKNOWN"`` where nothing is said."""
        family = self.source.get("family")
        return _category(family) if isinstance(family, (str, int)) else UNKNOWN

    def known(self) -> dict[str, str | float]:
        """Return what is known, as the encoder's metadata embedding takes it."""
        words = {name: value for name, value in self.categorical.items() if value != UNKNOWN}
        return words | {name: value for name, (value, mask) in self.numeric.items() if mask}


def _category(value: Any, *, lower: bool = False) -> str:
    text = str(value).strip() if value is not None else ""
    # "UNKNOWN FT-NIR" and "unknown (1100-2498 nm grid)" name nothing that another dataset could share.
    return (
        UNKNOWN
        if not text or text.lower().startswith(("unknown", "n/a")) or text.lower() == "nan"
        else (text.lower() if lower else text)
    )


def value_and_mask(value: Any) -> tuple[float, float]:
    """Return a finite number and 1, or (0, 0) for whatever is none."""
    if isinstance(value, bool):
        return 0.0, 0.0
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0, 0.0
    return (number, 1.0) if math.isfinite(number) else (0.0, 0.0)
