"""Common assignments of near-infrared absorption bands, for the figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .formats import UNITS, axis_number, to_unit


@dataclass(frozen=True)
class Band:
    """One absorption band.

    Attributes
    ----------
    start, stop : float
        Limits in nm. They shift with the state and the temperature of the sample.
    name : str
        Vibration and the substances that have it.
    """

    start: float
    stop: float
    name: str


#: General knowledge of near-infrared chemistry; overlapping bands are truncated.
BANDS = (
    Band(730, 780, "O–H third overtone (water) and C–H fourth overtone"),
    Band(880, 940, "C–H third overtone (oil, CH₃ and CH₂)"),
    Band(960, 990, "O–H second overtone (water)"),
    Band(1010, 1060, "N–H second overtone (amide, protein)"),
    Band(1150, 1225, "C–H second overtone (CH₃, CH₂, CH=CH)"),
    Band(1350, 1400, "C–H combination (CH₃, CH₂)"),
    Band(1400, 1460, "O–H first overtone (water, alcohols, sugars)"),
    Band(1480, 1570, "N–H first overtone (protein, amides), bonded O–H (starch, cellulose)"),
    Band(1650, 1800, "C–H first overtone (oil, cellulose, aromatics)"),
    Band(1900, 1960, "O–H combination (water)"),
    Band(2040, 2110, "N–H and amide combination (protein), O–H and C–O (starch, sugars)"),
    Band(2150, 2200, "N–H and amide combination (protein), =C–H (unsaturated oil)"),
    Band(2270, 2360, "C–H combinations (starch, oil, cellulose)"),
    Band(2460, 2500, "C–H, C–C and C–N–C combination (starch, protein)"),
)


@dataclass(frozen=True)
class ShownBand:
    """A band in a figure: letter, name, ends in the unit of the axis, and range in words."""

    letter: str
    name: str
    low: float
    high: float
    place: str


def shown_bands(nm: np.ndarray, unit: str) -> list[ShownBand]:
    """Return the bands within the wavelengths, from left to right; wavenumbers descend."""
    if not len(nm):
        return []
    low, high = float(nm[0]), float(nm[-1])
    inside = [band for band in BANDS if band.stop > low and band.start < high]
    shown = []
    for letter, band in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", inside, strict=False):
        ends = sorted(to_unit([max(band.start, low), min(band.stop, high)], unit).tolist())
        whole = to_unit([band.start, band.stop], unit)
        place = f"{axis_number(whole[0], unit)} to {axis_number(whole[1], unit)}\u00a0{UNITS[unit][0]}"
        shown.append(ShownBand(letter, band.name, ends[0], ends[1], place))
    return shown
