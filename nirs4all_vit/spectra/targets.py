"""Tables of reference values in CSV files: one column per target, one row per spectrum."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SpectralInputError

if TYPE_CHECKING:
    import pandas as pd

#: A number with thousands separators and decimals: "22,500.0" or "22.500,0".
_MARKED = r"[+-]?\d{1,3}(?:(?:,\d{3})+\.\d+|(?:\.\d{3})+,\d+)"


def read_target_table(path: str | Path, ids: Sequence[str] = ()) -> pd.DataFrame:
    """Read a CSV file of reference values, classes and other columns.

    Parameters
    ----------
    path : path
        UTF-8 with a header; delimiter ``,`` with decimal points, or ``;`` or a tab with decimal
        points or commas.
    ids : sequence of str
        Columns that are not targets. They stay as pandas reads them, like columns named
        ``meta_...``.

    Returns
    -------
    DataFrame
        Column names are strings. Targets without any value are left out. Targets that only number
        the rows are left out with a warning.

    Raises
    ------
    SpectralInputError
        The file is empty or not UTF-8, a row has another length than the header, or a number is
        written as text. The message names the file.
    """
    import pandas as pd

    path = Path(path)
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpectralInputError(f"{path.name} is not UTF-8 text; save it as CSV in UTF-8.") from error
    if not text.strip():
        raise SpectralInputError(f"{path.name} is empty; its first line must name the targets.")
    separator = max(",;\t", key=text.lstrip().partition("\n")[0].count)
    _check_rows(path, text, separator)
    with warnings.catch_warnings():
        # With a delimiter at the end of each row, pandas would use the first column as the index.
        warnings.simplefilter("ignore", pd.errors.ParserWarning)
        try:
            table = pd.read_csv(io.StringIO(text), sep=separator, index_col=False)
        except pd.errors.ParserError as error:
            reason = " ".join(str(error).split()).removeprefix("Error tokenizing data. C error: ").rstrip(".")
            raise SpectralInputError(f"{path.name}: {reason}; end all rows alike.") from error
    # pandas names unnamed columns "Unnamed: 0", ...
    table = table.set_axis(["" if str(name).startswith("Unnamed: ") else str(name).strip() for name in table], axis=1)

    def is_target(name: str) -> bool:
        return name not in ids and not name.startswith("meta_")

    filled = [not (is_target(str(name)) and empty) for name, empty in table.isna().all().items()]
    table = table.loc[:, filled]
    targets = [name for name in map(str, table) if is_target(name)]
    if targets.count("") > 1:
        raise SpectralInputError(f"{path.name}: {targets.count('')} columns of values have no name; name them.")
    counting = [name for name in targets if _counts_rows(table[name])]
    if counting:
        warnings.warn(
            f"{path.name}: {', '.join(map(repr, counting))} only numbers the rows, and is left out.", stacklevel=2
        )
    read = {name: as_numbers(table[name], path.name, separator) for name in targets if name not in counting}
    return table.drop(columns=counting).assign(**read)


def _check_rows(path: Path, text: str, separator: str) -> None:
    """Refuse rows of another length than the header, and repeated column names."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        header: list[str] = []
        for row in reader:
            if len(row) < 2 and not "".join(row).strip():
                continue  # a blank line
            header = header or row
            if len(row) != len(header) and not (len(row) == len(header) + 1 and not row[-1].strip()):
                raise SpectralInputError(
                    f"{path.name}, line {reader.line_num}: {len(row)} values under {len(header)} columns."
                )
    except csv.Error as error:
        raise SpectralInputError(f"{path.name}, line {reader.line_num}: {error}.") from error
    named = [name.strip() for name in header if name.strip()]
    repeated = next((name for i, name in enumerate(named) if name in named[:i]), None)
    if repeated is not None:
        raise SpectralInputError(f"{path.name}: two columns are named {repeated!r}; rename one.")


def _counts_rows(column: pd.Series) -> bool:
    """Return whether a column is 0, 1, 2, ... or 1, 2, 3, ...: an index, not a target."""
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(column) or len(column) < 3 or column.isna().any():
        return False
    values = column.to_numpy(dtype=np.float64)
    return bool(values[0] in (0.0, 1.0) and (np.diff(values) == 1.0).all())


def as_numbers(column: pd.Series, where: str, separator: str) -> pd.Series:
    """Convert a column of text with decimal commas, so that it is not read as classes.

    A column without numbers is returned unchanged. Raises SpectralInputError for stray text among
    numbers, and for decimal commas where commas separate the columns; `where` names the table.
    """
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        return column
    written = column.dropna().astype(str)
    marked = written[written.str.strip().str.fullmatch(_MARKED)]
    if len(marked) > len(written) / 2:
        raise SpectralInputError(
            f"{where}, column {column.name!r}: {marked.iloc[0]!r} has thousands separators; remove such separators."
        )
    numbers = pd.to_numeric(written.str.replace(",", ".", regex=False), errors="coerce")
    if written.empty or numbers.isna().any():
        stray = written[numbers.isna()]
        # A single "<0.5" or "n.d." would turn the whole column into classes.
        if len(stray) < len(written) / 2:
            raise SpectralInputError(
                f"{where}, column {column.name!r}: {stray.iloc[0]!r} is not a number; leave the cell empty, or name "
                "the column meta_... if it is not a target."
            )
        return column
    if separator == ",":
        raise SpectralInputError(
            f"{where}, column {column.name!r}: {written.iloc[0]!r} is text; write numbers with a decimal point, or the "
            "table with semicolons."
        )
    return numbers.reindex(column.index)
