"""Tables of spectra in CSV or Parquet files: axis in the header, one spectrum per row."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SpectralAxisError, SpectralInputError, needed_by
from .data import GROUPED, are_column_numbers, guess_axis_unit, is_upright_axis, parse_axis_labels, to_nanometres
from .instrument_files import has_instrument_suffix
from .lines import LONGEST_LINE, BoundedLines, warn_if_cut, without_blank_end
from .order import is_ordered
from .signal import check_values

if TYPE_CHECKING:
    import pandas as pd

#: Supported suffixes, longest first.
TABLE_SUFFIXES = (".csv.gz", ".csv", ".parquet")

#: Upper limits of the sample that determines the decimal sign: lines and characters.
_SAMPLED_LINES, _SAMPLED_CHARACTERS = 100, 1 << 20
#: "0,31": a decimal comma.
_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?\D*")

#: First bytes of files that are not text, with the remedy.
_GZIP = b"\x1f\x8b"
_OTHER_FORMATS = {
    b"PK\x03\x04": "a workbook (.xlsx, .ods) or an archive, not a table of text; save the sheet as CSV in UTF-8",
    b"\xd0\xcf\x11\xe0": "a workbook (.xls), not a table of text; save the sheet as CSV in UTF-8",
    b"PAR1": "a Parquet file; let its name end in .parquet",
    _GZIP: "gzipped; let its name end in .csv.gz",
}
#: Prefix of pandas' names for unnamed index columns.
_INDEX = "__index_level_"

#: Largest number of columns; no spectrometer has more channels.
MOST_WAVELENGTHS = 50_000

#: Values parsed at a time (16 MB as float64), which bounds the memory for files of any size.
_CHUNK_VALUES = 2_000_000


@dataclass(frozen=True)
class SpectralTable:
    """Opened table: its axis is read and checked, its values are read on demand.

    Attributes
    ----------
    path : Path
        The file.
    wavelengths : ndarray of shape (n_wavelengths,), float64
        Wavelengths in nm, ascending.
    order : ndarray of int, or None
        Indices that sort the spectral columns by wavelength; None if they are sorted.
    header : ndarray of shape (n_wavelengths,)
        Axis as written, in the order of the file.
    kept : ndarray of int, or None
        Indices of the spectral columns in the file; None for all columns.
    nameless : tuple of int
        Indices of empty columns without a name.
    n_columns : int
        Number of columns in the file.
    delimiter, decimal : str
        Of a CSV: ``,`` with decimal points, or ``;`` or a tab with decimal points or commas.
    refused : dict of int to str, or None
        Reasons for invalid spectra, by row; reading adds them, and the spectra become NaN. None:
        the first invalid spectrum raises an error.
    """

    path: Path
    wavelengths: NDArray[np.float64]
    order: NDArray[np.intp] | None
    header: NDArray[np.float64]
    kept: NDArray[np.intp] | None = None
    nameless: tuple[int, ...] = ()
    n_columns: int = 0
    delimiter: str = ","
    decimal: str = "."
    refused: dict[int, str] | None = None

    @property
    def n_spectra(self) -> int | None:
        """Number of rows of a Parquet file; None for a CSV file, whose rows are not counted."""
        return int(open_parquet(self.path).metadata.num_rows) if self.path.name.lower().endswith(".parquet") else None

    def chunks(self) -> Iterator[NDArray[np.float64]]:
        """Yield blocks of checked spectra, float64, by ascending wavelength; NaN for empty cells.

        Raises
        ------
        SpectralInputError
            A row is too short or too long, a value is not a number or no instrument gives it, more
            than half of a spectrum is missing, or there are no spectra. The message names the file,
            the line and, for invalid values, the wavelength.
        """
        done = 0
        frames = _frames(self)
        for frame in frames if self.path.name.lower().endswith(".parquet") else without_blank_end(frames):
            values = self._checked(frame, done)
            done += len(values)
            yield values if self.order is None else values[:, self.order]
        if not done:
            raise SpectralInputError(f"{self.path.name}: there is no spectrum below the header.")

    def read(self) -> NDArray[np.float64]:
        """Return all spectra, float64, by ascending wavelength."""
        return np.concatenate(list(self.chunks()))

    def _checked(self, frame: pd.DataFrame, done: int) -> NDArray[np.float64]:
        import pandas as pd

        if frame.shape[1] != self.n_columns:
            where = _place(self.path, done)
            raise SpectralInputError(f"{where}: {frame.shape[1]} values under {self.n_columns} columns.")
        if self.nameless:
            stray = frame.iloc[:, list(self.nameless)].notna().any(axis=1).to_numpy()
            if stray.any():
                where = _place(self.path, done + int(np.flatnonzero(stray)[0]))
                raise SpectralInputError(f"{where}: a value in a column without a name (a row that is shifted?).")
        if self.kept is not None:
            frame = frame.iloc[:, self.kept]
        numeric = [pd.api.types.is_numeric_dtype(d) and not pd.api.types.is_bool_dtype(d) for d in frame.dtypes]
        if not all(numeric):
            text = frame.iloc[:, numeric.index(False)]
            written = text.astype(str)
            bad = pd.to_numeric(written.str.replace(self.decimal, ".", regex=False), errors="coerce").isna()
            if self.decimal == ",":
                bad |= written.str.contains(".", regex=False)
            bad &= text.notna()
            row = int(np.flatnonzero(bad)[0]) if bad.any() else 0
            odd = {",": ".", ".": ","}[self.decimal] in str(text.iloc[row])
            hint = (
                f"; values must be numbers with a decimal {'comma' if self.decimal == ',' else 'point'}" if odd else ""
            )
            raise SpectralInputError(
                f"{_place(self.path, done + row)}: {str(text.iloc[row])[:40]!r} is not a number{hint}."
            )
        values = frame.to_numpy(dtype=np.float64)
        self._check_ragged(done + np.flatnonzero(np.isnan(values[:, -1])))
        for again in np.flatnonzero((values == self.header).all(axis=1)):
            raise SpectralInputError(
                f"{_place(self.path, done + int(again))}: the header again, not a spectrum (files joined into one?); "
                "remove such lines, so that spectra and targets match."
            )
        columns = self.wavelengths if self.order is None else self.wavelengths[np.argsort(self.order)]
        rows: list[int] = []
        while True:
            try:
                check_values(values, columns, done)
                break
            except SpectralInputError as error:
                place = self.path.name if error.row is None else _place(self.path, error.row)
                if error.row is None or self.refused is None:
                    raise SpectralInputError(f"{place}: {error}", error.row) from error
                self.refused[error.row] = f"{place}: {error}"
                rows.append(error.row - done)
                values = values.copy()
                values[rows[-1]] = np.arange(values.shape[1])  # any valid values
        if rows:
            values[rows] = np.nan
        return values

    def _check_ragged(self, rows: NDArray[np.intp]) -> None:
        """Refuse rows that end before the last column: the parser reads absent cells as empty."""
        if not len(rows) or self.path.name.lower().endswith(".parquet"):
            return
        for place, line in _lines(self.path, rows):
            n_values = len(_split(place, line, self.delimiter))
            if n_values != self.n_columns:
                raise SpectralInputError(
                    f"{place}: {n_values} values under {self.n_columns} columns (a cut or ragged row?)."
                )


def open_table(
    path: str | Path, axis_unit: str = "auto", drop: Sequence[str] | None = (), *, drop_missing: bool = False
) -> SpectralTable:
    """Open a table of spectra and read its axis.

    Parameters
    ----------
    path : path
        ``.csv``, ``.csv.gz`` (delimiter ``,``, ``;`` or a tab; UTF-8, BOM optional), ``.parquet``.
    axis_unit : {"auto", "nm", "cm-1", "um"}, default="auto"
        Unit of the header; ``"auto"`` uses the unit in the labels, or else the range.
    drop : sequence of str, or None
        Columns to ignore. With None, messages do not advise to use ``--drop``.
    drop_missing : bool
        Whether columns in `drop` may be missing.

    Returns
    -------
    SpectralTable

    Raises
    ------
    SpectralInputError
        The file is not a table, or its header does not consist of numbers.
    SpectralAxisError
        The header is not a wavelength axis.
    """
    path = Path(path)
    if has_instrument_suffix(path):
        raise SpectralInputError(f"{path.name} is an instrument file, and a table is needed here; export CSV or Excel.")
    delimiter, lines = ",", [""]
    is_parquet = path.name.lower().endswith(".parquet")
    if is_parquet:
        labels = [str(label) for label in open_parquet(path).schema_arrow.names]
    else:
        _refuse_other_formats(path)
        lines = _first_lines(path)
        header = lines[0]
        if not header.strip():
            raise SpectralInputError(f"{path.name} is empty, or its first line is; the header must hold the axis.")
        delimiter = next((d for d in ";\t" if d in header), ",")
        labels = [label.strip().strip('"') for label in _split(f"{path.name}, line 1", header, delimiter)]
    if len(labels) > MOST_WAVELENGTHS:
        raise SpectralInputError(
            f"{path.name}: {len(labels):,} columns; a table of spectra has {MOST_WAVELENGTHS:,} wavelengths at most. "
            "Each row must be a spectrum: transpose the table if spectra are columns."
        )
    ignored = drop or ()
    if drop_missing:
        ignored = [name for name in ignored if name in labels]
    cells = [
        _split(f"{path.name}, line {i}", line, delimiter) for i, line in enumerate(lines[1:], start=2) if line.strip()
    ]
    if cells and not is_parquet:
        if len(cells[0]) == len(labels) + 1 and not cells[0][-1].strip():
            labels.append("")  # each row ends with a delimiter, the header does not
        if len(cells[0]) != len(labels):
            raise SpectralInputError(f"{path.name}, line 2: {len(cells[0])} values under {len(labels)} columns.")
    nameless = _nameless(labels, cells, ignored)
    n_columns, columns = len(labels), _columns(path, labels, ignored, nameless)
    if columns is not None:
        labels = [labels[i] for i in columns]
        cells = [[row[i] for i in columns if i < len(row)] for row in cells]
    decimal = "." if delimiter == "," else _decimal(path, labels, cells)
    parsed = parse_axis_labels(labels)
    if parsed is None or are_column_numbers(parsed[0]):
        _refuse_transposed(path, labels, cells)
    if parsed is None:
        odd = next((label for label in labels if parse_axis_labels([label]) is None), labels[0])
        where = path.name if is_parquet else f"{path.name}, line 1"
        remedy = "Take columns of ids or targets out of the file"
        if drop is not None:
            remedy = f"Name columns of ids or targets to ignore: --drop {odd[:40]!r}"
        between = "" if is_parquet else ", with ',', ';' or a tab between columns"
        raise SpectralInputError(
            f"{where}: column {odd[:40]!r} is not a wavelength; the header must hold the axis and nothing else"
            f"{between}. {remedy}."
        )
    axis, label_unit = parsed
    if axis_unit != "auto" and label_unit not in ("auto", axis_unit):
        raise SpectralAxisError(f"{path.name}: the axis unit is set to {axis_unit}, but the header is in {label_unit}.")
    if axis_unit == label_unit == "auto" and guess_axis_unit(axis) == "um":
        # Without a header, a first spectrum that only rises could pass for an axis.
        raise SpectralAxisError(
            f"{path.name}: the header is not a wavelength axis in nm or cm-1 (no header at all?); "
            "if it is in micrometres, set axis_unit um, or write 1.1um, 1.2um, ... into the header."
        )
    try:
        wavelengths = to_nanometres(axis, label_unit if axis_unit == "auto" else axis_unit)
    except SpectralAxisError as error:
        raise SpectralAxisError(f"{path.name}: the header is not a wavelength axis: {error}") from error
    if not is_ordered(wavelengths):
        raise SpectralAxisError(
            f"{path.name}: the header is not a wavelength axis: it neither ascends nor descends (no header at all?)."
        )
    warn_if_cut(path)
    order = np.argsort(wavelengths) if (np.diff(wavelengths) < 0).any() else None
    return SpectralTable(
        path,
        wavelengths if order is None else wavelengths[order],
        order,
        axis,
        columns,
        nameless,
        n_columns,
        delimiter,
        decimal,
    )


def _refuse_other_formats(path: Path) -> None:
    """Refuse workbooks and other formats by their first bytes, whatever the name."""
    with open(path, "rb") as file:
        start = file.read(8)
    for magic, remedy in _OTHER_FORMATS.items():
        if start.startswith(magic) and not (magic == _GZIP and path.name.lower().endswith(".gz")):
            raise SpectralInputError(f"{path.name} is {remedy}.")


def _refuse_transposed(path: Path, labels: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Refuse a table with spectra in columns."""
    columns = {labels[0]: [row[0].strip() for row in cells if row]}
    if path.name.lower().endswith(".parquet"):
        # The index of a data frame is the last column.
        names = open_parquet(path).schema_arrow.names
        frame = next(_batches(path, _SAMPLED_LINES, list({names[0], names[-1]})), None)
        columns = {} if frame is None else {str(name): column.tolist() for name, column in frame.items()}
    for name, values in columns.items():
        if is_upright_axis(name, values, [label for label in labels if label != name]):
            where = "the index" if name.startswith(_INDEX) else f"column {name[:40]!r}"
            raise SpectralInputError(
                f"{path.name}: wavelengths run down {where}, and spectra are columns; transpose the table: a row per "
                "spectrum, the wavelengths in the header."
            )


