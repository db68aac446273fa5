"""Checks of a table of reference values."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import SpectralInputError
from .cells import DAMAGE, MISSING, CellTable, id_column, number
from .findings import MOST_NAMED, Finding, by_severity, counted, from_reader, listed
from .id_checks import id_findings
from .targets import read_target_table

#: An outlier is further from the median than this many scaled median absolute deviations, and
#: further from the other values than this many times their range.
_DEVIATIONS, _RANGES = 8.0, 3.0
#: Whole numbers with at most this many distinct values in at least this many rows look like
#: classes.
_FEW_VALUES, _MANY_ROWS = 8, 40
#: Share of numbers from which a column counts as numeric with text in it.
_SOME_NUMBERS = 0.25
#: Values needed to compare them with each other.
_FEWEST = 5

#: "1,234" and "1.234" may have a thousands separator; "1,234.5" has one.
_GROUPED = re.compile(r"[1-9]\d{0,2}(?:([.,])\d{3})(?:\1\d{3})*")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:(?P<mark>[.,' \u00a0\u202f])\d{3})(?:(?P=mark)\d{3})*(?:[.,]\d+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")

_NOT_A_NUMBER = "correct it, or leave the cell empty: missing values are skipped"


@dataclass(frozen=True)
class _Column:
    """Column of reference values.

    `lines` and `cells` are those of non-empty cells; `values` are the numbers, NaN for text;
    `missing` are the lines of empty cells.
    """

    name: str
    lines: list[int]
    cells: list[str]
    values: NDArray[np.float64]
    missing: list[int]


def check_target_file(path: str | Path, *, ids: str | None = None) -> list[Finding]:
    """Check a table of reference values for errors, and for anomalies of columns and values.

    Parameters
    ----------
    path : path
        CSV file that `read_target_table` reads.
    ids : str, optional
        Column of ids, which is not a target; by default the one that `id_column` returns.

    Returns
    -------
    list of Finding
        Errors first. There is an error if, and only if, `read_target_table` refuses the file.

    Raises
    ------
    OSError
        The file cannot be opened.
    """
    path = Path(path)
    try:
        table = CellTable.open(path, targets=True)
        column = id_column(table.labels, [cells for _, cells in table.sample], ids)
    except SpectralInputError as error:
        return [from_reader(path, str(error))]
    except DAMAGE as error:
        return [Finding("error", path.name, f"the file is cut or damaged: {error}", "fetch it again")]
    findings: list[Finding] = []
    error_: SpectralInputError | None = None
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            read_target_table(path, [] if column is None else [column])
        except SpectralInputError as refusal:
            error_ = refusal
    for warning in warned:
        about = from_reader(path, str(warning.message), "warning")
        findings.append(Finding("warning", about.place, about.message, "remove the column if it is not a target"))
    if error_ is not None and "UTF-8" in str(error_):
        findings.append(from_reader(path, str(error_)))
    severity = "warning" if error_ is None else "error"
    try:
        findings += _all_findings(table, column, severity)
    except (SpectralInputError, *DAMAGE):
        pass  # `error_` reports the same
    if error_ is not None:
        refused = from_reader(path, str(error_))
        if not any(_explains(finding, refused) for finding in findings):
            findings.append(refused)
    return by_severity(findings)


def _explains(finding: Finding, refused: Finding) -> bool:
    """Return whether a finding is an error about the same line or column as the reader's."""
    if finding.severity != "error":
        return False
    parts = re.findall(r"line \d+|column (?:'[^']*'|\"[^\"]*\")", f"{refused.place} {refused.message}")
    return finding.message == refused.message or (
        bool(parts) and all(re.search(re.escape(part) + r"(?!\d)", finding.place) for part in parts)
    )


def _all_findings(table: CellTable, ids: str | None, severity: str) -> list[Finding]:
    findings = []
    lengths = _lengths(table, severity)
    if severity == "error" and lengths:
        return lengths
    if ids is not None:
        findings += id_findings(table, ids)
    columns = _columns(table, ids)
    if not columns:
        text = "there is no column of reference values"
        findings.append(Finding("warning", table.header_place, text, "write a column for each target"))
    n_numeric = 0
    for column in columns:
        if not column.cells:
            text = "the column is empty in all rows, and left out"
            findings.append(Finding("warning", table.place(column=column.name), text, "fill it, or remove it"))
            continue
        share = float(np.isfinite(column.values).mean())
        n_numeric += share > 0.5
        findings += _cells(table, column, share, severity)
        findings += _numbers(table, column) if share > 0.5 else _classes(table, column)
        if column.missing:
            n, first = len(column.missing), listed(column.missing[:MOST_NAMED], len(column.missing))
            text = f"{n:,} of {n + len(column.cells):,} values are missing (lines {first})"
            findings.append(Finding("note", table.place(column=column.name), text))
    if columns and not n_numeric:
        findings.append(Finding("note", table.header_place, "no column holds numbers: all targets are classes"))
    if len(table.labels) == 1:
        findings += _blank_lines(table)
    return findings


