"""Checks of tables of spectra: errors name place and remedy, valid tables have notes only."""

from __future__ import annotations

import gzip
import re
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nirs4all_vit.errors import SpectralAxisError, SpectralInputError
from nirs4all_vit.spectra.cells import CellTable
from nirs4all_vit.spectra.checks import Finding, check_spectra_file, id_column
from nirs4all_vit.spectra.tables import open_table
from tests.spectra.tables_of_errors import NM, spectra, spoiled, table

UNORDERED = np.array([1100.0, 1350, 1123, 1400, 1181, 1507, 1190, 1644, 1211, 1702, 1219, 1333])
LONG = np.arange(1100.0, 2100.0, 10.0)


def changed(text: str, line: int, column: int, cell: str, sep: str = ",") -> str:
    """Return a table with one cell changed; lines count from 1, columns from 0."""
    lines = text.split("\n")
    cells = lines[line - 1].split(sep)
    cells[column] = cell
    return "\n".join([*lines[: line - 1], sep.join(cells), *lines[line:]])


def row(text: str, line: int, edit: Callable[[np.ndarray], np.ndarray]) -> str:
    """Return a table with one spectrum changed."""
    lines = text.split("\n")
    values = edit(np.array(lines[line - 1].split(","), dtype=float))
    lines[line - 1] = ",".join(f"{v:.6g}" for v in values)
    return "\n".join(lines)


def column(text: str, at: int, name: str, cells: str) -> str:
    """Return a table with one more column."""
    lines = [line.split(",") for line in text.strip().split("\n")]
    for i, line in enumerate(lines):
        line.insert(at, cells.format(i) if i else name)
    return "\n".join(map(",".join, lines)) + "\n"


def turned(text: str) -> str:
    return "\n".join(map(",".join, zip(*(line.split(",") for line in text.strip().split("\n")), strict=True))) + "\n"


def plateau(x: np.ndarray) -> np.ndarray:
    return np.minimum(x, np.sort(x)[-25])


T, L = table(), table(nm=LONG)

