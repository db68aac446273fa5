"""Checks of tables of reference values, and of spectra and reference values together."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from nirs4all_vit.errors import SpectralInputError
from nirs4all_vit.spectra.cells import CellTable
from nirs4all_vit.spectra.checks import check_pair, check_target_file, id_column
from nirs4all_vit.spectra.targets import read_target_table
from tests.spectra.tables_of_errors import spoiled, table, targets

Y = "id,y\n" + "".join(f"A{i},{v}\n" for i, v in enumerate((11.2, 12.5, 10.9, 13.1, 11.8, 12.2, 12.9, 11.1)))
MANY = "y\n" + "".join(f"{i % 4}\n" for i in range(60))


def write(folder: Path, content: str | bytes, name: str = "y.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "severity", "about", "remedy"),
    [
        ("", "error", "y.csv: the file is empty", "its first line"),
        (Y.replace("A3", "é").encode("latin-1"), "error", "y.csv: the file is not UTF-8 text", "in UTF-8"),
        (Y.replace("10.9", "<0.5"), "error", "y.csv, line 4, column 'y': '<0.5' is not a number", "leave the cell"),
        (Y.replace("10.9", "n.d."), "error", "y.csv, line 4, column 'y': 'n.d.' is not a number", "leave the cell"),
        (Y.replace("10.9", '"1,234.5"'), "error", "y.csv, line 4, column 'y': '1,234.5' has a thousands", "remove"),
        (Y.replace("10.9", '"10,9"'), "error", "y.csv, line 4, column 'y': '10,9' has a decimal comma", "semicolons"),
        (Y.replace("10.9", "10,9"), "error", "y.csv, line 4: 3 values under 2 columns: a decimal comma", "semicolons"),
        (Y + "id,y\n" + Y[5:], "error", "y.csv, line 10, column 'y': 'y' is the header again", "remove such lines"),
        (Y + "A8\n", "error", "y.csv, line 10: 1 value under 2 columns", "complete the row"),
        (Y.replace("12.9\n", "12.9,\n"), "error", "y.csv, line 8: this row ends with ','", "end all rows"),
        ("y,y\n1,2\n", "error", "y.csv: two columns are named 'y'", "rename one"),
        ("id\nA1\nA2\n", "warning", "y.csv, line 1: there is no column of reference values", "write a column"),
        (Y.replace("y\n", "y,z\n", 1).replace(".", ".,", 0), "error", "y.csv, line 2: 2 values under 3", "complete"),
        ("no,y\n1,5.5\n2,6.5\n3,8.5\n", "warning", "y.csv: 'no' only numbers the rows", "remove the column"),
        ("y,z\n5.5,\n6.5,\n", "warning", "y.csv, column 'z': the column is empty in all rows", "remove it"),
        ("y;z\n5,5;7\n6.5;8\n6,7;9\n", "warning", "y.csv, line 3, column 'y': '6.5' has another decimal sign", "same"),
        ("y;z\n987;7\n1,024;8\n1,100;9\n", "warning", "column 'y': '1,024' beside '987' looks like a", "separators"),
        ("y\n5.5\n5.5\n5.5\n", "warning", "y.csv, column 'y': all 3 values are 5.5", "nothing to calibrate"),
        ("kind\noats\noats\n", "warning", "y.csv, column 'kind': all 2 values are 'oats'", "nothing to calibrate"),
        (Y.replace("10.9", "109"), "warning", "y.csv, line 4, column 'y': 109 is far outside", "decimal point"),
        (Y.replace("10.9", "inf"), "warning", "y.csv, line 4, column 'y': 'inf' is infinite", "leave the cell empty"),
        ("k\nrye\noats\nrye\nrye\n", "warning", "y.csv, line 3, column 'k': 1 class of one sample: oats", "join"),
        ("k\nrye\nRye\nrye\nRye\n", "warning", "y.csv, column 'k': 'rye' and 'Rye' differ in case", "write classes"),
        ("a,k\n1,b 1\n3,b 2\n4,b 3\n", "warning", "y.csv, line 2, column 'k': 3 classes of one sample", "join"),
        (Y.replace("A4", "A3"), "warning", "y.csv, line 6, column 'id': 1 id in several rows: 'A3'", "correct them"),
        ("y\n1.5\n\n2.5\n3.5\n", "warning", "y.csv, line 3: 1 blank line skipped", "write NA"),
        (MANY, "note", "4 distinct values in 60 rows (0, 1, 2 and 3) look like classes", ""),
        (Y.replace("10.9", ""), "note", "y.csv, column 'y': 1 of 8 values are missing (lines 4)", ""),
        ("k\nrye\noats\nrye\noats\n", "note", "no column holds numbers", ""),
    ],
)  # fmt: skip
def test_findings_name_place_and_remedy(
    content: str | bytes, severity: str, about: str, remedy: str, tmp_path: Path
) -> None:
    findings = check_target_file(write(tmp_path, content))
    chosen = [f for f in findings if f.severity == severity and about in str(f)]
    assert len(chosen) == 1, "\n".join(map(str, findings))
    assert remedy in chosen[0].remedy
    assert severity == "error" or not any(f.severity == "error" for f in findings)


@pytest.mark.parametrize(
    "content",
    [
        Y,
        targets(),
        Y.replace(",", ";").replace(".", ","),
        Y.replace(",", "\t"),
        "\ufeff" + Y.replace("\n", "\r\n"),
        Y.replace("\n", ",\n"),
        Y.replace("11.8", ""),
        Y.replace("id", "meta_id"),
        "kind\n" + "oats\nrye\n" * 4,
        "y\n" + "".join(f"{v}\n" for v in np.exp(np.random.default_rng(0).normal(0, 1, 200)).round(3)),
    ],
)
def test_valid_tables_have_notes_only(content: str, tmp_path: Path) -> None:
    findings = check_target_file(write(tmp_path, content))
    assert all(f.severity == "note" for f in findings), "\n".join(map(str, findings))


def test_ids_may_be_named(tmp_path: Path) -> None:
    path = write(tmp_path, "pot,y\n1,5.5\n2,6.5\n3,8.5\n")
    assert any("only numbers the rows" in f.message for f in check_target_file(path))
    assert {f.severity for f in check_target_file(path, ids="pot")} == {"note"}
    (finding,) = check_target_file(path, ids="ID")
    assert str(finding) == "y.csv: no column is named 'ID'; name one of those in the header with --id."


@pytest.mark.parametrize("start", range(0, 180, 60))
def test_errors_are_what_the_reader_refuses(start: int, tmp_path: Path) -> None:
    outcomes = set()
    for seed in range(start, start + 60):
        path = write(tmp_path, spoiled(targets(), seed))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                opened = CellTable.open(path, targets=True)
                ids = id_column(opened.labels, [cells for _, cells in opened.sample])
                read_target_table(path, [] if ids is None else [ids])
                accepted = True
            except SpectralInputError:
                accepted = False
        errors = [f for f in check_target_file(path) if f.severity == "error"]
        assert accepted == (not errors), (seed, errors)
        outcomes.add(accepted)
    assert outcomes == {True, False}


SPECTRA = table(ids="id")
REFERENCE = targets()
BACKWARDS = "\n".join([REFERENCE.split("\n")[0], *reversed(REFERENCE.strip().split("\n")[1:])]) + "\n"


@pytest.mark.parametrize(
    ("spectra", "reference", "severity", "message", "remedy"),
    [
        (SPECTRA, REFERENCE, "note", "the 8 rows of both files have the same ids in the same order", ""),
        (SPECTRA, BACKWARDS, "note", "the ids are in another order in each file", ""),
        (SPECTRA, targets(6), "warning", "6 of 8 spectra have a target; without one: A7 and A8", "are left out"),
        (table(6, ids="id"), REFERENCE, "note", "2 reference values without a spectrum: A7 and A8", ""),
        (
            SPECTRA,
            REFERENCE.replace("A7", "a07").replace("A8", "A 8.0"),
            "warning",
            "'A7' and 'a07', 'A8' and 'A 8.0'",
            "alike",
        ),
        (SPECTRA, REFERENCE.replace("A", "B"), "error", "no id is in both files ('A1' and 'B1'", "write ids alike"),
        (SPECTRA, targets(6).replace("A", "B"), "error", "8 spectra and 6 reference values", "ids alike"),
        (
            SPECTRA,
            BACKWARDS.replace("A2", "A1"),
            "error",
            "id 'A1' has other reference values in line 8",
            "one line of each",
        ),
        (table(), REFERENCE, "note", "joined by order: 8 rows in each", ""),
        (table(9), REFERENCE, "error", "9 spectra in x.csv, but 8 rows in y.csv", "a column of ids into both"),
        (table() + "\n\n", Y.replace("\n", "\n\n"), "note", "joined by order: 8 rows in each", ""),
        ("", REFERENCE, "error", "the file is empty", ""),
    ],
)  # fmt: skip
def test_pairs(spectra: str, reference: str, severity: str, message: str, remedy: str, tmp_path: Path) -> None:
    findings = check_pair(write(tmp_path, spectra, "x.csv"), write(tmp_path, reference))
    chosen = [
        f for f in findings if f.severity == severity and message in f.message.replace(" and 'A8' and", ", 'A8' and")
    ]
    assert len(chosen) == 1, "\n".join(map(str, findings))
    assert remedy in chosen[0].remedy
    assert severity == "error" or not any(f.severity == "error" for f in findings)


def test_pairs_with_a_named_column_of_ids(tmp_path: Path) -> None:
    x, y = write(tmp_path, table(ids="pot"), "x.csv"), write(tmp_path, REFERENCE.replace("sample", "pot"))
    assert "same ids" in check_pair(x, y, ids="pot")[0].message
    assert "neither file has a column named 'no'" in check_pair(x, y, ids="no")[0].message
    y = write(tmp_path, REFERENCE.replace("sample", "pot").replace("A", "B"))
    assert [f.severity for f in check_pair(x, y, ids="pot")] == ["error"]