def _lengths(table: CellTable, severity: str) -> list[Finding]:
    """Detect rows of another length than the header."""
    findings, count, n = [], 0, len(table.labels)
    first = len(table.sample[0][1]) if table.sample else n
    for line, cells in table.rows():
        ended = len(cells) == n + 1 and not cells[-1].strip()
        if len(cells) == n or (ended and first == n + 1):
            continue
        count += 1
        if count <= MOST_NAMED:
            text = f"{counted(len(cells), 'value')} under {counted(n, 'column')}"
            remedy = "complete the row, or remove superfluous values"
            if ended:
                text = f"this row ends with {table.delimiter!r}, but the first one does not"
                remedy = "end all rows alike"
            elif table.delimiter == "," and len(cells) > n:
                text, remedy = f"{text}: a decimal comma?", "write decimal points, or semicolons between columns"
            findings.append(Finding(severity, table.place(line), text, remedy))
    if count > len(findings):
        text = f"{count - len(findings):,} more rows have another length than the header"
        findings.append(Finding(severity, table.place(), text, findings[0].remedy))
    return findings


def _columns(table: CellTable, ids: str | None) -> list[_Column]:
    """Return all columns but those of ids and metadata."""
    wanted = [i for i, label in enumerate(table.labels) if label != ids and not label.startswith("meta_")]
    lines: dict[int, list[int]] = {i: [] for i in wanted}
    cells: dict[int, list[str]] = {i: [] for i in wanted}
    missing: dict[int, list[int]] = {i: [] for i in wanted}
    for line, row in table.rows():
        for i in wanted:
            text = row[i].strip() if i < len(row) else ""
            if text in MISSING:
                missing[i].append(line)
            else:
                lines[i].append(line)
                cells[i].append(text)
    columns = []
    for i in wanted:
        numbers = [number(text.replace(",", ".")) for text in cells[i]]
        values = np.array([np.nan if value is None else value for value in numbers], dtype=np.float64)
        if table.labels[i] or cells[i]:
            columns.append(_Column(table.labels[i], lines[i], cells[i], values, missing[i]))
    return columns


def _cells(table: CellTable, column: _Column, share: float, severity: str) -> list[Finding]:
    """Detect text among numbers, decimal commas and thousands separators."""
    findings = []
    texts = [i for i, value in enumerate(column.values) if np.isnan(value)]
    if share > 0.5 or (share >= _SOME_NUMBERS and texts):
        for i in texts[:MOST_NAMED]:
            about, remedy = "is not a number", _NOT_A_NUMBER
            if column.cells[i] == column.name:
                about, remedy = "is the header again: files were joined into one", "remove such lines"
            elif _THOUSANDS.fullmatch(column.cells[i]):
                about, remedy = "has a thousands separator", "remove such separators"
            place = table.place(column.lines[i], column.name)
            findings.append(Finding(severity, place, f"{column.cells[i][:40]!r} {about}", remedy))
        if len(texts) > MOST_NAMED:
            text = f"{len(texts) - MOST_NAMED:,} more cells are not numbers"
            findings.append(Finding(severity, table.place(column=column.name), text, _NOT_A_NUMBER))
    if share <= 0.5:
        return findings
    commas = [i for i, cell in enumerate(column.cells) if _DECIMAL_COMMA.fullmatch(cell)]
    points = [i for i, cell in enumerate(column.cells) if "." in cell and not np.isnan(column.values[i])]
    plain = [i for i, cell in enumerate(column.cells) if cell.isdigit() and len(cell) == 3]
    marked = commas or points
    if plain and marked and not (commas and points) and all(_GROUPED.fullmatch(column.cells[i]) for i in marked):
        text = (
            f"{column.cells[marked[0]]!r} beside {column.cells[plain[0]]!r} looks like a thousands separator, and is "
            f"read as {column.values[marked[0]]:g}"
        )
        remedy = "remove such separators"
        return [*findings, Finding(severity, table.place(column.lines[marked[0]], column.name), text, remedy)]
    if commas and table.delimiter == ",":
        text = f"{column.cells[commas[0]]!r} has a decimal comma, but commas separate the columns"
        text += f" ({len(commas):,} cells)" if len(commas) > 1 else ""
        remedy = "write decimal points, or the table with semicolons"
        findings.append(Finding(severity, table.place(column.lines[commas[0]], column.name), text, remedy))
    elif commas and points:
        fewer = min(commas, points, key=len)
        text = (
            f"{column.cells[fewer[0]]!r} has another decimal sign than the other values ({counted(len(fewer), 'cell')})"
        )
        remedy = "write all numbers with the same sign"
        findings.append(Finding(severity, table.place(column.lines[fewer[0]], column.name), text, remedy))
    return findings


