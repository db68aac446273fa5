"""Spectra as they flow: values, wavelengths in nm, validity; units and axes, tables on disk, checks. Needs numpy only."""

from .data import (
    ASSUMED_RANGE,
    AXIS_UNITS,
    MAX_WAVELENGTH,
    MIN_WAVELENGTH,
    Spectra,
    assumed_wavelengths,
    check_finite,
    guess_axis_unit,
    is_monotonic,
    parse_axis_labels,
    to_nanometres,
)

__all__ = [
    "ASSUMED_RANGE",
    "AXIS_UNITS",
    "MAX_WAVELENGTH",
    "MIN_WAVELENGTH",
    "Spectra",
    "assumed_wavelengths",
    "check_finite",
    "guess_axis_unit",
    "is_monotonic",
    "parse_axis_labels",
    "to_nanometres",
]
