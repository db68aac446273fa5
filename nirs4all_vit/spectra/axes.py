"""Column names: what they say about wavelengths, and what says that a table was not read as it was meant."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SpectralAxisError

_UNIT_NAMES = {
    "nm": "nm",
    "cm-1": "cm-1",
    "cm^-1": "cm-1",
    "cm⁻¹": "cm-1",
    "1/cm": "cm-1",
    # As R writes them into names.
    "cm.1": "cm-1",
    "cm..1": "cm-1",
    "um": "um",
    "µm": "um",
    "μm": "um",
}
_LABEL = re.compile(r"^\s*X?([+-]?(?:\d+(?:\.\d*|,\d+)?|\.\d+)(?:[eE][+-]?\d+)?)[\s.]*(\S*)\s*$")

# "9,090" may be nine thousand or nine.
_THOUSANDS = re.compile(r"^\s*X?\d{1,3},\d{3}(?!\d)")

_RENAMED = re.compile(r"^(.+)\.(\d+)$")


def parse_axis_labels(labels: Iterable[Any]) -> tuple[NDArray[np.float64], str] | None:
    """Read column names such as ``"1100"``, ``"1100,5"``, ``"1100nm"``, ``"9090 cm-1"`` or R's ``"X1100"`` as an axis.

    Parameters
    ----------
    labels : iterable
        Column names; numbers are accepted as they are.

    Returns
    -------
    (values, unit) or None
        The numbers and the unit that the labels carry (``"auto"`` if they carry none). None if any
        label is not a number with, at most, one and the same unit behind it.
    """
    values, units = [], set()
    for label in labels:
        match = _LABEL.match(str(label))
        unit = match and ("auto" if not match[2] else _UNIT_NAMES.get(match[2].lower()))
        if not match or not unit or _THOUSANDS.match(str(label)):
            return None
        values.append(float(match[1].replace(",", ".")))
        units.add(unit)
    if not values or len(units) != 1:
        return None
    return np.asarray(values), units.pop()


def check_labels(labels: Iterable[Any]) -> None:
    """Refuse the column names of a table that was read with another separator than it was written with, or has repeats.

    Raises
    ------
    SpectralAxisError
        Names that hold a separator, or that pandas changed as there were two of them.
    """
    names = [str(label) for label in labels]
    for separator, written in ((";", ";"), ("\t", "\\t")):
        odd = next((name for name in names if separator in name), None)
        if odd is not None:
            raise SpectralAxisError(
                f"column {odd[:40]!r} is not one column; the separator is another: pd.read_csv(..., sep='{written}'), and "
                "decimal=',' if the numbers are written so."
            )
    parsed = parse_axis_labels(names)
    if parsed is None or len(names) < 3:
        return
    values = dict(zip(names, parsed[0], strict=True))
    step = float(np.median(np.abs(np.diff(parsed[0]))))
    for name, value in values.items():
        match = _RENAMED.match(name)
        # On a fine grid 2496.1 is the next wavelength after 2496; on one of 2 nm it is a second 2496.
        if match and match[1] in values and abs(value - values[match[1]]) < step / 2:
            raise SpectralAxisError(
                f"columns {match[1]!r} and {name!r}: wavelength {match[1]} occurs twice, and pandas renames what is repeated; "
                "merge or drop the duplicates."
            )
