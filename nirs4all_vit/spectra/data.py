"""Spectra on their wavelength axis: column names, units, order, checks.

This module converts any axis to ascending nanometres, which the rest of the package uses. It needs
numpy only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import SpectralAxisError, SpectralInputError
from .order import is_monotonic, mistyped

_UNIT_NAMES = {
    "nm": "nm",
    "cm-1": "cm-1",
    "cm^-1": "cm-1",
    "cm⁻¹": "cm-1",
    "1/cm": "cm-1",
    # As R writes units into names.
    "cm.1": "cm-1",
    "cm..1": "cm-1",
    "um": "um",
    "µm": "um",
    "μm": "um",
}
_LABEL = re.compile(r"^\s*X?([+-]?(?:\d+(?:\.\d*|,\d+)?|\.\d+)(?:[eE][+-]?\d+)?)[\s.]*(\S*)\s*$")

# A number with text around it, the same in all names, and the least number of such names.
_FRAMED = re.compile(r"^(\D*?)(\d+(?:\.\d+)?)(\D*)$")
_FEWEST_FRAMED = 3

# "9,090" may be 9090 or 9.09.
_THOUSANDS = re.compile(r"^\s*X?\d{1,3},\d{3}(?!\d)")

#: "9.091" or "9,091": numbers that may contain a thousands separator.
GROUPED = re.compile(r"[1-9]\d{0,2}(?:[.,]\d{3})+")
# Upper end of near-infrared axes, in um.
_LONGEST_NEAR_INFRARED = 3.0

#: Names of columns of wavelengths, and the least number of rows of such a column.
_NAME_OF_AXIS = re.compile(r"wave|lambda|nanomet|^nm$|^wl$|^wn$|cm.?.?1", re.IGNORECASE)
_SHORTEST_UPRIGHT = 20

_RENAMED = re.compile(r"^(.+)\.(\d+)$")


def parse_axis_labels(labels: Iterable[Any]) -> tuple[NDArray[np.float64], str] | None:
    """Parse column names such as ``"1100"``, ``"1100,5"`` or ``"9090 cm-1"`` as an axis.

    Names as R writes them (``"X1100"``) are read too, and so are three or more names that differ in
    a number only (``"spc.1100"``).

    Parameters
    ----------
    labels : iterable
        Column names; numbers are accepted.

    Returns
    -------
    (values, unit) or None
        The numbers and the unit in the labels (``"auto"`` if they have none). None if the labels
        are not numbers with the same unit, or without one.
    """
    labels = [str(label) for label in labels]
    values, units = [], set()
    for label in labels:
        match = _LABEL.match(label)
        unit = match and ("auto" if not match[2] else _UNIT_NAMES.get(match[2].lower()))
        if not match or not unit or _THOUSANDS.match(label):
            return _parse_framed(labels)
        values.append(float(match[1].replace(",", ".")))
        units.add(unit)
    if not values or len(units) != 1:
        return None
    return np.asarray(values), units.pop()


def _parse_framed(labels: Sequence[str]) -> tuple[NDArray[np.float64], str] | None:
    """Parse names that differ in a number only, such as ``"spc.1100"`` or ``"1100 (nm)"``."""
    matches = [_FRAMED.match(label) for label in labels]
    if len(matches) < _FEWEST_FRAMED or not all(matches):
        return None
    parts = [match.groups() for match in matches if match]
    if len({(before, behind) for before, _, behind in parts}) > 1:
        return None
    values = np.array([float(number) for _, number, _ in parts])
    # Smaller numbers count columns, bands or samples.
    if values.min() < MIN_WAVELENGTH:
        return None
    return values, _UNIT_NAMES.get(parts[0][2].strip(" ()[]_.").lower(), "auto")


def check_labels(labels: Iterable[Any]) -> None:
    """Refuse column names that contain a separator or that pandas renamed as duplicates.

    Raises
    ------
    SpectralAxisError
        The table was read with the wrong separator, or a wavelength occurs twice.
    """
    names = [str(label) for label in labels]
    for separator, written in ((";", ";"), ("\t", "\\t")):
        odd = next((name for name in names if separator in name), None)
        if odd is not None:
            raise SpectralAxisError(
                f"column {odd[:40]!r} is not one column, because the separator is {separator!r}; use "
                f"pd.read_csv(..., sep='{written}'), with decimal=',' if the numbers have decimal commas."
            )
    parsed = parse_axis_labels(names)
    if parsed is None or len(names) < 3:
        return
    values = dict(zip(names, parsed[0], strict=True))
    step = float(np.median(np.abs(np.diff(parsed[0]))))
    for name, value in values.items():
        match = _RENAMED.match(name)
        # On a fine grid 2496.1 is the next wavelength after 2496; on one of 2 nm it is a second
        # 2496.
        if match and match[1] in values and abs(value - values[match[1]]) < step / 2:
            raise SpectralAxisError(
                f"columns {match[1]!r} and {name!r}: wavelength {match[1]} occurs twice, and pandas renamed the "
                "second; merge or drop the duplicates."
            )


def are_column_numbers(labels: NDArray[np.float64]) -> bool:
    """Return whether numbers count columns: 0, 1, 2, ... or 1, 2, 3, ..., or every n-th of them."""
    steps = np.diff(labels)
    return bool(labels[0] in (0, 1) and (steps > 0).all() and (steps == steps[:1]).all() and (labels % 1 == 0).all())


def is_upright_axis(name: Any, values: Iterable[Any], others: Iterable[Any]) -> bool:
    """Return whether a column or index holds the wavelengths, so that spectra are columns.

    If the names of the other columns are wavelengths, the column must also be named as wavelengths:
    other numbers are ids of samples.
    """
    if _is_axis([*others], 1) and not _NAME_OF_AXIS.search(str(name)):
        return False
    return _is_axis(values, _SHORTEST_UPRIGHT)


def _is_axis(labels: Iterable[Any], fewest: int) -> bool:
    parsed = parse_axis_labels(labels)
    if parsed is None or len(parsed[0]) < fewest or not is_monotonic(parsed[0]) or are_column_numbers(parsed[0]):
        return False
    try:
        to_nanometres(*parsed)
    except SpectralAxisError:
        return False
    return True


#: Supported axis units.
AXIS_UNITS = ("auto", "nm", "cm-1", "um")

#: Supported range of wavelengths (nm): mid-UV to mid-infrared.
MIN_WAVELENGTH, MAX_WAVELENGTH = 200.0, 30_000.0

#: Ends of the even grid (nm) that is assumed if wavelengths are unknown.
ASSUMED_RANGE = (1000.0, 2500.0)


def refuse_thousands(labels: Iterable[Any], axis: NDArray[np.float64], unit: str) -> None:
    """Refuse ambiguous names such as ``"9.091"``.

    It can be 9.091 um, or 9,091 cm-1 with a thousands separator. Names are accepted if the unit is
    known, or up to 3 um, where ``"2.500"`` is 2,500 nm either way.

    Raises
    ------
    SpectralAxisError
        All names are ambiguous.
    """
    names = [label for label in labels if isinstance(label, str)]
    if unit != "auto" or guess_axis_unit(axis) != "um" or float(np.max(axis)) <= _LONGEST_NEAR_INFRARED:
        return
    if names and all(GROUPED.fullmatch(name.strip()) for name in names):
        raise SpectralAxisError(
            f"{names[0]!r} can be {names[0]} micrometres, or {names[0].replace('.', '').replace(',', '')} with a "
            "thousands separator; set axis_unit='um', or remove the separators."
        )


def guess_axis_unit(axis: NDArray[np.float64]) -> str:
    """Return the unit of an axis (``"um"``, ``"nm"`` or ``"cm-1"``) from its largest value.

    Ranges of near-infrared axes do not overlap in practice: they end by 3 um or 3,000 nm and, in
    wavenumbers, well above 3,500 cm-1.
    """
    largest = float(np.max(axis))
    if largest < 100:
        return "um"
    return "nm" if largest <= 3500 else "cm-1"


def to_nanometres(axis: ArrayLike, unit: str = "auto") -> NDArray[np.float64]:
    """Check a wavelength axis and convert it to nanometres, in the same order.

    Parameters
    ----------
    axis : array-like of shape (n_wavelengths,)
        Wavelengths or wavenumbers, in any order.
    unit : {"auto", "nm", "cm-1", "um"}, default="auto"
        Unit of `axis`; ``"auto"`` decides by its range.

    Returns
    -------
    ndarray of shape (n_wavelengths,), float64
        Wavelengths in nm.

    Raises
    ------
    SpectralAxisError
        Values are not numbers, not finite, not positive, duplicated, outside 200 to 30,000 nm, or
        one is mistyped; or the unit is unknown.
    """
    if type(axis) is np.ndarray and axis.dtype == np.float64 and axis.ndim == 1:
        return _converted(axis.tobytes(), unit).copy()
    return _convert(axis, unit)


@lru_cache(maxsize=16)
def _converted(axis: bytes, unit: str) -> NDArray[np.float64]:
    """Convert an axis, cached because each call of `transform` repeats the conversion."""
    return _convert(np.frombuffer(axis), unit)


def _convert(axis: ArrayLike, unit: str) -> NDArray[np.float64]:
    if unit not in AXIS_UNITS:
        raise SpectralAxisError(f"axis_unit={unit!r} is not a known unit; use one of {', '.join(AXIS_UNITS)}.")
    try:
        values = np.array(axis, dtype=np.float64)  # a copy: the caller may modify the original
    except (TypeError, ValueError):
        parsed = parse_axis_labels(np.ravel(np.asarray(axis, dtype=object)))
        if parsed is None:
            raise SpectralAxisError(
                "wavelengths must be numbers; pass the axis as a 1-D array of nm or cm-1."
            ) from None
        values, label_unit = parsed
        if "auto" not in (unit, label_unit) and unit != label_unit:
            raise SpectralAxisError(f"axis_unit={unit!r}, but the wavelengths are written in {label_unit}.") from None
        unit = label_unit if unit == "auto" else unit
    if values.ndim != 1 or values.size == 0:
        raise SpectralAxisError(f"wavelengths must be a non-empty 1-D array, got shape {values.shape}.")
    if not np.isfinite(values).all():
        raise SpectralAxisError(
            f"wavelengths hold {values[~np.isfinite(values)][0]}; every value must be a finite number."
        )
    if (values <= 0).any():
        raise SpectralAxisError(f"wavelengths hold {values[values <= 0][0]:g}; every value must be positive.")
    odd = mistyped(values)
    if odd is not None:
        beside = " and ".join(f"{values[i]:.10g}" for i in (odd - 1, odd + 1) if 0 <= i < values.size)
        raise SpectralAxisError(
            f"wavelength {values[odd]:.10g} is out of line with {beside} beside it (a typing error?); "
            "correct it, or drop its column."
        )
    unique, counts = np.unique(values, return_counts=True)
    if unique.size < values.size:
        raise SpectralAxisError(
            f"wavelength {unique[counts > 1][0]:g} occurs more than once; merge or drop the duplicates."
        )
    resolved = guess_axis_unit(values) if unit == "auto" else unit
    # The first spectrum of a table without a header could pass for micrometres: absorbances of 0.3
    # to 2.
    if unit == "auto" and resolved == "um" and not is_monotonic(values):
        raise SpectralAxisError(
            "the axis is neither ascending nor descending and holds no wavelength in nm (a table without a header?); "
            "if these are micrometres, set axis_unit='um'."
        )
    nm = {"nm": lambda v: v, "cm-1": lambda v: 1e7 / v, "um": lambda v: 1e3 * v}[resolved](values)
    # The tolerance admits both ends in any unit despite rounding.
    outside = (nm < MIN_WAVELENGTH * (1 - 1e-9)) | (nm > MAX_WAVELENGTH * (1 + 1e-9))
    if outside.any():
        raise SpectralAxisError(
            f"wavelength {values[outside][0]:g} read as {resolved} is {nm[outside][0]:g} nm, outside of "
            f"{MIN_WAVELENGTH:g} to {MAX_WAVELENGTH:,.0f} nm; check the axis, or set axis_unit."
        )
    return nm


def assumed_wavelengths(n_wavelengths: int) -> NDArray[np.float64]:
    """Return the even grid (nm) that is assumed if wavelengths are unknown."""
    if n_wavelengths == 1:
        return np.array([sum(ASSUMED_RANGE) / 2])
    return np.linspace(*ASSUMED_RANGE, n_wavelengths)


def spread_rows(n: int, most: int) -> NDArray[np.intp]:
    """Return at most `most` of `n` row indices, evenly spaced from the first to the last."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.intp))


