"""Excel workbooks of spectra: the first sheet, checked as a CSV is."""

from __future__ import annotations

import re
import tempfile
import weakref
import zipfile
from collections.abc import Sequence
from pathlib import Path

from ..errors import SpectralInputError, needed_by
from .tables import SpectralTable, open_table

#: Suffixes that are read; older ones, which a spreadsheet program saves as ``.xlsx``.
EXCEL_SUFFIXES, OLD_SUFFIXES = (".xlsx", ".xlsm"), (".xls", ".xlsb", ".ods")
#: Bytes of an unpacked workbook at most.
_LARGEST = 1 << 29


def open_excel(
    path: Path, axis_unit: str = "auto", drop: Sequence[str] = (), *, drop_missing: bool = False
) -> SpectralTable:
    """Open the first sheet of a workbook as a table: header = axis, a row per spectrum.

    Parameters
    ----------
    path : Path
        ``.xlsx`` or ``.xlsm``.
    axis_unit, drop, drop_missing
        As for `open_table`.

    Returns
    -------
    SpectralTable
        Of a temporary file of the same name, which goes with it.

    Raises
    ------
    SpectralInputError, SpectralAxisError
        Not a workbook, an empty sheet, or whatever `open_table` refuses; lines are rows of the
        sheet.
    MissingPackageError
        openpyxl is not installed.
    """
    copy, folder = sheet_as_csv(path)
    table = open_table(copy, axis_unit, drop, drop_missing=drop_missing)
    weakref.finalize(table, folder.cleanup)
    return table


def sheet_as_csv(path: Path) -> tuple[Path, tempfile.TemporaryDirectory[str]]:
    """Write the first sheet of a workbook as CSV under the same name; returns the file and the temporary folder that holds it.

    Errors as of `open_excel`.
    """
    if path.suffix.lower() in OLD_SUFFIXES:
        raise SpectralInputError(f"{path.name}: {path.suffix} is not read; save the sheet as .xlsx or CSV.")
    with needed_by(f"reading {path.name}", "nirs4all-vit[excel]"):
        import openpyxl  # noqa: F401
    import pandas as pd

    with open(path, "rb"):  # a file that is missing or locked says so itself
        pass
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(part.file_size for part in archive.infolist())
        if size > _LARGEST:
            raise SpectralInputError(f"{path.name}: {size:,} bytes unpacked; save a sheet of this size as CSV.")
        sheet = pd.read_excel(path, header=None, dtype=object, engine="openpyxl")
    except SpectralInputError:
        raise
    except Exception as error:  # a damaged workbook fails in as many ways as XML and ZIP can
        raise SpectralInputError(f"{path.name} is damaged or not a workbook; save it again as .xlsx or CSV.") from error
    if sheet.empty:
        raise SpectralInputError(f"{path.name}: the first sheet is empty; its first row must hold the header.")
    folder = tempfile.TemporaryDirectory(prefix="nirs4all_vit-excel-")
    # Under the same name, so that messages name the workbook.
    copy = Path(folder.name) / path.name
    text = sheet.to_csv(index=False, header=False, lineterminator="\n")
    # Blank rows are blank lines, which are passed over; the others keep their numbers.
    copy.write_text(re.sub(r"^,+$", "", text, flags=re.MULTILINE), "utf-8")
    return copy, folder
