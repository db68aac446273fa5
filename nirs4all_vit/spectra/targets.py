"""Tables of reference values on disk: a column per target, a row per spectrum."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SpectralInputError, needed_by

if TYPE_CHECKING:
    import pandas as pd


def read_target_table(path: str | Path) -> pd.DataFrame:
    """Read reference values beside spectra: numbers, classes, ids.

    Parameters
    ----------
    path : path
        ``.csv`` (UTF-8; delimiter ``,`` with decimal points, or ``;`` or a tab with points or commas) or ``.parquet``, with a header.

    Returns
    -------
    DataFrame
        Columns as strings. Columns without any value are left out, and so are those that only number the rows: a warning
        names them.

    Raises
    ------
    SpectralInputError
        A file that is empty or not UTF-8, a row of another length than the header, numbers written as text; the message
        names file and line.
    """
    import pandas as pd

    path = Path(path)
    if path.name.lower().endswith(".parquet"):
        with needed_by(f"reading {path.name}", "pyarrow"):
            import pyarrow  # noqa: F401
        table, separator = pd.read_parquet(path), ";"
    else:
        table, separator = _read_text(path)
    table = table.rename(columns=lambda name: str(name).strip())
    table = table.dropna(axis="columns", how="all")
    counting = [name for name in table if _counts_rows(table[name])]
    if counting:
        warnings.warn(
            f"{path.name}: {', '.join(map(repr, counting))} only numbers the rows, and is left out.", stacklevel=2
        )
    return table.drop(columns=counting).apply(_numbers, where=path.name, separator=separator)


def _read_text(path: Path) -> tuple[pd.DataFrame, str]:
    import pandas as pd

    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpectralInputError(f"{path.name} is not UTF-8 text; save it as CSV in UTF-8.") from error
    lines = [(i, line) for i, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not lines:
        raise SpectralInputError(f"{path.name} is empty; its first line must name the targets.")
    separator = max(",;\t", key=lines[0][1].count)
    rows = list(zip((i for i, _ in lines), csv.reader([line for _, line in lines], delimiter=separator), strict=False))
    header = rows[0][1]
    width = len(header)
    for number, row in rows[1:]:
        # A delimiter at the end of each row makes a cell more, which would shift all names by one.
        if len(row) != width and not (len(row) == width + 1 and not row[-1].strip()):
            raise SpectralInputError(f"{path.name}, line {number}: {len(row)} values under {width} columns.")
    repeated = next((name for i, name in enumerate(header) if name.strip() and name in header[:i]), None)
    if repeated is not None:
        raise SpectralInputError(f"{path.name}: two columns are named {repeated!r}; rename one.")
    table = pd.DataFrame([row[:width] for _, row in rows[1:]], columns=header)
    return table.apply(
        lambda column: pd.Series(_parsed(column.str.strip().replace("", None)), index=column.index)
    ), separator


def _parsed(column: pd.Series) -> pd.Series:
    """Return a column of text as numbers, where all of it is."""
    import pandas as pd

    column = column.where(~column.isin(["NA", "NaN", "nan", "N/A", "null", "None"]), None)
    numbers = pd.to_numeric(column, errors="coerce")
    return numbers if (numbers.notna() == column.notna()).all() else column


def _counts_rows(column: pd.Series) -> bool:
    """Tell whether a column is 0, 1, 2, ... or 1, 2, 3, ...: an index that came along, no target."""
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(column) or len(column) < 3 or column.isna().any():
        return False
    values = column.to_numpy(dtype=np.float64)
    return bool(values[0] in (0.0, 1.0) and (np.diff(values) == 1.0).all())


def _numbers(column: pd.Series, where: str, separator: str) -> pd.Series:
    """Read decimal commas: numbers of half of the world must not pass for names of classes."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        return column
    written = column.dropna().astype(str)
    numbers = pd.to_numeric(written.str.replace(",", ".", regex=False), errors="coerce")
    if written.empty or numbers.isna().any():
        stray = written[numbers.isna()]
        # One "<0.5" or "n.d." would make classes of all the numbers around it.
        if len(stray) < len(written) / 2:
            raise SpectralInputError(
                f"{where}, column {column.name!r}: {stray.iloc[0]!r} is not a number; leave it empty, or name a column of ids meta_... ."
            )
        return column
    if separator == ",":
        raise SpectralInputError(
            f"{where}, column {column.name!r}: {written.iloc[0]!r} is text; write numbers with a decimal point, or the table with semicolons."
        )
    return numbers.reindex(column.index)