WRONG: dict[str, tuple[str | bytes, dict, str, str, str]] = {
    "transposed": (turned(table(ids="nm")), {}, "error", "t.csv, column 'nm'", "each row is a spectrum"),
    "transposed, no header": (turned(T), {}, "error", "wavelengths are in the first column", "transpose it"),
    "no header": (T.partition("\n")[2], {}, "error", "t.csv, line 1: the first line is a spectrum", "write the wave"),
    "preamble": ("made by;X\n\n" + T, {}, "error", "t.csv, line 3: the axis is here", "(lines 1 to 2)"),
    "blank first line": ("\n" + T, {}, "error", "t.csv, line 2: the header is here", "remove the lines above"),
    "targets": (column(T, 12, "protein", "1{}.5"), {}, "error", "t.csv, column 'protein'", "--drop 'protein'"),
    "text": (column(T, 3, "kind", "oats"), {}, "error", "t.csv, column 'kind': the column is not", "--drop 'kind'"),
    "two texts": (column(column(T, 0, "a", "a{}"), 0, "b", "b{}"), {}, "error", "column 'b'", "--id 'b'"),
    "no such id": (T, {"ids": "no"}, "error", "t.csv: no column is named 'no'", "--id"),
    "nothing to drop": (T, {"drop": ["no"]}, "error", "t.csv: the file has no column 'no' to drop", ""),
    "decimal commas": (
        re.sub(r"0\.(\d+)", r'"0,\1"', T),
        {},
        "error",
        "has a decimal comma, but commas separate the columns (96 cells)",
        "semicolons",
    ),
    "quoted decimal comma": (
        changed(T, 3, 2, '"0,31"'),
        {},
        "error",
        "t.csv, line 3, column '1200': '0,31' has a decimal comma",
        "semicolons",
    ),
    "bare decimal commas": (T.replace("0.", "0,"), {}, "error", "t.csv, line 2: 24 values under 12", "semicolons"),
    "thousands": (changed(T, 3, 2, '"1,234.5"'), {}, "error", "column '1200': '1,234.5' has a thousands", "remove"),
    "thousands in the header": (
        table(sep=";", label="{:,.0f}"),
        {},
        "error",
        "t.csv, line 1: '1,100', '1,150', '1,200', '1,250', '1,300' and 7 more contain thousands separators",
        "remove such separators",
    ),
    "mixed signs": (
        changed(table(sep=";", decimal=","), 4, 1, "0.31", ";"),
        {},
        "error",
        "t.csv, line 4, column '1150': '0.31' has another decimal sign",
        "the same sign",
    ),
    "bars": (T.replace(",", "|"), {}, "error", "t.csv, line 1: columns are separated by '|'", "save it with"),
    "blanks": (T.replace(",", " "), {}, "error", "t.csv, line 1: columns are separated by blanks", "save it with"),
    "two delimiters": (
        T.partition("\n")[0] + "\n" + T.partition("\n")[2].replace(",", ";"),
        {},
        "error",
        "t.csv, line 2: values are separated by ';'",
        "in all lines",
    ),
    "Latin-1": (changed(T, 3, 2, "é").encode("latin-1"), {}, "error", "t.csv, line 3: not UTF-8", "in UTF-8"),
    "UTF-16": (T.encode("utf-16"), {}, "error", "t.csv: the file is not UTF-8 text but UTF-16", "in UTF-8"),
    "empty": ("", {}, "error", "t.csv: the file is empty", "its first line"),
    "header only": (T.partition("\n")[0] + "\n", {}, "error", "no spectrum below the header", ""),
    "short row": (T.replace("\n", ",\n", 5).replace(",\n", "\n", 4), {}, "error", "t.csv, line 5", "complete the row"),
    "cut row": (T.rsplit(",", 3)[0] + "\n", {}, "error", "t.csv, line 9: 9 values under 12", "complete the row"),
    "shifted row": (
        changed(column(T, 12, "", ""), 4, 12, "0.5"),
        {},
        "error",
        "t.csv, line 4: a value in a column without a name: a shifted row",
        "move the row back",
    ),
    "shifted ids": (
        changed(changed(table(ids="id"), 4, 0, ""), 4, 1, "A3"),
        {},
        "error",
        "t.csv, line 4, column '1100': 'A3' is not a number, and the id is empty",
        "move the row back",
    ),
    "header again": (T + T.replace("0.", "1."), {}, "error", "t.csv, line 10: the header again", "remove such"),
    "words": (changed(T, 7, 0, "n.d."), {}, "error", "t.csv, line 7, column '1100': 'n.d.' is not", "leave the cell"),
    "empty row": (
        T + "," * 11 + "\n" + T.splitlines()[5] + "\n",
        {},
        "error",
        "t.csv, line 10: the row is empty",
        "remove the line",
    ),
    "fill value": (changed(T, 5, 3, "-9999"), {}, "error", "t.csv, line 5: -9999 at 1250 nm", "replace fill values"),
    "absurd": (changed(T, 5, 3, "1e31"), {}, "error", "t.csv, line 5: 1e+31 at 1250 nm", "replace such points"),
    "infinity": (changed(T, 5, 3, "inf"), {}, "error", "t.csv, line 5: inf at 1250 nm", "replace such points"),
    "mostly missing": (
        changed(T, 5, 0, "," * 9).replace(",,,,,,,,,,", ",,,,,,,,,", 1).replace("\n,,,,,,,,,0", "\n,,,,,,,0"),
        {},
        "error",
        "t.csv, line 5",
        "",
    ),
    "repeated wavelength": (changed(T, 1, 2, "1150"), {}, "error", "line 1: wavelength 1150 occurs more", "merge"),
    "mistyped wavelength": (
        changed(T, 1, 3, "11250"),
        {},
        "error",
        "t.csv, line 1, column 11250: 11250 is out of order beside 1200 and 1300",
        "correct the wavelength",
    ),
    "mistyped last wavelength": (changed(L, 1, 99, "2900"), {}, "warning", "t.csv, column '2900'", "if it is mistyped"),
    "unordered": (table(nm=UNORDERED), {}, "error", "t.csv, line 1: the axis neither ascends", "order"),
    "late shifted row": (
        changed(column(table(120), 12, "", ""), 115, 12, "0.5"),
        {},
        "error",
        "t.csv, line 115: '0.5' in a column without a name",
        "move the row back",
    ),
    "out of range": (table(nm=NM / 10), {"axis_unit": "nm"}, "error", "line 1: 110, 115, 120, 125", "--axis-unit"),
    "column numbers": (table(nm=np.arange(12.0)), {}, "error", "t.csv, line 1: the header numbers", "write the wave"),
    "nm for cm-1": (table(nm=np.arange(4e3, 9e3, 400)), {"axis_unit": "nm"}, "warning", "looks like cm-1", "correct"),
    "cm-1 for nm": (T, {"axis_unit": "cm-1"}, "warning", "t.csv, line 1: the unit of the axis is cm-1", "--axis-unit"),
    "copies": (T + "\n".join(T.split("\n")[2:4]) + "\n", {}, "warning", "lines 3 and 10 have the same values", "keep"),
    "repeated ids": (changed(table(ids="id"), 5, 0, "A1"), {}, "warning", "t.csv, line 5, column 'id'", "correct them"),
    "missing id": (changed(table(ids="id"), 5, 0, ""), {}, "warning", "line 5, column 'id': 1 row without", "write"),
    "dead": (row(T, 4, lambda x: 0 * x), {}, "warning", "t.csv, line 4: the spectrum is constant", "drop such spectra"),
    "clipped": (row(L, 4, plateau), {}, "warning", "t.csv, line 4: the spectrum is flat at its largest", "less light"),
    "16 bits": (
        pd.DataFrame(np.where(spectra() > 0.8, 65535, (spectra() * 6e4).round()), columns=NM).to_csv(index=False),
        {},
        "warning",
        "contain 65535",
        "leave such cells empty",
    ),
    "incomplete": (
        changed(changed(changed(T, 5, 1, ""), 5, 2, ""), 5, 4, ""),
        {},
        "warning",
        "t.csv, line 5: the spectrum lacks",
        "drop",
    ),
    "empty column": (column(T, 12, "1700", ""), {}, "warning", "t.csv, column '1700': the column is empty", "remove"),
    "constant column": (column(T, 12, "1700", "0.5"), {}, "warning", "column '1700': the column has the", "remove"),
    "percent": (row(T, 4, lambda x: 100 * x), {}, "warning", "t.csv, line 4: the spectrum is another kind", "convert"),
    "inverted": (row(T, 4, lambda x: 10**-x), {}, "warning", "t.csv, line 4: the spectrum is another kind", "convert"),
    "no last line end": (T[:-1], {}, "warning", "t.csv: the last line has no end", "if the file was cut"),
}  # fmt: skip


