"""Checks of sample ids: repeated and missing ids, and the match of spectra and reference values."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import SpectralInputError
from .cells import DAMAGE, CellTable, id_column
from .findings import MOST_NAMED, Finding, by_severity, counted, from_reader, listed

_Ids = list[tuple[int, str]]


def id_findings(table: CellTable, column: str) -> list[Finding]:
    """Return findings about the column of ids: its range, repeated ids and missing ids."""
    cells = table.column(column)
    place = table.place(column=column)
    lines: dict[str, list[int]] = {}
    for line, text in cells:
        lines.setdefault(text, []).append(line)
    empty = lines.pop("", [])
    if not lines:
        return [Finding("warning", place, "the column of ids is empty", "write the ids, or drop the column")]
    first, last = next(iter(lines)), next(reversed(lines))
    text = f"column of ids: {counted(len(lines), 'distinct value')}, from {first[:40]!r} to {last[:40]!r}"
    findings = [Finding("note", place, text)]
    if empty:
        noun = "rows" if table.is_parquet else "lines"
        text = f"{counted(len(empty), 'row')} without an id: {noun} {listed(empty[:MOST_NAMED], len(empty))}"
        findings.append(Finding("warning", table.place(empty[0], column), text, "write the ids"))
    twice = {name: where for name, where in lines.items() if len(where) > 1}
    if twice and len(twice) > len(lines) / 2:
        text = f"{counted(len(twice), 'id')} of {len(lines)} are in several rows: replicates"
        findings.append(Finding("note", place, text))
    elif twice:
        where = next(iter(twice.values()))
        noun = "rows" if table.is_parquet else "lines"
        text = f"{counted(len(twice), 'id')} in several rows: {listed([repr(n[:40]) for n in twice])}"
        text += f" (the first in {noun} {listed(where)})"
        remedy = "correct them, unless they are replicates of one sample"
        findings.append(Finding("warning", table.place(where[1], column), text, remedy))
    return findings


def check_pair(spectra_path: str | Path, targets_path: str | Path, *, ids: str | None = None) -> list[Finding]:
    """Check that a table of spectra and a table of reference values match by ids, or else by order.

    Parameters
    ----------
    spectra_path, targets_path : path
        ``.csv``, ``.csv.gz`` or ``.parquet``; reference values in ``.csv``.
    ids : str, optional
        Column of ids, in one file or both; by default the one that `id_column` returns for each
        file.

    Returns
    -------
    list of Finding
        Errors first: different numbers of rows if joined by order, no common id, two reference
        values for one id.

    Raises
    ------
    OSError
        A file cannot be opened.
    MissingPackageError
        A file is Parquet and pyarrow is not installed.
    """
    tables: list[CellTable] = []
    columns: list[str | None] = []
    rows: list[_Ids] = []
    for path, targets in ((Path(spectra_path), False), (Path(targets_path), True)):
        try:
            table = CellTable.open(path, targets=targets)
            column = ids if ids in table.labels else id_column(table.labels, [cells for _, cells in table.sample])
            pairs = [(line, "") for line, _ in table.rows()] if column is None else table.column(column)
        except SpectralInputError as error:
            return [from_reader(path, str(error))]
        except DAMAGE as error:
            return [Finding("error", path.name, f"the file is cut or damaged: {error}", "fetch it again")]
        tables.append(table)
        columns.append(column)
        rows.append(pairs)
    spectra, targets_ = tables
    place = f"{spectra.path.name} and {targets_.path.name}"
    if ids is not None and not any(ids in table.labels for table in tables):
        text = f"neither file has a column named {ids[:40]!r}"
        return [Finding("error", place, text, "name one of those in a header with --id")]
    if None in columns:
        return _by_order(place, rows, spectra, targets_)
    return by_severity(_by_ids(place, rows, targets_, columns[1] or ""))


def _by_order(place: str, rows: list[_Ids], spectra: CellTable, targets: CellTable) -> list[Finding]:
    n_spectra, n_targets = map(len, rows)
    if n_spectra == n_targets:
        return [Finding("note", place, f"joined by order: {n_spectra:,} rows in each")]
    text = (
        f"{counted(n_spectra, 'spectrum', 'spectra')} in {spectra.path.name}, but "
        f"{counted(n_targets, 'row')} in {targets.path.name}"
    )
    remedy = "complete the shorter file, or write a column of ids into both"
    return [Finding("error", place, text, remedy)]


def _by_ids(place: str, rows: list[_Ids], targets: CellTable, column: str) -> list[Finding]:
    spectra_ids, target_ids = ([name for _, name in pairs] for pairs in rows)
    if spectra_ids == target_ids:
        text = f"joined by id: the {len(spectra_ids):,} rows of both files have the same ids in the same order"
        return [Finding("note", place, text)]
    wanted, present = dict.fromkeys(spectra_ids), dict.fromkeys(target_ids)
    common = [name for name in wanted if name and name in present]
    findings = _similar(place, wanted, present)
    if not common:
        counts = f"{len(spectra_ids):,} spectra and {len(target_ids):,} reference values"
        examples = f"{spectra_ids[0][:40]!r} and {target_ids[0][:40]!r}" if spectra_ids and target_ids else "no rows"
        text = f"no id is in both files ({examples}, {counts})"
        if findings:  # ids that differ in case, blanks or zeros only are joined
            return findings
        remedy = "write ids alike in both files, or drop the column from one to join by order"
        return [Finding("error", place, text, remedy)]
    without = [name for name in spectra_ids if name not in present]
    text = f"joined by id: {len(spectra_ids) - len(without):,} of {len(spectra_ids):,} spectra have a target"
    if without:
        names = listed([name[:40] or "(empty)" for name in dict.fromkeys(without)])
        text += f"; without one: {names}"
        findings.append(Finding("warning", place, text, "complete the reference values, or such spectra are left out"))
    else:
        findings.append(Finding("note", place, text))
    alone = [name for name in present if name and name not in wanted]
    if alone:
        text = f"{counted(len(alone), 'reference value')} without a spectrum: {listed([name[:40] for name in alone])}"
        findings.append(Finding("note", place, text))
    elif not without and sorted(spectra_ids) == sorted(target_ids):
        findings.append(Finding("note", place, "the ids are in another order in each file; rows are joined by id"))
    return [*findings, *_contradictions(targets, column)]


def _similar(place: str, wanted: dict[str, None], present: dict[str, None]) -> list[Finding]:
    """Return a warning about ids that differ in case, blanks, leading zeros or ``.0`` only."""
    plain = {plain_id(name): name for name in present if name not in wanted}
    pairs = [
        (name, plain[plain_id(name)]) for name in wanted if name and name not in present and plain_id(name) in plain
    ]
    if not pairs:
        return []
    examples = listed([f"{a[:40]!r} and {b[:40]!r}" for a, b in pairs[:MOST_NAMED]], len(pairs))
    text = f"{counted(len(pairs), 'id')} differ in case, blanks, leading zeros or '.0' only: {examples}"
    return [Finding("warning", place, text, "write them alike in both files")]


def plain_id(name: str) -> str:
    """Return an id in lower case without blanks, dashes, leading zeros and ``.0``."""
    text = re.sub(r"[\s_-]+", "", name.casefold())
    return re.sub(r"(?<![\d.])0+(?=\d)", "", re.sub(r"\.0+$", "", text))


def _contradictions(targets: CellTable, column: str) -> list[Finding]:
    """Return errors for ids with different reference values."""
    at = targets.labels.index(column)
    first: dict[str, tuple[int, list[str]]] = {}
    findings: list[Finding] = []
    for line, cells in targets.rows():
        name = cells[at].strip() if at < len(cells) else ""
        rest = [cell for i, cell in enumerate(cells) if i != at]
        before = first.setdefault(name, (line, rest))
        if name and before[1] != rest and len(findings) < MOST_NAMED:
            text = f"id {name[:40]!r} has other reference values in line {before[0]}"
            remedy = "keep one line of each id, or average them"
            findings.append(Finding("error", targets.place(line, column), text, remedy))
    return findings
