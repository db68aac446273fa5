"""Opened files of spectra: the axis is read, the values are read on demand."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import SpectralAxisError, SpectralInputError
from .data import GROUPED, parse_axis_labels, refuse_thousands, to_nanometres
from .excel import EXCEL_SUFFIXES, OLD_SUFFIXES, open_excel
from .instruments import InstrumentSpectra, is_instrument_path, read_instruments
from .order import is_ordered
from .signal import check_values
from .tables import TABLE_SUFFIXES, SpectralTable, open_table

#: Supported suffixes.
SOURCE_SUFFIXES = (*TABLE_SUFFIXES, ".npy")

#: "1,100.5" and "1.100,5": numbers with a thousands separator and a decimal sign.
_BOTH_MARKS = re.compile(r"\d{1,3}(?:,\d{3})+\.\d+|\d{1,3}(?:\.\d{3})+,\d+")

# Values read at a time (16 MB), and size limit of a file of wavelengths in characters.
_CHUNK_VALUES, _LONGEST_AXIS = 2_000_000, 10_000_000


@dataclass(frozen=True)
class SpectralArray:
    """Spectra of a ``.npy`` file, with an axis from another file, or of instrument files.

    `wavelengths` (n_wavelengths,) are in nm, in the order of the columns. `values` (n_spectra,
    n_wavelengths) of a ``.npy`` file are mapped from disk.
    """

    path: Path
    wavelengths: NDArray[np.float64]
    values: NDArray[np.generic]

    @property
    def n_spectra(self) -> int:
        """Number of spectra."""
        return len(self.values)

    def chunks(self) -> Iterator[NDArray[np.float64]]:
        """Yield blocks of checked spectra, float64; NaN marks a missing point."""
        rows = max(1, _CHUNK_VALUES // self.wavelengths.size)
        for start in range(0, len(self.values), rows):
            values = np.asarray(self.values[start : start + rows], dtype=np.float64)
            try:
                check_values(values, self.wavelengths, start)
            except SpectralInputError as error:
                raise SpectralInputError(f"{self.path.name}: {error}") from error
            yield values

    def read(self) -> NDArray[np.float64]:
        """Return all spectra, float64."""
        return np.concatenate(list(self.chunks()))


def open_source(
    path: Path,
    axis_unit: str = "auto",
    wavelengths: Path | None = None,
    drop: Sequence[str] = (),
    *,
    drop_missing: bool = False,
) -> SpectralTable | SpectralArray:
    """Open a file of spectra.

    Parameters
    ----------
    path : Path
        Table (see `open_table`) or first sheet of an Excel workbook; ``.npy`` file with a 2-D array
        of numbers, one spectrum per row; instrument file, or a folder of instrument files
        (`read_instruments`), with all spectra on one axis.
    axis_unit : {"auto", "nm", "cm-1", "um"}
        Unit of the axis.
    wavelengths : Path, optional
        Axis of a ``.npy`` file: another ``.npy`` file, or text with numbers separated by commas,
        semicolons, blanks or line breaks. Commas are decimal signs if this gives one number per
        point of the spectra and reading them as separators does not.
    drop : sequence of str
        Columns of a table to ignore, which are not wavelengths.
    drop_missing : bool
        Whether columns in `drop` may be missing.

    Raises
    ------
    SpectralInputError
        The file does not hold spectra.
    SpectralAxisError
        The axis is missing, invalid or of another length than the spectra.
    """
    if is_instrument_path(path):
        spectra = open_instruments(path, axis_unit, () if drop_missing else drop)
        if not spectra.has_one_axis():
            raise SpectralAxisError(
                f"{path.name}: the spectra are on {len({id(axis) for axis in spectra.wavelengths})} different axes, "
                "and one is needed here; read the files of each axis from a folder of their own."
            )
        return SpectralArray(path, spectra.wavelengths[0], np.stack(spectra.values))
    if not path.name.lower().endswith(".npy"):
        is_workbook = path.suffix.lower() in EXCEL_SUFFIXES + OLD_SUFFIXES
        return (open_excel if is_workbook else open_table)(path, axis_unit, drop, drop_missing=drop_missing)
    values = _mapped(path)
    if values.ndim != 2 or not values.size:
        raise SpectralInputError(f"{path.name}: shape {values.shape}; it must be (spectra, wavelengths).")
    if wavelengths is None:
        raise SpectralAxisError(f"{path.name} holds no axis; give a file that does: --wavelengths FILE.")
    axis = _read_axis(wavelengths, axis_unit, values.shape[1])
    if axis.size != values.shape[1]:
        raise SpectralAxisError(f"{path.name}: {values.shape[1]} columns, but {wavelengths.name} has {axis.size}.")
    return SpectralArray(path, axis, values)


def open_instruments(path: Path, axis_unit: str = "auto", drop: Sequence[str] = ()) -> InstrumentSpectra:
    """Read instrument files, with a warning for each note about them.

    Parameters
    ----------
    path : Path
        Instrument file, or a folder of them.
    axis_unit : {"auto", "nm", "cm-1", "um"}
        Unit that the files must have; ``"auto"`` accepts any.
    drop : sequence of str
        Must be empty, because instrument files have no columns.

    Raises
    ------
    SpectralInputError, SpectralAxisError
        As in `read_instruments`; also if `drop` or `axis_unit` does not fit the files.
    """
    spectra = read_instruments(path)
    if drop:
        raise SpectralInputError(
            f"{path.name} has no columns to drop: {', '.join(drop)}; instrument files hold spectra alone."
        )
    if axis_unit not in ("auto", spectra.axis_unit):
        raise SpectralAxisError(
            f"{path.name}: the axis unit is set to {axis_unit}, but the files are in {spectra.axis_unit}."
        )
    for note in spectra.notes:
        warnings.warn(note, stacklevel=3)
    return spectra


def _mapped(path: Path) -> NDArray[np.generic]:
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise SpectralInputError(f"{path.name} is cut or not a .npy file of numbers.") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        raise SpectralInputError(f"{path.name} is not an array of numbers.")
    return values


def _read_axis(path: Path, axis_unit: str, n_points: int) -> NDArray[np.float64]:
    unit, words = axis_unit, []
    if path.name.lower().endswith(".npy"):
        axis = np.asarray(_mapped(path), dtype=np.float64).ravel()
    else:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            text = file.read(_LONGEST_AXIS)
        try:
            words = _numbers(text, n_points)
        except SpectralAxisError as error:
            raise SpectralAxisError(f"{path.name}: {error}") from error
        parsed = parse_axis_labels(words)
        if parsed is None:
            raise SpectralAxisError(f"{path.name} does not hold wavelengths; it must hold numbers and nothing else.")
        axis, written = parsed
        unit = written if axis_unit == "auto" else axis_unit
    try:
        if words:
            refuse_thousands(words, axis, unit)
        nanometres = to_nanometres(axis, unit)
    except SpectralAxisError as error:
        raise SpectralAxisError(f"{path.name}: {error}") from error
    if not is_ordered(nanometres):
        raise SpectralAxisError(f"{path.name} neither ascends nor descends.")
    return nanometres


def _numbers(text: str, n_points: int) -> list[str]:
    """Return the numbers of a text, with commas as separators or as decimal signs.

    Commas are decimal signs if only this gives one number per point of the spectra. Possible
    thousands separators raise a `SpectralAxisError`.
    """
    words = [word.strip(",") for word in re.split(r"[;\s]+", text) if word.strip(",")]
    listed = [number for word in words for number in word.split(",") if number]
    if len(listed) == n_points:
        words = listed
    marked = next((word for word in words if _BOTH_MARKS.fullmatch(word)), None)
    if marked is not None:
        raise SpectralAxisError(f"{marked!r} has a thousands separator; remove such separators.")
    plain = next((word for word in words if word.isdigit() and len(word) < 4), None)
    grouped = next((word for word in words if GROUPED.fullmatch(word)), None)
    if plain is not None and grouped is not None:
        raise SpectralAxisError(
            f"{grouped!r} beside {plain!r} looks like a thousands separator; remove such separators."
        )
    if len(words) != n_points or any(word.count(",") > 1 for word in words):
        return listed
    return [word.replace(",", ".") for word in words]