def write(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("name", WRONG)
def test_errors_and_warnings_name_place_and_remedy(name: str, tmp_path: Path) -> None:
    content, options, severity, about, remedy = WRONG[name]
    findings = check_spectra_file(write(tmp_path, content), **options)
    chosen = [f for f in findings if f.severity == severity and about in str(f)]
    assert len(chosen) == 1, "\n".join(map(str, findings))
    assert remedy in f"{chosen[0].message}; {chosen[0].remedy}"
    assert chosen[0].place.startswith("t.csv")
    assert severity == "error" or not any(f.severity == "error" for f in findings)
    for finding in findings:
        assert not finding.message.endswith("."), finding
        assert finding.severity != "note" or finding.remedy == ""
    assert len(set(map(str, findings))) == len(findings)


RIGHT: dict[str, tuple[str | bytes, dict, str]] = {
    "commas": (T, {}, "t.csv"),
    "semicolons, decimal commas": (table(sep=";", decimal=",", label="{:.1f}"), {}, "t.csv"),
    "tabs": (table(sep="\t"), {}, "t.csv"),
    "descending cm-1": (table(nm=np.arange(9000.0, 4000.0, -400)), {}, "t.csv"),
    "set to cm-1": (table(nm=np.arange(9000.0, 4000.0, -400)), {"axis_unit": "cm-1"}, "t.csv"),
    "um": (table(nm=NM / 1000), {"axis_unit": "um"}, "t.csv"),
    "BOM": ("\ufeff" + T, {}, "t.csv"),
    "CRLF": (T.replace("\n", "\r\n"), {}, "t.csv"),
    "gzip": (gzip.compress(T.encode()), {}, "t.csv.gz"),
    "ids": (table(ids="Sample ID"), {}, "t.csv"),
    "ids without a name": (table(ids=""), {}, "t.csv"),
    "ids under another name": (table(ids="Probe"), {}, "t.csv"),
    "ids that are named": (column(table(ids="Probe"), 1, "kind", "oats"), {"ids": "Probe", "drop": ["kind"]}, "t.csv"),
    "units": (table(label="{:g} nm"), {}, "t.csv"),
    "words": (table(label="spc.{:g}"), {}, "t.csv"),
    "missing cells": (changed(changed(T, 5, 3, ""), 7, 0, "NA"), {}, "t.csv"),
    "blank lines": (T.replace("\n", "\n\n", 4).replace("\n\n", "\n", 1), {}, "t.csv"),
    "delimiters at the end": (T.replace("\n", ",\n"), {}, "t.csv"),
    "one spectrum": ("\n".join(T.split("\n")[:2]) + "\n", {}, "t.csv"),
    "a gap": (table(nm=np.delete(LONG, slice(40, 60))), {}, "t.csv"),
    "percent": (pd.DataFrame((100 * spectra()).round(3), columns=NM).to_csv(index=False), {}, "t.csv"),
    "replicates": (
        table(ids="id").replace("A5", "A1").replace("A6", "A2").replace("A7", "A3").replace("A8", "A4"),
        {},
        "t.csv",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_valid_tables_have_notes_only(name: str, tmp_path: Path) -> None:
    content, options, file = RIGHT[name]
    findings = check_spectra_file(write(tmp_path, content, file), **options)
    assert all(f.severity == "note" for f in findings), "\n".join(map(str, findings))


def test_parquet(tmp_path: Path) -> None:
    frame = pd.DataFrame(spectra(), columns=[f"{v:g}" for v in NM])
    frame.insert(0, "id", [f"A{i}" for i in range(len(frame))])
    frame.to_parquet(tmp_path / "t.parquet")
    assert {f.severity for f in check_spectra_file(tmp_path / "t.parquet")} == {"note"}
    frame.iloc[3, 4] = np.inf
    frame.assign(kind="oats").to_parquet(tmp_path / "t.parquet")
    findings = [f for f in check_spectra_file(tmp_path / "t.parquet") if f.severity == "error"]
    assert "column 'kind': the column is not a wavelength, and holds text" in str(findings[0])
    assert "t.parquet, row 4: inf" in str(findings[1])
    write(tmp_path, b"PAR1nothing", "t.parquet")
    (finding,) = check_spectra_file(tmp_path / "t.parquet")
    assert "not a Parquet file" in finding.message


@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        ("descends from 9000 to 4200 cm-1", table(nm=np.arange(9000.0, 4000.0, -400)), {}),
        ("1 gap: 1490 to 1700", table(nm=np.delete(LONG, slice(40, 60))), {}),
        ("absorbance, or reflectance", table(nm=NM - 300), {}),
        ("absorbance", row(T, 2, lambda x: 2 * x), {}),
        ("in percent", pd.DataFrame(100 * spectra(), columns=NM).to_csv(index=False), {}),
        ("counts", pd.DataFrame(1e4 * spectra(), columns=NM).to_csv(index=False), {}),
        ("centred", pd.DataFrame(spectra() - spectra().mean(axis=1)[:, None], columns=NM).to_csv(index=False), {}),
        ("column of ids: 8 distinct values, from 'A1' to 'A8'", table(ids="id"), {}),
        ("4 ids of 4 are in several rows", RIGHT["replicates"][0], {}),
        ("1 of 96 values are missing", changed(T, 5, 3, ""), {}),
    ],
)
def test_notes(name: str, text: str, options: dict, tmp_path: Path) -> None:
    notes = [f for f in check_spectra_file(write(tmp_path, text), **options) if f.severity == "note"]
    assert any(name in str(f) for f in notes), "\n".join(map(str, notes))


def test_water_bands_distinguish_absorbance_and_reflectance(tmp_path: Path) -> None:
    nm = np.arange(1100.0, 2400.0, 10.0)
    rng = np.random.default_rng(0)
    A = 0.3 + rng.uniform(0.2, 0.4, (6, 1)) * sum(np.exp(-(((nm - at) / 60) ** 2)) for at in (1450.0, 1930.0))
    for values, kind in ((A, "absorbance (water"), (10**-A, "reflectance or transmittance as a fraction (water")):
        path = write(tmp_path, pd.DataFrame(values, columns=nm).to_csv(index=False))
        assert any(f"look like {kind}" in f.message for f in check_spectra_file(path))


def test_many_faults_are_named_and_counted(tmp_path: Path) -> None:
    text = table(40)
    for line in range(3, 33):
        text = changed(text, line, 2, "x")
    text = changed(text, 36, 0, "-9999")
    findings = check_spectra_file(write(tmp_path, text))
    errors = [str(f) for f in findings if f.severity == "error"]
    assert [f"line {line}, column '1200'" in error for line, error in zip(range(3, 8), errors, strict=False)] == [
        True
    ] * 5
    assert "25 more cells are not numbers" in errors[5]
    assert "line 36: -9999" in errors[6]
    assert len(errors) == 7
    assert [f.severity for f in findings] == sorted(
        (f.severity for f in findings), key=["error", "warning", "note"].index
    )


BASES = (
    T,
    table(sep=";", decimal=","),
    table(sep="\t", ids="id"),
    table(ids="Sample ID"),
    table(ids="", sep=";"),
    table(nm=1e7 / np.arange(4000.0, 10000.0, 500.0)[::-1], label="{:.1f}"),
)


@pytest.mark.parametrize("start", range(0, 240, 60))
def test_errors_are_what_the_reader_refuses(start: int, tmp_path: Path) -> None:
    """Accepted tables have no error, refused tables have at least one."""
    outcomes = set()
    for seed in range(start, start + 60):
        path = write(tmp_path, spoiled(BASES[seed % len(BASES)], seed))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                opened = CellTable.open(path)
                ids = id_column(opened.labels, [cells for _, cells in opened.sample])
                open_table(path, drop=[] if ids is None else [ids]).read()
                accepted = True
            except (SpectralInputError, SpectralAxisError):
                accepted = False
        errors = [f for f in check_spectra_file(path) if f.severity == "error"]
        assert accepted == (not errors), (seed, errors)
        outcomes.add(accepted)
    assert outcomes == {True, False}


def test_large_tables_take_seconds(tmp_path: Path) -> None:
    text = table(3000, np.linspace(1100.0, 2100.0, 500), ids="id", label="{:.6g}")
    start = time.perf_counter()
    assert all(f.severity == "note" for f in check_spectra_file(write(tmp_path, text)))
    findings = check_spectra_file(write(tmp_path, changed(text, 2900, 7, "x")))
    assert time.perf_counter() - start < 12.0  # 1.2 s alone
    assert sum(f.severity == "error" for f in findings) == 1


@pytest.mark.xbank
def test_tables_of_the_bank_have_no_error(x_bank: Path) -> None:
    for path in sorted(x_bank.glob("*.csv"))[::4]:
        assert not [f for f in check_spectra_file(path) if f.severity == "error"], path.name


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        check_spectra_file(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("labels", "cells", "ids", "expected"),
    [
        (["1100", "1200"], [["1", "2"]], None, None),
        (["Sample-ID", "1100"], [["1", "2"]], None, "Sample-ID"),
        (["meta_sample_id", "1100"], [["1", "2"]], None, "meta_sample_id"),
        (["protein", "NAME", "1100"], [["1.5", "a", "2"], ["2.5", "a", "3"]], None, "NAME"),
        (["", "1100"], [["17", "0.2"], ["18", "0.3"]], None, ""),
        (["", "1100"], [["0.17", "0.2"], ["0.18", "0.3"]], None, None),
        (["", "1100"], [["17", "0.2"], ["17", "0.3"]], None, None),
        (["Probe", "kind", "1100"], [["a1", "oats", "1"], ["a2", "oats", "2"]], None, "Probe"),
        (["Probe", "file no", "1100"], [["a1", "b1", "1"], ["a2", "b2", "2"]], None, None),
        (["label", "y"], [["oats", "1"]] * 6, None, None),
        (["kind", "y"], [["oats", "1"], ["rye", "2"], ["wheat", "3"]], None, None),
        (["id", "other", "1100"], [["1", "2", "3"]], "other", "other"),
    ],
)
def test_the_column_of_ids(labels: list[str], cells: list[list[str]], ids: str | None, expected: str | None) -> None:
    assert id_column(labels, cells, ids) == expected


def test_a_missing_column_of_ids_is_an_error() -> None:
    with pytest.raises(SpectralInputError, match="no column is named 'ID'; name one of those in the header with --id"):
        id_column(["id", "1100"], [["1", "2"]], "ID")


def test_a_finding_is_a_sentence() -> None:
    assert str(Finding("error", "t.csv, line 3", "'x' is not a number", "correct it")) == (
        "t.csv, line 3: 'x' is not a number; correct it."
    )