def take_rows(blocks: Sequence[Spectra], rows: NDArray[np.intp]) -> list[Spectra]:
    """Return rows of blocks with a 1-D grid each; `rows` ascend and count over all blocks."""
    ends = np.cumsum([len(block) for block in blocks])
    parts = []
    for block, end in zip(blocks, ends, strict=True):
        own = rows[(rows >= end - len(block)) & (rows < end)] - (end - len(block))
        if len(own):
            parts.append(Spectra(block.values[own], block.wavelengths, metadata=_rows(block.metadata, own)))
    return parts


def join_metadata(blocks: Sequence[Spectra]) -> NDArray[np.object_] | None:
    """Concatenate the metadata of blocks; None if no block has any."""
    if all(block.metadata is None for block in blocks):
        return None
    parts = [np.full(len(b), {}, dtype=np.object_) if b.metadata is None else b.metadata for b in blocks]
    return np.concatenate(parts)


def _rows(metadata: NDArray[np.object_] | None, rows: NDArray[np.intp]) -> NDArray[np.object_] | None:
    return None if metadata is None else metadata[rows]


@dataclass(frozen=True)
class Spectra:
    """Block of spectra with their wavelengths.

    Attributes
    ----------
    values : ndarray of shape (n_spectra, n_wavelengths)
        Absorbance, reflectance or any other signal, float32 or float64.
    wavelengths : ndarray of shape (n_wavelengths,) or (n_spectra, n_wavelengths), float64
        Wavelengths in nm, ascending; 2-D if each spectrum has its own grid. Padding repeats the
        last wavelength of the row.
    valid : ndarray of bool, shape (n_spectra, n_wavelengths), or None
        False on padding; None without padding.
    metadata : ndarray of object, shape (n_spectra,), or None
        Mapping of field to value for each spectrum; None without metadata.
    """

    values: NDArray[Any]
    wavelengths: NDArray[np.float64]
    valid: NDArray[np.bool_] | None = None
    metadata: NDArray[np.object_] | None = None

    @classmethod
    def on_grid(cls, values: NDArray[Any], wavelengths: NDArray[np.float64]) -> Spectra:
        """Sort spectra on a common grid (nm, any order) by wavelength."""
        if values.shape[1] != wavelengths.size:
            raise SpectralAxisError(f"{wavelengths.size} wavelengths for spectra of {values.shape[1]} points.")
        if wavelengths.size > 1 and (np.diff(wavelengths) < 0).any():
            order = np.argsort(wavelengths)
            return cls(values[:, order], wavelengths[order])
        return cls(values, wavelengths)

    @classmethod
    def pad(cls, blocks: Sequence[Spectra]) -> Spectra:
        """Stack blocks on different grids into one padded block with a grid per row."""
        length = max(block.wavelengths.size for block in blocks)
        rows = sum(len(block.values) for block in blocks)
        dtype = np.result_type(*(block.values.dtype for block in blocks))
        values = np.zeros((rows, length), dtype=dtype)
        wavelengths = np.empty((rows, length))
        valid = np.zeros((rows, length), dtype=bool)
        start = 0
        for block in blocks:
            stop, size = start + len(block.values), block.wavelengths.size
            values[start:stop, :size] = block.values
            wavelengths[start:stop, :size] = block.wavelengths
            wavelengths[start:stop, size:] = block.wavelengths[-1]
            valid[start:stop, :size] = True
            start = stop
        return cls(values, wavelengths, valid, join_metadata(blocks))

    def __len__(self) -> int:
        return len(self.values)

    def __post_init__(self) -> None:
        if self.values.ndim != 2:
            raise SpectralInputError(
                f"spectra must be a 2-D array (spectra x wavelengths), got shape {self.values.shape}."
            )
