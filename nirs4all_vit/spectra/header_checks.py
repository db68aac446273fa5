"""Checks of the header of a table of spectra: columns, axis, position in the file."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .cells import CellTable, axis_columns, number
from .data import MAX_WAVELENGTH, MIN_WAVELENGTH, are_column_numbers, guess_axis_unit, parse_axis_labels
from .findings import MOST_NAMED, Finding, counted, listed
from .order import is_monotonic

#: Rows, and wavelengths, needed to detect a transposed table or a missing header.
_FEWEST = 5
#: A step this many times larger than the adjacent steps is a gap. Beyond the second factor, within
#: two points of an end of the axis, it is an error.
_GAP, _FAR = 3.5, 20.0
#: Adjacent steps on either side that a step is compared with.
_AROUND = 5
#: Least number of values of a header.
_FEWEST_PARTS = 3

#: All messages but those about other problems.
_ANY = r"^(?!.*(?:to drop|UTF-8))"
#: Messages of the reader that findings explain, by kind of finding.
EXPLAINED = {
    "transposed": _ANY,
    "headerless": _ANY,
    "delimiter": _ANY,
    "preamble": _ANY,
    "numbered": _ANY,
    "rows": r"values under \d+ columns|Expected \d+ fields",
    "columns": "is not a wavelength",
    "order": r"ascend|outside of|out of line",
    "repeated": "occurs more than once",
    "range": "outside of|must be positive",
}


def header_errors(table: CellTable, ids: str | None, drop: Sequence[str], unit: str) -> dict[str, list[Finding]]:
    """Return the reasons why the header of a table is refused, by kind (keys of `EXPLAINED`).

    Parameters
    ----------
    table : CellTable
    ids : str or None
        Column of ids.
    drop : sequence of str
        Columns to ignore.
    unit : {"auto", "nm", "cm-1", "um"}
        Unit of the axis.
    """
    labels = table.labels
    for check in (_preamble, _delimiter, _transposed, _headerless):
        finding = check(table)
        if finding is not None:
            return {check.__name__.strip("_"): [finding]}
    columns = [i for i in range(len(labels)) if labels[i] not in (*drop, ids) and not labels[i].startswith("__index_")]
    wavelengths = [columns[i] for i in axis_columns([labels[i] for i in columns])]
    axis = np.array([_value(labels[i]) for i in wavelengths])
    errors = {
        "rows": _lengths(table),
        "columns": _strange_columns(table, [i for i in columns if i not in set(wavelengths)], len(wavelengths)),
    }
    if axis.size >= _FEWEST and are_column_numbers(axis):
        text = f"the header numbers the columns from {axis[0]:g} to {axis[-1]:g} and names no wavelengths"
        errors["numbered"] = [Finding("error", table.header_place, text, "write the wavelengths into it")]
    elif axis.size:
        errors["repeated"] = _repeated(table, axis)
        errors["order"], errors["range"] = _out_of_order(table, axis), []
        if not errors["order"] and not errors["repeated"]:
            far = _uneven(table, axis, [labels[i] for i in wavelengths])
            errors["order"] = [replace(finding, severity="error") for finding in far if finding.severity == "warning"]
        if not errors["order"]:
            errors["range"] = _out_of_range(table, axis, unit)
    return {kind: findings for kind, findings in errors.items() if findings}


def axis_findings(table: CellTable, axis: NDArray[np.float64], written: Sequence[str], unit: str) -> list[Finding]:
    """Return warnings and notes about an accepted axis: unit, gaps, order.

    Parameters
    ----------
    table : CellTable
    axis : ndarray of shape (n_wavelengths,)
        Axis as written, in the order of the file.
    written : sequence of str
        Names of its columns.
    unit : {"auto", "nm", "cm-1", "um"}
        Unit of the axis.
    """
    findings, place = [], table.header_place
    parsed = parse_axis_labels(written)
    label_unit = parsed[1] if parsed else "auto"
    resolved = next((u for u in (unit, label_unit) if u != "auto"), guess_axis_unit(axis))
    descends = axis.size > 1 and axis[0] > axis[-1]
    guess = guess_axis_unit(axis)
    # Wavenumbers descend in most files, and low wavenumbers overlap with nanometres.
    if guess != resolved and not (resolved == "cm-1" and descends):
        text = f"the unit of the axis is {resolved}, but {axis.min():g} to {axis.max():g} looks like {guess}"
        remedy = "correct the unit (--axis-unit) or the header"
        findings.append(Finding("warning", place, text, remedy))
    findings.extend(_uneven(table, axis, written))
    if descends:
        text = f"the axis descends from {axis[0]:g} to {axis[-1]:g} {resolved}; spectra are read in ascending nm"
        findings.append(Finding("note", place, text))
    return findings


def _value(label: str) -> float:
    parsed = parse_axis_labels([label])
    if parsed is not None:
        return float(parsed[0][0])
    match = re.search(r"\d+(?:\.\d+)?", label)
    return float(match[0]) if match else float("nan")


def _delimiter(table: CellTable) -> Finding | None:
    """Detect bars, blanks or colons between columns, or another delimiter than in the header."""
    if table.is_parquet:
        return None
    line = table.delimiter.join(table.labels)
    if len(table.labels) == 1 or table.delimiter == ",":
        for name, pattern in (("'|'", r"\s*\|\s*"), ("blanks", r"\s+"), ("':'", r"\s*:\s*")):
            parts = re.split(pattern, line.strip())
            wavelengths = axis_columns(parts)
            if len(parts) >= max(_FEWEST_PARTS, len(table.labels) + 1) and len(wavelengths) > len(parts) / 2:
                return Finding(
                    "error", table.header_place, f"columns are separated by {name}", "save it with ',', ';' or a tab"
                )
    if table.sample and len(table.sample[0][1]) == 1 < len(table.labels):
        text = table.sample[0][1][0]
        for mark in ",;\t|":
            if mark != table.delimiter and text.count(mark) == len(table.labels) - 1:
                where = table.place(table.sample[0][0])
                message = f"values are separated by {mark!r}, but the columns of the header by {table.delimiter!r}"
                return Finding("error", where, message, "use the same delimiter in all lines")
    return None


def _preamble(table: CellTable) -> Finding | None:
    """Detect a header below other lines."""
    if table.header_line > 1:
        text = "the header is here, below blank lines"
        return Finding("error", table.header_place, text, "remove the lines above it")
    if len(axis_columns(table.labels)) > len(table.labels) / 2:
        return None
    for line, cells in table.sample:
        whole = table.delimiter.join(cells)
        if any(_is_whole_axis(re.split(mark, whole)) for mark in ",;\t"):
            lines = f"line {table.header_line}" if line == 2 else f"lines {table.header_line} to {line - 1}"
            text = "the axis is here, not in the first line"
            return Finding("error", table.place(line), text, f"remove the lines above it ({lines})")
    return None


def _is_whole_axis(cells: Sequence[str]) -> bool:
    """Return whether a row, with or without its first cell, is an axis."""
    cells = [cell.strip() for cell in cells]
    return _is_axis(cells) or (len(cells) > _FEWEST and _is_axis(cells[1:]))


def _transposed(table: CellTable) -> Finding | None:
    """Detect wavelengths in the first column."""
    if len(table.labels) < 2 or len(table.sample) < _FEWEST or _is_axis(table.labels[1:]):
        return None
    first = [cells[0].strip() for _, cells in table.sample if cells]
    if not _is_axis(first):
        return None
    text = (
        f"wavelengths are in the first column ({first[0]}, {first[1]}, ...), and spectra in the others: the table is "
        "transposed"
    )
    return Finding("error", table.place(column=table.labels[0] or "1"), text, "transpose it: each row is a spectrum")


def _is_axis(labels: Sequence[str]) -> bool:
    """Return whether cells are clearly a wavelength axis."""
    parsed = parse_axis_labels(labels)
    if parsed is None or len(parsed[0]) < _FEWEST or not is_monotonic(parsed[0]):
        return False
    axis = parsed[0]
    # Sample numbers ascend by one.
    if are_column_numbers(axis) or (axis.size < 20 and (np.diff(axis) == 1).all() and axis[0] < 300):
        return False
    unit = parsed[1] if parsed[1] != "auto" else guess_axis_unit(axis)
    low, high = _range(unit)
    return bool(low <= axis.min() and axis.max() <= high)


def _range(unit: str) -> tuple[float, float]:
    """Return the supported range of wavelengths in a unit."""
    if unit == "cm-1":
        return 1e7 / MAX_WAVELENGTH, 1e7 / MIN_WAVELENGTH
    scale = 1e-3 if unit == "um" else 1.0
    return MIN_WAVELENGTH * scale, MAX_WAVELENGTH * scale


def _headerless(table: CellTable) -> Finding | None:
    """Detect a spectrum in place of the header."""
    decimal = "," if table.delimiter != "," and any("," in label for label in table.labels) else "."
    values = [number(label, decimal) for label in table.labels]
    header = np.array([v for v in values if v is not None and np.isfinite(v)])
    if len(header) < _FEWEST_PARTS or len(header) < 0.8 * len(values) or is_monotonic(header[1:]):
        return None
    # A header with one or two mistakes is still a header.
    steps = np.diff(header)
    direction = 1.0 if np.median(steps) >= 0 else -1.0
    wrong = float((direction * steps <= 0).mean())
    rows = [number(cell, decimal) for _, cells in table.sample[:_FEWEST] for cell in cells]
    below = np.array([v for v in rows if v is not None and np.isfinite(v)])
    typical = float(np.median(np.abs(header)))
    alike = below.size > 0 and 0.1 < typical / max(float(np.median(np.abs(below))), 1e-300) < 10.0
    if not (alike or typical < 10.0) or (wrong < 0.1 and typical > 10.0):
        return None
    text = f"the first line is a spectrum ({table.labels[0]}, {table.labels[1]}, ...), not a header"
    return Finding("error", table.header_place, text, "write the wavelengths above it")


def _lengths(table: CellTable) -> list[Finding]:
    """Detect rows that all have another length than the header, as with unquoted decimal commas."""
    widths = {len(cells) for _, cells in table.sample}
    n = len(table.labels)
    if len(widths) != 1 or widths == {n}:
        return []
    width, line = widths.pop(), table.sample[0][0]
    text = f"{width} values under {n} columns, as in all rows"
    remedy = "complete the header, or remove the columns that it does not name"
    if table.delimiter == "," and width > 1.5 * n:
        text += ": decimal commas, but commas separate the columns"
        remedy = "save the table with semicolons or tabs between columns"
    return [Finding("error", table.place(line), text, remedy)]


def _strange_columns(table: CellTable, columns: Sequence[int], n_wavelengths: int) -> list[Finding]:
    """Detect columns of ids or reference values, and names with thousands separators."""
    findings: list[Finding] = []
    named = [
        i for i in columns if table.labels[i] or any(row[i].strip() if i < len(row) else "" for _, row in table.sample)
    ]
    marked = [i for i in named if re.fullmatch(r"X?\d{1,3}([,.' ]\d{3})+(\D*)", table.labels[i])]
    if len(marked) > len(named) / 2:
        text = f"{listed([repr(table.labels[i]) for i in marked])} contain thousands separators"
        return [Finding("error", table.header_place, text, "remove such separators")]
    if len(named) > max(n_wavelengths, MOST_NAMED):
        text = f"{len(named)} of {len(named) + n_wavelengths} columns are not wavelengths"
        remedy = "write the axis into the header: 1100, 1102, ... (nm) or 9090, 9080, ... (cm-1)"
        return [Finding("error", table.header_place, text, remedy)]
    for i in named[:MOST_NAMED]:
        label = table.labels[i]
        column = [cells[i].strip() for _, cells in table.sample if i < len(cells)]
        is_text = any(number(cell) is None and number(cell, ",") is None for cell in column)
        remedy = f"ignore it: --drop {label[:40]!r}"
        if is_text and len(set(column)) == len(column):
            remedy += f", or name it as the column of ids: --id {label[:40]!r}"
        text = "the column is not a wavelength" + (", and holds text" if is_text else "")
        place = table.place(column=label)
        if not label:
            text, place = "the column has values, but no name", f"{table.header_place}, column {i + 1}"
            remedy = "name it, or ignore all such columns: --drop ''"
            lines = [line for line, cells in table.sample if i < len(cells) and cells[i].strip()]
            if len(lines) <= len(table.sample) / 4:
                text, place = "a value in a column without a name: a shifted row", table.place(lines[0])
                remedy = "move the row back into its columns, or name the column"
        findings.append(Finding("error", place, text, remedy))
    if len(named) > MOST_NAMED:
        text = f"{counted(len(named) - MOST_NAMED, 'more column')} are not wavelengths"
        findings.append(Finding("error", table.header_place, text, "ignore them: --drop"))
    return findings


def _repeated(table: CellTable, axis: NDArray[np.float64]) -> list[Finding]:
    values, counts = np.unique(axis, return_counts=True)
    twice = [f"{value:g}" for value in values[counts > 1]]
    if not twice:
        return []
    text = f"wavelength {listed(twice)} occurs more than once"
    return [Finding("error", table.header_place, text, "merge or drop the duplicates")]


def _out_of_order(table: CellTable, axis: NDArray[np.float64]) -> list[Finding]:
    """Detect the wavelengths without which the axis ascends or descends."""
    if axis.size < _FEWEST or is_monotonic(axis) or np.unique(axis).size < axis.size:
        return []
    rising = axis if np.median(np.diff(axis)) > 0 else -axis
    odd = sorted(set(range(axis.size)) - set(_longest_rise(rising)))
    if len(odd) > max(2, axis.size // 20):
        text = "the axis neither ascends nor descends"
        return [Finding("error", table.header_place, text, "put the columns in order, or check the header")]
    findings = []
    for i in odd[:MOST_NAMED]:
        around = [f"{axis[j]:g}" for j in (i - 1, i + 1) if 0 <= j < axis.size]
        text = f"{axis[i]:g} is out of order beside {' and '.join(around)}"
        findings.append(Finding("error", f"{table.header_place}, column {axis[i]:g}", text, "correct the wavelength"))
    return findings


def _longest_rise(values: NDArray[np.float64]) -> list[int]:
    """Return the indices of the longest ascending subsequence."""
    ends: list[float] = []
    places: list[int] = []
    before = [-1] * len(values)
    for i, value in enumerate(values.tolist()):
        at = bisect_left(ends, value)
        before[i] = places[at - 1] if at else -1
        if at == len(ends):
            ends.append(value)
            places.append(i)
        else:
            ends[at], places[at] = value, i
    chain, i = [], places[-1]
    while i >= 0:
        chain.append(i)
        i = before[i]
    return chain[::-1]


def _out_of_range(table: CellTable, axis: NDArray[np.float64], unit: str) -> list[Finding]:
    low, high = _range(guess_axis_unit(axis) if unit == "auto" else unit)
    outside = axis[(axis < low * (1 - 1e-9)) | (axis > high * (1 + 1e-9))]
    if not outside.size:
        return []
    unit = guess_axis_unit(axis) if unit == "auto" else unit
    text = (
        f"{listed([f'{value:g}' for value in outside])} read as {unit} {'is' if outside.size == 1 else 'are'} "
        f"outside of {MIN_WAVELENGTH:g} to {MAX_WAVELENGTH:,.0f} nm"
    )
    return [Finding("error", table.header_place, text, "check the axis, or set its unit: --axis-unit")]


def _uneven(table: CellTable, axis: NDArray[np.float64], written: Sequence[str]) -> list[Finding]:
    """Detect gaps, and ends that are far from the rest of the axis."""
    order = np.argsort(axis)
    axis, written = axis[order], [written[i] for i in order]
    steps = np.diff(axis)
    if steps.size < 2 * _FEWEST:
        return []
    findings = []
    gaps = []
    for i in range(steps.size):
        around = np.delete(steps[max(0, i - _AROUND) : i + _AROUND + 1], min(i, _AROUND))
        usual = float(np.median(around))
        if steps[i] > _GAP * usual and steps[i] > _GAP * float(np.median(steps)):
            gaps.append((i, steps[i] / usual))
    for i, times in gaps:
        if min(i + 1, steps.size - i) <= 2 and times > _FAR:
            odd = written[0] if i < 2 else written[-1]
            text = f"the step from {axis[i]:g} to {axis[i + 1]:g} is {times:,.0f} times as large as those beside it"
            findings.append(
                Finding("warning", table.place(column=odd), text, "correct the wavelength, if it is mistyped")
            )
    inner = [i for i, times in gaps if min(i + 1, steps.size - i) > 2 or times <= _FAR]
    if inner and len(inner) <= axis.size // 10:
        parts = listed([f"{axis[i]:g} to {axis[i + 1]:g}" for i in inner[:MOST_NAMED]], len(inner))
        findings.append(Finding("note", table.header_place, f"the axis has {counted(len(inner), 'gap')}: {parts}"))
    return findings