def _nameless(labels: Sequence[str], cells: Sequence[Sequence[str]], drop: Sequence[str]) -> tuple[int, ...]:
    """Return the columns without name or value, which superfluous delimiters create."""
    if "" in drop:
        return ()
    return tuple(
        i for i, label in enumerate(labels) if not label and not any(row[i].strip() for row in cells if i < len(row))
    )


def _decimal(path: Path, labels: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """Return the decimal sign of a table with semicolons or tabs; refuse thousands separators.

    Spreadsheets of many locales write "1100,5;1102,5" or "0,31;0,32". "987" and "1,024" in one row
    are counts with a thousands separator, because numbers with three decimals would all have them.
    """
    for mark in ",.":
        marked = [cell.strip() for row in cells for cell in row if mark in cell]
        if not marked or not all(GROUPED.fullmatch(cell) for cell in marked):
            continue
        for row in cells:
            plain = next((cell.strip() for cell in row if cell.strip().isdigit() and len(cell.strip()) < 4), None)
            grouped = next((cell.strip() for cell in row if mark in cell), None)
            if plain is not None and grouped is not None:
                raise SpectralInputError(
                    f"{path.name}: {grouped!r} beside {plain!r} looks like a thousands separator; remove it."
                )
    return "," if any(_COMMA.fullmatch(cell.strip()) for row in (labels, *cells) for cell in row) else "."


def _split(where: str, line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error as error:
        raise SpectralInputError(f"{where}: a value longer than any number.") from error


def _columns(
    path: Path, labels: Sequence[str], drop: Sequence[str], nameless: Sequence[int]
) -> NDArray[np.intp] | None:
    missing = [name for name in drop if name not in labels]
    if missing:
        raise SpectralInputError(f"{path.name} has no column {missing[0][:40]!r} to drop.")
    columns = [
        i for i, label in enumerate(labels) if label not in drop and not label.startswith(_INDEX) and i not in nameless
    ]
    if not columns:
        raise SpectralInputError(f"{path.name}: all columns are dropped; the header must hold the axis.")
    return None if len(columns) == len(labels) else np.asarray(columns, dtype=np.intp)


def _frames(table: SpectralTable) -> Iterator[pd.DataFrame]:
    import pandas as pd

    rows = max(1, _CHUNK_VALUES // table.n_columns)
    # A chunk of lines is held in memory; no number has this many characters.
    longest = min(LONGEST_LINE, 4096 + 64 * table.n_columns)
    name = table.path.name
    if name.lower().endswith(".parquet"):
        yield from _batches(table.path, rows)
        _release()
        return
    try:
        with (
            io.BufferedReader(BoundedLines(table.path, longest)) as file,
            pd.read_csv(
                file,
                sep=table.delimiter,
                decimal=table.decimal,
                skiprows=1,
                header=None,
                encoding="utf-8-sig",
                chunksize=rows,
                low_memory=False,
            ) as reader,
        ):
            yield from reader
    except pd.errors.EmptyDataError:
        return
    except UnicodeDecodeError as error:
        raise SpectralInputError(f"{name} is not UTF-8 text; save it as CSV in UTF-8.") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SpectralInputError(
            f"{name} is cut or not a gzip file: {str(error).rstrip('.')}; fetch it again."
        ) from error
    except pd.errors.ParserError as error:
        reason = " ".join(str(error).split()).removeprefix("Error tokenizing data. C error: ").rstrip(".")
        raise SpectralInputError(f"{name}: {reason}.") from error


def _batches(path: Path, rows: int, columns: list[str] | None = None) -> Iterator[pd.DataFrame]:
    """Yield blocks of rows of a Parquet file."""
    import pyarrow as pa

    try:
        for batch in open_parquet(path).iter_batches(batch_size=rows, columns=columns):
            # pandas' metadata are not needed for numbers, and may be damaged.
            yield _numeric(batch.to_pandas(ignore_metadata=True))
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise SpectralInputError(f"{path.name} is damaged: {reason}; fetch it again.") from error


def _numeric(frame: pd.DataFrame) -> pd.DataFrame:
    """Convert columns of decimals, and columns without any value, to float64."""
    import pandas as pd

    for i, dtype in enumerate(frame.dtypes):
        column = frame.iloc[:, i]
        if pd.api.types.is_numeric_dtype(dtype) or not all(isinstance(value, Decimal) for value in column.dropna()):
            continue
        frame.isetitem(i, pd.to_numeric(column, errors="coerce").to_numpy(np.float64))
    return frame


def _first_lines(path: Path) -> list[str]:
    """Return the header and the lines of the sample below it."""
    try:
        with io.TextIOWrapper(io.BufferedReader(BoundedLines(path)), encoding="utf-8-sig") as file:
            lines = [file.readline().rstrip("\r\n")]
            while len(lines) <= _SAMPLED_LINES and sum(map(len, lines)) < _SAMPLED_CHARACTERS:
                line = file.readline()
                if not line:
                    break
                lines.append(line.rstrip("\r\n"))
            return lines
    except UnicodeDecodeError as error:
        raise SpectralInputError(f"{path.name} is not UTF-8 text; save it as CSV in UTF-8.") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SpectralInputError(
            f"{path.name} is cut or not a gzip file: {str(error).rstrip('.')}; fetch it again."
        ) from error


def open_parquet(path: Path) -> Any:
    """Open a Parquet file; a `SpectralInputError` is raised if it is damaged or not Parquet."""
    with needed_by(f"reading {path.name}", "pyarrow"):
        import pyarrow as pa
        import pyarrow.parquet as pq

    try:
        # Unbuffered: a file with a single row group would be held in memory as a whole.
        return pq.ParquetFile(path, memory_map=True, pre_buffer=False)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise SpectralInputError(f"{path.name} is cut or not a Parquet file: {reason}; fetch it again.") from error


def _release() -> None:
    """Release the memory that pyarrow reserves for its next file."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()


def _place(path: Path, row: int) -> str:
    """Return file name and line of a spectrum."""
    if path.name.lower().endswith(".parquet"):
        return f"{path.name}, row {row + 1}"
    return next((place for place, _ in _lines(path, np.array([row]))), f"{path.name}, line {row + 2}")


def _lines(path: Path, rows: NDArray[np.intp]) -> Iterator[tuple[str, str]]:
    """Yield place and text of lines of spectra; line numbers count blank lines."""
    opener: Any = gzip.open if path.name.lower().endswith(".gz") else open
    wanted, last = set(rows.tolist()), int(rows[-1])
    with opener(path, "rt", encoding="utf-8-sig", errors="replace") as file:
        file.readline()
        spectrum = -1
        for number, line in enumerate(file, start=2):
            if not line.strip():
                continue
            spectrum += 1
            if spectrum in wanted:
                yield f"{path.name}, line {number}", line.rstrip("\r\n")
            if spectrum == last:
                return
