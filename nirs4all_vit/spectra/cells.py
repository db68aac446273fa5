"""Tables as text: cells as written, columns of wavelengths, column of ids."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import SpectralInputError
from .data import parse_axis_labels
from .lines import BoundedLines
from .tables import open_parquet

#: Names of columns of ids, the most reliable first.
ID_NAMES = (
    *("id", "sample_id", "sampleid", "sample", "sample_name", "name", "spectrum", "filename", "file", "label", "code"),
)
#: Names that columns of classes have as well.
_AMBIGUOUS = ("label", "code")
#: Rows needed to distinguish ids from classes in a table of reference values.
_FEWEST_IDS = 5

#: Upper limits of the sample: rows and characters.
_SAMPLED_ROWS, _SAMPLED_CHARACTERS = 100, 1 << 20

#: Cells that pandas reads as missing.
MISSING = frozenset(
    ("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA")
) | frozenset(("NULL", "NaN", "None", "n/a", "nan", "null"))

#: Text around a number, the same in all names of an axis.
_FRAMED = re.compile(r"^(\D*?)\d+(?:\.\d+)?(\D*)$")

#: Candidate delimiters.
_DELIMITERS = ",;\t"

#: Exceptions of a truncated or damaged file.
DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error, csv.Error)


@dataclass
class CellTable:
    """Table whose cells are text.

    Attributes
    ----------
    path : Path
    delimiter : str
    labels : list of str
        Header.
    header_line : int
        Line of the header; 0 in a Parquet file.
    sample : list of (int, list of str)
        Line numbers and cells of the first rows.
    """

    path: Path
    delimiter: str = ","
    labels: list[str] = field(default_factory=list)
    header_line: int = 1
    sample: list[tuple[int, list[str]]] = field(default_factory=list)

    @classmethod
    def open(cls, path: str | Path, *, targets: bool = False) -> CellTable:
        """Read the header and the first rows of a ``.csv``, ``.csv.gz`` or ``.parquet``.

        Set `targets` for a table of reference values: its delimiter is the most frequent candidate
        in the header. For spectra it is the first of semicolon and tab in the header, else a comma.
        Invalid UTF-8 becomes the replacement character. A damaged or empty file, or one in UTF-16,
        raises a `SpectralInputError`.
        """
        table = cls(Path(path))
        if table.is_parquet:
            table.header_line, table.labels = 0, [str(name) for name in open_parquet(table.path).schema_arrow.names]
        else:
            table.delimiter, table.labels, table.header_line = _header(table.path, targets)
        size = 0
        for line, cells in islice(table.rows(), _SAMPLED_ROWS):
            table.sample.append((line, cells))
            size += sum(map(len, cells))
            if size > _SAMPLED_CHARACTERS:
                break
        first = table.sample[0][1] if table.sample else []
        if not targets and len(first) == len(table.labels) + 1 and not first[-1].strip():
            table.labels.append("")  # each row ends with a delimiter, the header does not
        return table

    @property
    def is_parquet(self) -> bool:
        """Whether the file is Parquet."""
        return self.path.name.lower().endswith(".parquet")

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield line number (row number in Parquet) and cells of each row that is not blank."""
        if self.is_parquet:
            yield from self._parquet_rows()
            return
        with _text(self.path) as file:
            for _ in range(self.header_line):
                file.readline()
            reader = csv.reader(file, delimiter=self.delimiter)
            blank: list[tuple[int, list[str]]] = []
            for cells in reader:
                if len(cells) > 1 or (cells and cells[0].strip()):
                    blank.append((self.header_line + reader.line_num, cells))
                # Empty rows at the end, as spreadsheets write them, are skipped.
                if any(cell.strip() for cell in cells):
                    yield from blank
                    blank = []

    def _parquet_rows(self) -> Iterator[tuple[int, list[str]]]:
        row = 0
        for batch in open_parquet(self.path).iter_batches(batch_size=max(1, 500_000 // max(1, len(self.labels)))):
            for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                row += 1
                yield row, ["" if cell is None else str(cell) for cell in cells]

    def column(self, name: str) -> list[tuple[int, str]]:
        """Return line numbers and stripped cells of a column; short rows give an empty cell."""
        i = self.labels.index(name)
        return [(line, cells[i].strip() if i < len(cells) else "") for line, cells in self.rows()]

    def lines(self, rows: Sequence[int]) -> dict[int, int]:
        """Return the line numbers of rows, which count from 0 without blank lines."""
        wanted = set(rows)
        if self.is_parquet or not wanted:
            return {row: row + 1 for row in wanted}
        numbers, row, last = {}, -1, max(wanted)
        with _text(self.path) as file:
            for number, line in enumerate(file, start=1):
                if number <= self.header_line or not line.strip():
                    continue
                row += 1
                if row in wanted:
                    numbers[row] = number
                if row == last:
                    break
        return {row: numbers.get(row, row + 1 + self.header_line) for row in wanted}

    def place(self, line: int | None = None, column: str | None = None) -> str:
        """Return the name of the file, with a line (row) or column if given."""
        place = self.path.name
        if line is not None:
            place += f", {'row' if self.is_parquet else 'line'} {line}"
        return place if column is None else f"{place}, column {column[:40]!r}"

    @property
    def header_place(self) -> str:
        """Place of the header."""
        return self.path.name if self.is_parquet else f"{self.path.name}, line {self.header_line}"


def _text(path: Path) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedReader(BoundedLines(path)), encoding="utf-8-sig", errors="replace", newline="")


def _header(path: Path, targets: bool) -> tuple[str, list[str], int]:
    """Return the delimiter, the column names and the line of the header."""
    opener: Any = gzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rb") as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise SpectralInputError(f"{path.name} is not UTF-8 text but UTF-16; save it as CSV in UTF-8.")
    with _text(path) as file:
        number, line = next(((n, line) for n, line in enumerate(file, start=1) if line.strip()), (0, ""))
    if not number:
        what = "targets" if targets else "axis"
        raise SpectralInputError(f"{path.name} is empty; its first line must name the {what}.")
    first = next((mark for mark in ";\t" if mark in line), ",")
    delimiter = max(_DELIMITERS, key=line.count) if targets else first
    labels = [label.strip().strip('"') for label in next(csv.reader([line], delimiter=delimiter), [])]
    return delimiter, labels, number


def number(text: str, decimal: str = ".") -> float | None:
    """Return the number in a cell: NaN if the cell is empty, None if it is not a number."""
    text = text.strip()
    if text in MISSING:
        return float("nan")
    if decimal == ",":
        if "." in text:
            return None
        text = text.replace(",", ".")
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def has_column(path: Path, name: str | None, *, targets: bool = False) -> bool:
    """Return whether a table has a column of that name; False if the table cannot be read."""
    try:
        return name in CellTable.open(path, targets=targets).labels
    except (SpectralInputError, *DAMAGE):
        return False


def axis_columns(labels: Sequence[str]) -> list[int]:
    """Return the indices of columns whose names are wavelengths.

    These are names such as ``"1100"`` or ``"1100 nm"``, or names such as ``"spc.1100"`` if there
    are more of them.
    """
    plain = [i for i, label in enumerate(labels) if parse_axis_labels([label]) is not None]
    frames: dict[tuple[str, ...], list[int]] = {}
    for i, label in enumerate(labels):
        match = _FRAMED.match(label)
        if match:
            frames.setdefault(match.groups(), []).append(i)
    framed = max(frames.values(), key=len, default=[])
    if len(framed) > len(plain) and parse_axis_labels([labels[i] for i in framed]) is not None:
        return framed
    return plain


def id_column(labels: Sequence[str], cells: Sequence[Sequence[str]], ids: str | None = None) -> str | None:
    """Return the name of the column of sample or spectrum ids, or None.

    It is the first match of: `ids`; a column that is not a wavelength and is named id, sample_id,
    sample, name, spectrum, file, label or similar, in upper or lower case, with or without
    ``meta_`` before it; a first column without a name whose values are distinct and not
    measurements; the only other column of distinct texts.

    Parameters
    ----------
    labels : sequence of str
        Header of the table.
    cells : sequence of sequence of str
        Cells of the first rows, as in `CellTable.sample`.
    ids : str, optional
        Name given by the user.

    Raises
    ------
    SpectralInputError
        No column is named `ids`.
    """
    if ids is not None:
        if ids not in labels:
            raise SpectralInputError(f"no column is named {ids[:40]!r}; name one of those in the header with --id.")
        return ids
    wavelengths = set(axis_columns(labels))
    columns = {
        i: [row[i].strip() if i < len(row) else "" for row in cells]
        for i in range(len(labels))
        if i not in wavelengths and not labels[i].startswith("__index_level_")
    }
    columns = {i: column for i, column in columns.items() if any(column)}
    plain = {i: re.sub(r"[\s.-]+", "_", labels[i].strip().lower()).removeprefix("meta_") for i in columns}
    for name in ID_NAMES:
        for i, column in columns.items():
            if plain[i] == name and (name not in _AMBIGUOUS or len(set(column)) > len(column) / 2):
                return labels[i]
    if 0 in columns and not labels[0] and _are_distinct(columns[0]) and not any(map(_is_measurement, columns[0])):
        return labels[0]
    if not wavelengths and len(cells) < _FEWEST_IDS:
        return None
    texts = [i for i, column in columns.items() if labels[i] and _are_distinct(column) and _are_texts(column)]
    return labels[texts[0]] if len(texts) == 1 else None


def _are_distinct(column: Sequence[str]) -> bool:
    return all(column) and len(set(column)) == len(column)


def _are_texts(column: Sequence[str]) -> bool:
    return sum(number(cell) is None and number(cell, ",") is None for cell in column) > len(column) / 2


def _is_measurement(cell: str) -> bool:
    return number(cell.replace(",", ".")) is not None and not cell.isdigit()
