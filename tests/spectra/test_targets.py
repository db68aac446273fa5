"""Tables of reference values: values, columns left out, errors."""

from __future__ import annotations

import warnings
from pathlib import Path

import pandas as pd
import pytest

from nirs4all_vit.errors import SpectralInputError
from nirs4all_vit.spectra.targets import read_target_table


@pytest.mark.parametrize(
    "text",
    [
        "protein,kind\n10.5,oats\n11,rye\n,rye\n12.25,rye\n",
        "protein,kind,\n10.5,oats,\n11,rye,\n,rye,\n12.25,rye,\n",
        "protein,kind\n10.5,oats,\n11,rye,\n,rye,\n12.25,rye,\n",
        "protein;kind;empty\n10,5;oats;\n11;rye;\n;rye;\n12,25;rye;\n",
        "\ufeffprotein\tkind\n10.5\toats\n11\trye\nNA\trye\n12.25\trye\n",
    ],
)
def test_values(text: str, tmp_path: Path) -> None:
    (tmp_path / "y.csv").write_text(text, "utf-8")
    table = read_target_table(tmp_path / "y.csv")
    assert list(table) == ["protein", "kind"]
    assert table["protein"].tolist()[:2] == [10.5, 11.0]
    assert table["protein"].isna().tolist() == [False, False, True, False]
    assert table["kind"].tolist() == ["oats", "rye", "rye", "rye"]


@pytest.mark.parametrize("text", [",y\n0,5\n1,6\n2,8\n", "no,y\n1,5\n2,6\n3,8\n"])
def test_numbers_of_rows_are_no_target(text: str, tmp_path: Path) -> None:
    (tmp_path / "y.csv").write_text(text)
    with pytest.warns(UserWarning, match=r"y\.csv: '(no)?' only numbers the rows, and is left out"):
        table = read_target_table(tmp_path / "y.csv")
    pd.testing.assert_frame_equal(table, pd.DataFrame({"y": [5, 6, 8]}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"y\.csv is empty"),
        ("humidit\xe9\n1\n".encode("latin-1"), r"y\.csv is not UTF-8 text; save it as CSV in UTF-8"),
        (b"a,b\n1,2\n3\n", r"y\.csv, line 3: 1 values under 2 columns"),
        (b"a,b\n1,2,3\n", r"y\.csv, line 2: 3 values under 2 columns"),
        (b"a,a\n1,2\n", r"two columns are named 'a'"),
        (b"a\n1\n<2\n3\n4\n", r"column 'a': '<2' is not a number"),
    ],
)
def test_invalid_tables_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "y.csv").write_bytes(content)
    with pytest.raises(SpectralInputError, match=message):
        read_target_table(tmp_path / "y.csv")


def test_columns_that_are_no_targets_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "y.csv").write_text("meta_no,piece,y\n1,1,5\n2,2,6\n3,3b,8\n4,4,9\n")
    table = read_target_table(tmp_path / "y.csv", ["piece"])
    assert table["meta_no"].tolist() == [1, 2, 3, 4]
    assert table["piece"].tolist() == ["1", "2", "3b", "4"]
    with pytest.raises(SpectralInputError, match="column 'piece': '3b' is not a number"):
        read_target_table(tmp_path / "y.csv")


@pytest.mark.xbank
def test_the_tables_of_the_bank_are_read(x_bank: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in sorted((x_bank.parent / "y_bank").glob("*.csv")):
            assert len(read_target_table(path)), path.name
