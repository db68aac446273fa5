"""Checks of tables before use; each finding names the place and the remedy."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from ..errors import SpectralAxisError, SpectralInputError
from .cells import DAMAGE, CellTable, axis_columns, has_column, id_column
from .findings import Finding, by_severity, from_reader
from .header_checks import EXPLAINED, axis_findings, header_errors
from .id_checks import check_pair, id_findings
from .row_checks import RowChecks
from .tables import SpectralTable, open_table
from .target_checks import check_target_file
from .value_checks import ValueChecks

__all__ = ["Finding", "check_files", "check_pair", "check_spectra_file", "check_target_file", "id_column"]

_Refusal = (SpectralInputError, SpectralAxisError)


def check_spectra_file(
    path: str | Path, *, axis_unit: str = "auto", ids: str | None = None, drop: Sequence[str] = ()
) -> list[Finding]:
    """Check a table of spectra for errors, and for anomalies of axis, rows and values.

    Parameters
    ----------
    path : path
        Table that `open_table` reads.
    axis_unit : {"auto", "nm", "cm-1", "um"}, default="auto"
        Unit of the header.
    ids : str, optional
        Column of ids; by default the one that `id_column` returns. It is not read as spectra.
    drop : sequence of str
        Columns to ignore, which are not wavelengths.

    Returns
    -------
    list of Finding
        Errors first. There is an error if, and only if, `open_table` or reading its table fails for
        this file without these columns.

    Raises
    ------
    OSError
        The file cannot be opened.
    MissingPackageError
        The file is Parquet and pyarrow is not installed.
    """
    path = Path(path)
    try:
        table = CellTable.open(path)
        column = id_column(table.labels, [cells for _, cells in table.sample], ids)
    except SpectralInputError as error:
        return [from_reader(path, str(error))]
    except DAMAGE as error:
        return [Finding("error", path.name, f"the file is cut or damaged: {error}", "fetch it again")]
    column = None if column in drop else column
    dropped = [*drop, *([] if column is None else [column])]
    findings: list[Finding] = []
    opened: SpectralTable | None = None
    refusal: Exception | None = None
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            opened = open_table(path, axis_unit, dropped)
            findings += _accepted(table, opened, axis_unit)
        except _Refusal as error:
            refusal = error
    findings += [from_reader(path, str(warning.message), "warning") for warning in warned]
    if refusal is not None:
        findings += _refused(table, refusal, opened, column, drop, axis_unit)
    elif column is not None:
        with suppress(*DAMAGE):
            findings += id_findings(table, column)
    return by_severity(findings)


def check_files(
    spectra_path: str | Path,
    targets_path: str | Path | None = None,
    *,
    axis_unit: str = "auto",
    ids: str | None = None,
    drop: Sequence[str] = (),
) -> list[Finding]:
    """Check a table of spectra and a table of reference values, if given, separately and together.

    Parameters
    ----------
    spectra_path, targets_path, axis_unit, drop : as in `check_spectra_file` and `check_target_file`
    ids : str, optional
        Column of ids, in one file or both.

    Returns
    -------
    list of Finding
        Errors first.
    """
    paths = [Path(path) for path in (spectra_path, targets_path) if path is not None]
    own_ids = [
        ids if len(paths) == 1 or has_column(path, ids, targets=i == 1) else None for i, path in enumerate(paths)
    ]
    findings = check_spectra_file(paths[0], axis_unit=axis_unit, ids=own_ids[0], drop=drop)
    if len(paths) == 2:
        findings += check_target_file(paths[1], ids=own_ids[1])
        findings += check_pair(*paths, ids=ids)
    return by_severity(findings)


def _accepted(table: CellTable, opened: SpectralTable, axis_unit: str) -> list[Finding]:
    """Read all spectra and return the findings about axis and values."""
    columns = np.arange(opened.n_columns) if opened.kept is None else opened.kept
    written = [table.labels[i] for i in columns]
    names = written if opened.order is None else [written[i] for i in opened.order]
    values = ValueChecks(table, names, opened.wavelengths)
    for chunk in opened.chunks():
        values.add(chunk)
    return [*axis_findings(table, opened.header, written, axis_unit), *values.findings()]


def _refused(
    table: CellTable,
    error: Exception,
    opened: SpectralTable | None,
    ids: str | None,
    drop: Sequence[str],
    axis_unit: str,
) -> list[Finding]:
    """Read the table as text and return all errors."""
    findings: list[Finding] = []
    is_explained = False
    if opened is None:
        errors = header_errors(table, ids, drop, axis_unit)
        findings = [finding for group in errors.values() for finding in group]
        is_explained = any(re.search(EXPLAINED[kind], str(error)) for kind in errors)
        if errors.keys() & {"transposed", "delimiter", "preamble", "rows"}:
            return findings if is_explained else [*findings, from_reader(table.path, str(error))]
    encoding = _encoding(table, error)
    findings, is_explained = [*findings, *encoding], is_explained or bool(encoding)
    labels = table.labels
    passed = {i for i, label in enumerate(labels) if label in (*drop, ids) or label.startswith("__index_level_")}
    columns = [i for i in range(len(labels)) if i not in passed]
    columns = [columns[i] for i in axis_columns([labels[i] for i in columns])] or [i for i in columns if labels[i]]
    nanometres = None
    if opened is not None:
        nanometres = opened.wavelengths if opened.order is None else opened.wavelengths[np.argsort(opened.order)]
        if nanometres.size != len(columns):
            nanometres = None
    rows = RowChecks(table, columns, None if ids is None else labels.index(ids), nanometres)
    try:
        findings += rows.run()
        if ids is not None:
            findings += id_findings(table, ids)
    except (*_Refusal, *DAMAGE):
        pass  # `error` reports the same
    return findings if is_explained else [*findings, *rows.explain(error)]


def _encoding(table: CellTable, error: Exception) -> list[Finding]:
    """Return the first line that is not UTF-8 if the reader reported one."""
    if "not UTF-8" not in str(error):
        return []
    rows = [(table.header_line, table.labels)]
    line = next((n for n, cells in [*rows, *table.sample] if any("\ufffd" in cell for cell in cells)), None)
    if line is None:
        line = next((n for n, cells in table.rows() if any("\ufffd" in cell for cell in cells)), None)
    return [Finding("error", table.place(line), "not UTF-8 text", "save it as CSV in UTF-8")]
