"""Excel workbooks of spectra: the first sheet, with the checks of a CSV file."""

from __future__ import annotations

import re
import tempfile
import weakref
import zipfile
from collections.abc import Sequence
from pathlib import Path

from ..errors import SpectralInputError, needed_by
from .tables import SpectralTable, open_table

#: Supported suffixes; unsupported suffixes of spreadsheets.
EXCEL_SUFFIXES, OLD_SUFFIXES = (".xlsx", ".xlsm"), (".xls", ".xlsb", ".ods")
#: Size limit of an unpacked workbook, in bytes.
_LARGEST = 1 << 29


def open_excel(
    path: Path, axis_unit: str = "auto", drop: Sequence[str] = (), *, drop_missing: bool = False
) -> SpectralTable:
    """Open the first sheet of a workbook as a table: axis in the header, one spectrum per row.

    Parameters
    ----------
    path : Path
        ``.xlsx`` or ``.xlsm``.
    axis_unit, drop, drop_missing
        As for `open_table`.

    Returns
    -------
    SpectralTable
        Table in a temporary CSV file of the same name, which is deleted together with the object.

    Raises
    ------
    SpectralInputError, SpectralAxisError
        The file is not a workbook, the sheet is empty, or `open_table` refuses it. Lines in
        messages are rows of the sheet.
    MissingPackageError
        openpyxl is not installed.
    """
    copy, folder = sheet_as_csv(path)
    table = open_table(copy, axis_unit, drop, drop_missing=drop_missing)
    weakref.finalize(table, folder.cleanup)
    return table


def sheet_as_csv(path: Path) -> tuple[Path, tempfile.TemporaryDirectory[str]]:
    """Write the first sheet of a workbook as CSV of the same name; return file and folder.

    The folder is temporary. Errors are those of `open_excel`.
    """
    if path.suffix.lower() in OLD_SUFFIXES:
        raise SpectralInputError(f"{path.name}: {path.suffix} is not read; save the sheet as .xlsx or CSV.")
    with needed_by(f"reading {path.name}", "nirs4all-vit[excel]"):
        import openpyxl  # noqa: F401
    import pandas as pd

    with open(path, "rb"):  # raise OSError if the file is missing or locked
        pass
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(part.file_size for part in archive.infolist())
        if size > _LARGEST:
            raise SpectralInputError(f"{path.name}: {size:,} bytes unpacked; save a sheet of this size as CSV.")
        sheet = pd.read_excel(path, header=None, dtype=object, engine="openpyxl")
    except SpectralInputError:
        raise
    except Exception as error:  # a damaged workbook raises any exception of XML or ZIP readers
        raise SpectralInputError(f"{path.name} is damaged or not a workbook; save it again as .xlsx or CSV.") from error
    if sheet.empty:
        raise SpectralInputError(f"{path.name}: the first sheet is empty; its first row must hold the header.")
    folder = tempfile.TemporaryDirectory(prefix="nirs4all_vit-excel-")
    # The same name, so that messages name the workbook.
    copy = Path(folder.name) / path.name
    text = sheet.to_csv(index=False, header=False, lineterminator="\n")
    # Blank rows become blank lines, so that line numbers equal row numbers.
    copy.write_text(re.sub(r"^,+$", "", text, flags=re.MULTILINE), "utf-8")
    return copy, folder
