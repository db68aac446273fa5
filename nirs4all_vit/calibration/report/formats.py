"""Formats of numbers and names in the report."""

from __future__ import annotations

import html
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Text for a missing number.
MISSING = "–"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
#: Symbol and axis title of each axis unit.
UNITS = {"nm": ("nm", "Wavelength (nm)"), "cm-1": ("cm⁻¹", "Wavenumber (cm⁻¹)"), "um": ("µm", "Wavelength (µm)")}


def decimals_for(error: float, values: ArrayLike) -> int:
    """Return the decimals for values with an error, for two significant digits of the error.

    Without a finite, positive error, a tenth of the standard deviation of the values is used.
    """
    if not (math.isfinite(error) and error > 0):
        finite = np.asarray(values, dtype=np.float64)
        finite = finite[np.isfinite(finite)]
        error = float(finite.std()) / 10 if len(finite) else 0.1
    if not error > 0:
        return 2
    return int(min(max(1 - math.floor(math.log10(error)), 0), 12))


def fixed(value: float, decimals: int, *, sign: bool = False) -> str:
    """Return a number with fixed decimals and a true minus sign."""
    if not math.isfinite(value):
        return MISSING
    text = f"{value:+.{decimals}f}" if sign else f"{value:.{decimals}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", "−")


def significant(value: float, digits: int = 3) -> str:
    """Return a number with significant digits, such as 0.0412, 1,230 or 4.1 × 10⁻⁷."""
    if not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    power = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    if not -5 < power < 7:
        mantissa = f"{value / 10.0**power:.{digits - 1}f}".replace("-", "−")
        return f"{mantissa} × 10{str(power).translate(_SUPERSCRIPTS)}"
    return f"{value:,.{max(digits - 1 - power, 0)}f}".replace("-", "−")


def percent(share: float, decimals: int = 0) -> str:
    """Return a share as a percentage with a non-breaking space."""
    return f"{fixed(100 * share, decimals)}\u00a0%" if math.isfinite(share) else MISSING


def count(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, such as "1 sample" or "1,200 samples"."""
    return f"{number:,}\u00a0{noun if number == 1 else plural or noun + 's'}"


def shortened(text: Any, length: int = 40, tail: int = 0) -> str:
    """Return a text on one line; of a long text, its beginning and its last `tail` letters."""
    line = " ".join(str(text).split())
    if len(line) <= length:
        return line
    return f"{line[: length - tail - 1].rstrip()}…{line[len(line) - tail :].lstrip()}"


def figure_text(text: Any, length: int = 40) -> str:
    """Return a name for a plotly figure, escaped since plotly interprets some HTML."""
    return html.escape(shortened(text, length), quote=False)


def sample_text(text: Any, length: int = 24) -> str:
    """Return a sample's id for a plotly figure, with its end, where ids often differ."""
    return html.escape(shortened(text, length, length // 3), quote=False)


def error_decimals(error: float) -> int | None:
    """Return the decimals for three significant digits of an error; None for powers of ten."""
    if not (math.isfinite(error) and 1e-4 <= error < 1e6):
        return None
    return max(2 - math.floor(math.log10(error)), 0)


def like(value: float, error: float) -> str:
    """Return a bias or another error with the decimals of `error`."""
    decimals = error_decimals(error)
    return significant(value) if decimals is None else fixed(value, decimals)


def nice_step(span: float, n: int = 5) -> float:
    """Return a round distance between ticks, for about `n` ticks in `span`."""
    if not (math.isfinite(span) and span > 0):
        return 1.0
    rough = span / n
    power = 10.0 ** math.floor(math.log10(rough))
    return power * min((1.0, 2.0, 5.0, 10.0), key=lambda step: abs(math.log(step * power / rough)))


def to_unit(nm: ArrayLike, unit: str) -> NDArray[np.float64]:
    """Convert wavelengths in nm to the unit of an axis."""
    values = np.asarray(nm, dtype=np.float64)
    if unit == "cm-1":
        return 1e7 / values
    return values / 1000 if unit == "um" else values


def axis_number(value: float, unit: str) -> str:
    """Return a position on the axis as text."""
    return f"{value:,.2f}" if unit == "um" else f"{value:,.0f}"


def rounded(values: ArrayLike, decimals: int) -> list[float | int | None]:
    """Return rounded numbers for JSON; None for NaN and infinity."""
    array = np.round(np.asarray(values, dtype=np.float64), decimals)
    if decimals <= 0:
        return [int(value) if math.isfinite(value) else None for value in array.tolist()]
    return [value if math.isfinite(value) else None for value in array.tolist()]


def rounded_to_range(values: ArrayLike, steps: int = 4000) -> list[float | int | None]:
    """Return numbers for JSON, rounded to at most a `steps`-th of their range."""
    array = np.asarray(values, dtype=np.float64)
    finite = array[np.isfinite(array)]
    spread = float(np.ptp(finite)) if len(finite) else 0.0
    if not spread > 0:
        spread = float(np.abs(finite).max()) if len(finite) and np.abs(finite).max() > 0 else 1.0
    return rounded(array, max(math.ceil(-math.log10(spread / steps)), 0))
