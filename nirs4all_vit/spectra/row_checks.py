"""Checks of all rows of a refused table; the reader stops at the first error."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .cells import CellTable, number
from .findings import MOST_NAMED, Finding, counted, from_reader
from .value_checks import ValueChecks, refused_rows

#: Values in memory at a time (8 MB).
_CHUNK_VALUES = 1_000_000

#: "0,31", and numbers with thousands separators such as "1.234,5", "1 234" or "1'234".
_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
_GROUPS = re.compile(r"[+-]?\d{1,3}(?:(?P<mark>[.,' \u00a0\u202f])\d{3})(?:(?P=mark)\d{3})*(?:[.,]\d+)?")

#: Message and remedy by kind of cell.
_KINDS = {
    "comma": (
        "has a decimal comma, but commas separate the columns",
        "save the table with semicolons or tabs between columns, or with decimal points",
    ),
    "mixed": ("has another decimal sign than the rest of the table", "write all numbers with the same sign"),
    "thousands": ("has a thousands separator", "remove such separators"),
    "text": ("is not a number", "correct it, or leave the cell empty: missing points are filled in"),
}


@dataclass
class RowChecks:
    """Check of the rows of a table as text.

    Attributes
    ----------
    table : CellTable
    columns : sequence of int
        Indices of the spectral columns.
    ids : int or None
        Index of the column of ids.
    nanometres : ndarray of shape (n_columns,), or None
        Wavelengths of the columns; None if the axis is invalid.
    """

    table: CellTable
    columns: Sequence[int]
    ids: int | None = None
    nanometres: NDArray[np.float64] | None = None
    #: Lines with an error.
    lines: set[int] = field(default_factory=set)
    _errors: dict[str, list[Finding]] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)
    _decimal: str = "."

    def run(self) -> list[Finding]:
        """Read all rows; return their errors and the findings about their values."""
        table, labels = self.table, self.table.labels
        names = [labels[i] for i in self.columns]
        values = ValueChecks(table, names, self.nanometres)
        self._decimal = self._decimal_sign()
        nameless = [
            i
            for i, label in enumerate(labels)
            if not label and i != self.ids and not any(row[i].strip() for _, row in table.sample if i < len(row))
        ]
        block: list[NDArray[np.float64]] = []
        held: list[int] = []
        for line, cells in table.rows():
            row = self._row(line, cells, nameless)
            block.append(np.full(len(names), np.nan) if row is None else row)
            held.append(line)
            if len(block) * len(names) >= _CHUNK_VALUES:
                self._judge(values, block, held)
                block, held = [], []
        if block and names:
            self._judge(values, block, held)
        return [*self._findings(), *values.findings(columns=not self.lines)]

    def _decimal_sign(self) -> str:
        if self.table.delimiter == "," or self.table.is_parquet:
            return "."
        rows = [self.table.labels, *(cells for _, cells in self.table.sample)]
        cells = [row[i].strip() for row in rows for i in self.columns if i < len(row)]
        commas = sum(_COMMA.fullmatch(cell) is not None for cell in cells)
        return "," if commas > sum("." in cell for cell in cells) else "."

    def _row(self, line: int, cells: list[str], nameless: Sequence[int]) -> NDArray[np.float64] | None:
        """Return the values of a row; None if its length is wrong, or it is empty or a header."""
        labels = self.table.labels
        if len(cells) != len(labels):
            text = f"{counted(len(cells), 'value')} under {counted(len(labels), 'column')}"
            remedy = "complete the row, or remove it"
            self._add("rows", line, None, text + ": a cut or shifted row", remedy)
            return None
        written = [cells[i] for i in self.columns]
        if not any(written) or not any(map(str.strip, written)):
            self._add("empty", line, None, "the row is empty", "remove the line")
            return None
        if all(written[i].strip().strip('"') == labels[self.columns[i]] for i in range(len(written))):
            text = "the header again: files were joined into one"
            self._add("header", line, None, text, "remove such lines, so that spectra and targets match")
            return None
        stray = next((i for i in nameless if cells[i].strip()), None)
        if stray is not None:
            text = f"{cells[stray].strip()[:40]!r} in a column without a name: a shifted row"
            self._add("nameless", line, None, text, "move the row back into its columns, or name the column")
        plain = [cell.replace(",", ".") for cell in written] if self._decimal == "," else written
        try:
            row = np.array(plain, dtype=np.float64)
            if self._decimal == "." or not any("." in cell for cell in written):
                return row
        except ValueError:
            pass
        return self._cells(line, cells)

    def _cells(self, line: int, cells: list[str]) -> NDArray[np.float64]:
        """Return the values of a row with cells that are empty or not numbers."""
        row = np.full(len(self.columns), np.nan)
        for j, i in enumerate(self.columns):
            value = number(cells[i], self._decimal)
            if value is not None:
                row[j] = value
                continue
            text = cells[i].strip()
            if "\ufffd" in text:  # not UTF-8, reported separately
                continue
            kind = self._cell_kind(text)
            about, remedy = _KINDS[kind]
            blank = self.ids is not None and not cells[self.ids].strip()
            if kind == "text" and j == 0 and blank:
                about, remedy = "is not a number, and the id is empty: a shifted row", "move the row back"
            self._add(kind, line, self.table.labels[i], f"{text[:40]!r} {about}", remedy)
        return row

    def _cell_kind(self, text: str) -> str:
        if _GROUPS.fullmatch(text) and number(text.replace(",", ".")) is None:
            return "thousands"
        if _COMMA.fullmatch(text):
            return "comma" if self.table.delimiter == "," else "mixed"
        return "mixed" if self._decimal == "," and number(text) is not None else "text"

    def _add(self, kind: str, line: int, column: str | None, text: str, remedy: str) -> None:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        self.lines.add(line)
        errors = self._errors.setdefault(kind, [])
        if len(errors) < MOST_NAMED:
            errors.append(Finding("error", self.table.place(line, column), text, remedy))

    def _judge(self, values: ValueChecks, block: list[NDArray[np.float64]], held: list[int]) -> None:
        matrix = np.stack(block)
        sound = [i for i, line in enumerate(held) if line not in self.lines]
        if sound:
            lines = [held[i] for i in sound]
            for finding in refused_rows(self.table, matrix[sound], lines, self.nanometres):
                line = int(finding.place.rpartition(" ")[2])
                self._counts["values"] = self._counts.get("values", 0) + 1
                self.lines.add(line)
                errors = self._errors.setdefault("values", [])
                if len(errors) < MOST_NAMED:
                    errors.append(finding)
        matrix[[line in self.lines for line in held]] = np.nan
        values.add(matrix)

    def _findings(self) -> list[Finding]:
        findings = []
        for kind, errors in self._errors.items():
            n_more = self._counts[kind] - len(errors)
            if kind in ("comma", "mixed", "thousands") and n_more:
                # The same mistake throughout the table.
                first = errors[0]
                message = f"{first.message} ({self._counts[kind]:,} cells)"
                findings.append(Finding("error", first.place, message, first.remedy))
                continue
            findings += errors
            if n_more:
                what = {
                    "rows": "rows have another length than the header",
                    "empty": "rows are empty",
                    "header": "lines repeat the header",
                    "nameless": "rows have a value in a column without a name",
                    "values": "spectra have values that no instrument gives, or lack more than half of them",
                }.get(kind, "cells are not numbers")
                findings.append(Finding("error", self.table.place(), f"{n_more:,} more {what}", errors[0].remedy))
        return findings

    def explain(self, error: Exception) -> list[Finding]:
        """Return the reader's error as a finding, unless an error is about the same line."""
        finding = from_reader(self.table.path, str(error))
        match = re.search(r"(?:line|row) (\d+)", str(error).removeprefix(self.table.path.name))
        same = any(finding.message == other.message for errors in self._errors.values() for other in errors)
        return [] if same or (match and int(match[1]) in self.lines) else [finding]