def _numbers(table: CellTable, column: _Column) -> list[Finding]:
    """Detect infinite values, constant targets, numbers that look like classes, and outliers."""
    there = np.flatnonzero(np.isfinite(column.values))
    values = column.values[there]
    place = table.place(column=column.name)
    findings = []
    infinite = np.flatnonzero(np.isinf(column.values))
    if infinite.size:
        where = table.place(column.lines[infinite[0]], column.name)
        findings.append(Finding("warning", where, f"{column.cells[infinite[0]]!r} is infinite", "leave the cell empty"))
    distinct = np.unique(values)
    if distinct.size == 1 and values.size > 1:
        text = f"all {values.size:,} values are {values[0]:g}"
        return [*findings, Finding("warning", place, text, "remove the column: there is nothing to calibrate")]
    if distinct.size <= _FEW_VALUES and values.size >= _MANY_ROWS and (values % 1 == 0).all():
        names = listed([f"{v:g}" for v in distinct])
        text = f"{distinct.size} distinct values in {values.size:,} rows ({names}) look like classes"
        findings.append(Finding("note", place, text))
    for i in _outliers(values)[:MOST_NAMED]:
        others = np.delete(values, _outliers(values))
        text = f"{column.cells[there[i]]} is far outside the other values, {others.min():g} to {others.max():g}"
        remedy = "check it; a decimal point may be misplaced"
        findings.append(Finding("warning", table.place(column.lines[there[i]], column.name), text, remedy))
    return findings


def _outliers(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the indices of outliers (`_DEVIATIONS`, `_RANGES`)."""
    if values.size < _FEWEST:
        return np.empty(0, np.intp)
    centre = float(np.median(values))
    deviation = 1.4826 * float(np.median(np.abs(values - centre)))
    far = np.abs(values - centre) > _DEVIATIONS * deviation
    others = values[~far]
    spread = float(np.ptp(others)) if others.size else 0.0
    if spread == 0.0:
        return np.empty(0, np.intp)
    away = np.maximum(others.min() - values, values - others.max())
    return np.flatnonzero(far & (away > _RANGES * spread))


def _classes(table: CellTable, column: _Column) -> list[Finding]:
    """Detect constant targets, classes of one sample, spelling variants and free text."""
    counts = Counter(column.cells)
    place = table.place(column=column.name)
    if len(counts) == 1 and len(column.cells) > 1:
        text = f"all {len(column.cells):,} values are {column.cells[0][:40]!r}"
        return [Finding("warning", place, text, "remove the column: there is nothing to calibrate")]
    if len(counts) == len(column.cells) > _FEWEST:
        text = "each row has a different text: no classes"
        remedy = f"name it as the column of ids: --id {column.name[:40]!r}, or call it meta_{column.name[:40]}"
        return [Finding("warning", place, text, remedy)]
    findings = []
    single = [name for name, count in counts.items() if count == 1]
    if single:
        line = column.lines[column.cells.index(single[0])]
        text = f"{counted(len(single), 'class', 'classes')} of one sample: {listed([name[:40] for name in single])}"
        findings.append(Finding("warning", table.place(line, column.name), text, "join classes, or add samples"))
    spellings: dict[str, list[str]] = {}
    for name in counts:
        spellings.setdefault(re.sub(r"[\s_-]+", "", name.casefold()), []).append(name)
    for names in [names for names in spellings.values() if len(names) > 1][:MOST_NAMED]:
        text = f"{listed([repr(name[:40]) for name in names])} differ in case or blanks only"
        findings.append(Finding("warning", place, text, "write classes alike"))
    return findings


def _blank_lines(table: CellTable) -> list[Finding]:
    """Detect blank lines in a table with one column, which are not read as missing values."""
    lines = [line for line, _ in table.rows()]
    blank = sorted(set(range(table.header_line + 1, lines[-1] if lines else 0)) - set(lines))
    if not blank:
        return []
    text = f"{counted(len(blank), 'blank line')} skipped, not read as a missing value"
    return [Finding("warning", table.place(blank[0]), text, "write NA for a missing value")]
