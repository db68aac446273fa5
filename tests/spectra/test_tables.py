"""Tables of spectra: formats, invalid files, damaged files."""

from __future__ import annotations

import gzip
import io
import re
import zipfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nirs4all_vit import SpectralEmbedder
from nirs4all_vit.cli import main
from nirs4all_vit.errors import SpectralAxisError, SpectralInputError
from nirs4all_vit.spectra import tables
from nirs4all_vit.spectra.tables import open_table
from tests.conftest import make_spectra

NM = np.linspace(1100.0, 1300.0, 11)
X = np.random.default_rng(0).normal(0.5, 0.1, (7, 11)).round(6)


def frame(axis: np.ndarray = NM, values: np.ndarray = X) -> pd.DataFrame:
    return pd.DataFrame(values, columns=[f"{v:.8g}" for v in axis])


def test_formats_agree(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "a.csv", index=False)
    frame().to_csv(tmp_path / "b.csv.gz", index=False)
    frame().to_parquet(tmp_path / "c.parquet")
    decimal = frame().rename(columns=lambda name: f"{float(name):.1f}".replace(".", ","))
    decimal.to_csv(tmp_path / "d.csv", index=False, sep=";", decimal=",")
    frame().to_csv(tmp_path / "e.csv", index=False, encoding="utf-8-sig", lineterminator="\r\n")
    frame(1e7 / NM).to_csv(tmp_path / "f.csv", index=False)
    frame(NM[::-1], X[:, ::-1]).to_parquet(tmp_path / "g.parquet")
    for name in ("a.csv", "b.csv.gz", "c.parquet", "d.csv", "e.csv", "f.csv", "g.parquet"):
        table = open_table(tmp_path / name)
        np.testing.assert_allclose(table.wavelengths, NM, rtol=1e-6, err_msg=name)
        np.testing.assert_array_equal(table.read(), X, err_msg=name)


def test_columns_of_ids_are_ignored(tmp_path: Path) -> None:
    beside = frame().assign(protein=1.5)
    beside.insert(0, "id, local", [f"a,{i}" for i in range(len(X))])
    beside.to_csv(tmp_path / "a.csv", index=False)
    beside.to_csv(tmp_path / "b.csv", index=False, sep="\t", decimal=",")
    beside.to_parquet(tmp_path / "c.parquet")
    for name in ("a.csv", "b.csv", "c.parquet"):
        np.testing.assert_array_equal(
            open_table(tmp_path / name, drop=["protein", "id, local"]).read(), X, err_msg=name
        )
        with pytest.raises(SpectralInputError, match=r"column 'id, local' is not a wavelength; .* --drop 'id, local'"):
            open_table(tmp_path / name)
        with pytest.raises(SpectralInputError, match="has no column 'ID' to drop"):
            open_table(tmp_path / name, drop=["ID"])
    # A Parquet file stores the index as a column.
    frame().set_index(pd.Index(range(1, 8))).to_parquet(tmp_path / "d.parquet")
    np.testing.assert_array_equal(open_table(tmp_path / "d.parquet").read(), X)
    (tmp_path / "e.csv").write_text("1100,id\n1,2\n1,2,3\n")
    with pytest.raises(SpectralInputError, match="line 3"):
        open_table(tmp_path / "e.csv", drop=["id"]).read()
    with pytest.raises(SpectralInputError, match="all columns are dropped"):
        open_table(tmp_path / "e.csv", drop=["id", "1100"])


def test_chunks_join_to_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame().to_csv(tmp_path / "a.csv", index=False)
    frame().to_parquet(tmp_path / "a.parquet")
    monkeypatch.setattr(tables, "_CHUNK_VALUES", 2 * NM.size)
    for name in ("a.csv", "a.parquet"):
        chunks = list(open_table(tmp_path / name).chunks())
        assert [len(chunk) for chunk in chunks] == [2, 2, 2, 1]
        np.testing.assert_array_equal(np.concatenate(chunks), X)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1100,1200\n1,2\n3,x\n", r"t.csv, line 3: 'x' is not a number"),
        ("1100,1200\n1,2\n\n\n3,x\n", r"t.csv, line 5: 'x' is not a number"),
        ("1100,1200\n1,2\n,\n1,3\n", r"t.csv, line 3: X contains NaN at row 1: 100% of its points are missing"),
        ("1100,1200\n1,2\n3\n", r"t.csv, line 3: 1 values under 2 columns \(a cut or ragged row"),
        ("1100,1200\n1,2\n1,inf\n", r"t.csv, line 3: X contains inf at row 1, 1200 nm"),
        ("1100,1200\n1,2,3\n", r"t.csv, line 2: 3 values under 2 columns"),
        ("1100,1200\n1,2,\n3,4,5\n", r"t.csv, line 1: column '' is not a wavelength"),
        (",1100,1200\n0,1,2\n", r"t.csv, line 1: column '' is not a wavelength"),
        ("1100,1200\n1,2\n1100,1200\n1,2\n", r"t.csv, line 3: the header again, not a spectrum"),
        ('1100\t1200\n"1,024"\t987\n', r"t.csv: '1,024' beside '987' looks like a thousands separator"),
        ("1100;1200\n1.024;987\n", r"t.csv: '1.024' beside '987' looks like a thousands separator"),
        ("1100,1200\n1,2\n1,2,3\n", r"t.csv: Expected 2 fields in line 3, saw 3"),
        ("1100,1200\n1,2\nTrue,2\n", r"t.csv, line 3: 'True' is not a number"),
        ("1100,1200\nTrue,2\n", r"t.csv, line 2: 'True' is not a number"),
        ("1100,1200\n", r"t.csv: there is no spectrum below the header"),
        ("1100;1200\n1,234.5;2\n", r"t.csv, line 2: '1,234.5' is not a number"),
        ("id,1200\n1,2\n", r"t.csv, line 1: column 'id' is not a wavelength"),
        ("", r"t.csv is empty"),
        ("1100,1200\n3\n1,2\n", r"t.csv, line 2: 1 values under 2 columns"),
        ("1100,0;1102,0\n0,31;0,32\n0,31;0.32\n", r"t.csv, line 3: '0.32' is not a number; .* decimal comma"),
        ("1100,1200\n1,2\n1,1e39\n", r"t.csv, line 3: X contains 1e\+39 at row 1, 1200 nm, which no instrument gives"),
    ],
)
def test_broken_tables_name_the_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text.replace("\\t", "\t"))
    with pytest.raises(SpectralInputError, match=message):
        open_table(path).read()


def test_text_in_a_later_chunk_names_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_CHUNK_VALUES", 4)
    path = tmp_path / "t.csv"
    path.write_text("1100,1200\n" + "1,2\n" * 9 + "1,oops\n" + "1,2\n" * 3)
    with pytest.raises(SpectralInputError, match=r"t.csv, line 11: 'oops'"):
        open_table(path).read()
    path.write_text("1100,1200\n" + "1,2\n" * 9 + "1,2,3\n")
    with pytest.raises(SpectralInputError, match=r"line 11"):
        open_table(path).read()


def test_invalid_axes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("1100,1300,1200\n1,2,3\n")
    with pytest.raises(SpectralAxisError, match=r"t.csv: the header is not a wavelength axis: it neither ascends"):
        open_table(path)
    path.write_text("1100 nm,1200 nm\n1,2\n")
    # A spectrum that only rises, in place of the header.
    path.write_text("0.301,0.35,0.48\n0.3,0.4,0.5\n")
    with pytest.raises(SpectralAxisError, match=r"\(no header at all\?\); if it is in micrometres, set axis_unit um"):
        open_table(path)
    np.testing.assert_allclose(open_table(path, "um").wavelengths, [301, 350, 480])
    path.write_text("1.1um,1.2um\n0.3,0.4\n")
    np.testing.assert_allclose(open_table(path).wavelengths, [1100, 1200])
    path.write_text("1100 nm,1200 nm\n1,2\n")
    with pytest.raises(SpectralAxisError, match=r"set to cm-1, but the header is in nm"):
        open_table(path, "cm-1")


def test_cut_files(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "whole.csv.gz", "wt") as file:
        frame().to_csv(file, index=False)
    whole = (tmp_path / "whole.csv.gz").read_bytes()
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    frame().to_parquet(tmp_path / "whole.parquet")
    whole = (tmp_path / "whole.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "no.csv.gz").write_text("1100,1200\n1,2\n")
    (tmp_path / "utf16.csv").write_text("1100,1200\n1,2\n", encoding="utf-16")
    for name, message in (
        ("cut.csv.gz", r"cut.csv.gz is cut or not a gzip file"),
        ("no.csv.gz", r"no.csv.gz is cut or not a gzip file"),
        ("cut.parquet", r"cut.parquet is cut or not a Parquet file"),
        ("utf16.csv", r"utf16.csv is not UTF-8 text"),
    ):
        with pytest.raises(SpectralInputError, match=message):
            open_table(tmp_path / name).read()
    (tmp_path / "open.csv").write_text("1100,1200\n1,2\n3,4")
    with pytest.warns(UserWarning, match=r"open.csv: the last line has no end"):
        assert open_table(tmp_path / "open.csv").read().shape == (2, 2)


@pytest.mark.filterwarnings("ignore:.*the last line has no end")
@pytest.mark.parametrize(
    "text",
    [
        "1100,1200,\n1,2,\n3,4,\n",
        "1100,1200\n1,2,\n3,4,\n",
        ",1100,1200\n,1,2\n,3,4\n",
        "1100;1200\n1;2\n3,000;4,000\n",
        "1100;1200\n1,0;2,0\n3,0;4,0\n",
    ],
)
def test_delimiters_too_many_and_decimal_commas(text: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    assert open_table(tmp_path / "t.csv").read().tolist() == [[1, 2], [3, 4]]


def test_huge_lines_are_refused(tmp_path: Path) -> None:
    line = b"1" * (1 << 24)
    header = ",".join(map(str, range(1000, 1100))).encode()
    for name, content in (("header.csv", line), ("row.csv", b"1100,1200\n1,2\n3," + line)):
        (tmp_path / name).write_bytes(content)
        # 16 MB in 16 kB.
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
        for path in (tmp_path / name, tmp_path / f"{name}.gz"):
            with pytest.raises(SpectralInputError, match=r"line [13]: longer than 4,(194,304|224)"):
                open_table(path).read()
    # Lines of 2 MB under two columns, a million of which would be one chunk; an unclosed quote that
    # would swallow all lines below it.
    for name, content, message in (
        (
            "padded.csv.gz",
            b"1100,1200\n" + (b"0" * (1 << 21) + b"1,2\n") * 3,
            r"line 2: a value longer than any number",
        ),
        (
            "below.csv.gz",
            b"1100,1200\n1,2\n" + (b"0" * (1 << 21) + b"1,2\n") * 3,
            r"line 3: a value longer than any number",
        ),
        ("quote.csv.gz", b'1100,1200\n1,2\n"3' + b"\n" * (1 << 22), r"line 3: a quote that is not closed"),
    ):
        (tmp_path / name).write_bytes(gzip.compress(content))
        with pytest.raises(SpectralInputError, match=message):
            open_table(tmp_path / name).read()
    (tmp_path / "fine.csv").write_text('"1100","1200"\r"1","2"\r"3","4"\r')
    assert open_table(tmp_path / "fine.csv").read().tolist() == [[1, 2], [3, 4]]
    (tmp_path / "wide.csv").write_bytes(b",".join([header] * 600) + b"\n")
    with pytest.raises(SpectralInputError, match="60,000 columns; a table of spectra has 50,000 wavelengths at most"):
        open_table(tmp_path / "wide.csv")


def test_parquet_columns_of_text(tmp_path: Path) -> None:
    pd.DataFrame({"1100": [0.1, 0.2], "1200": ["a", "b"]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(SpectralInputError, match=r"t.parquet, row 1: 'a' is not a number"):
        open_table(tmp_path / "t.parquet").read()


def test_an_empty_cell_is_a_missing_point(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("1300,1200,1100\n1,2,3\n1,,3\n1,2,\nNaN,2,3\n")
    expected = [[3, 2, 1], [3, np.nan, 1], [np.nan, 2, 1], [3, 2, np.nan]]
    np.testing.assert_array_equal(open_table(tmp_path / "t.csv").read(), expected)


def turned(names: list[str]) -> pd.DataFrame:
    """Return a table with spectra in columns."""
    axis = np.arange(1100.0, 1250.0, 5.0)
    columns = pd.DataFrame(make_spectra(axis, len(names)).T, columns=names)
    return pd.concat([pd.Series(axis, name="wavelength"), columns], axis=1)


@pytest.mark.parametrize("names", [list("abcdef"), list("123456"), ["1101", "1102", "1103", "1104"]])
@pytest.mark.parametrize(
    "kind", ["t.csv", "t.csv.gz", "t.parquet", "index.parquet", "nameless.csv", "nameless.parquet"]
)
def test_a_transposed_table_gets_one_hint(names: list[str], kind: str, tmp_path: Path) -> None:
    if kind.startswith("nameless") and names[0] == "1101":
        names = list("abcd")  # indistinguishable from a table with ids beside its axis
    table, path = turned(names), tmp_path / kind
    if kind.startswith("nameless"):
        table = table.set_index("wavelength").rename_axis(None)
    elif kind.startswith("index"):
        table = table.set_index("wavelength")
    if kind.endswith("parquet"):
        table.to_parquet(path)
    else:
        table.to_csv(path, index=kind.startswith("nameless"))
    with pytest.raises(
        SpectralInputError, match=r"wavelengths run down .*, and spectra are columns; transpose the table"
    ) as caught:
        open_table(path)
    for other_hint in ("--drop", "no header", "between columns", "micrometres"):
        assert other_hint not in str(caught.value)


@pytest.mark.parametrize("names", [list("abcdef"), list("123456"), ["1101", "1102", "1103", "1104"]])
def test_a_transposed_data_frame_gets_one_hint(names: list[str]) -> None:
    table = turned(names)
    embedder = SpectralEmbedder(readout="mean")
    message = (
        r"avelengths run down column 'wavelength', and spectra are columns; transpose the table: "
        r"X.set_index\('wavelength'\).T\."
    )
    if names[0] == "a":
        with pytest.warns(UserWarning, match=message) as caught:
            embedder.fit(table)
        text = str(caught[0].message)
    else:
        with pytest.raises(SpectralAxisError, match=message) as error:
            embedder.fit(table)
        text = str(error.value)
    for other_hint in ("wavelengths=", "drop", "index_col", "not read as"):
        assert other_hint not in text
    np.testing.assert_array_equal(embedder.fit(table.set_index("wavelength").T).wavelengths_, table["wavelength"])


def test_numbers_of_samples_are_no_wavelengths(tmp_path: Path) -> None:
    """They are ids if the header is an axis."""
    table = frame()
    table = pd.concat([table] * 5, ignore_index=True)
    table.insert(0, "sample", np.arange(1000, 1000 + len(table)))
    table.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(SpectralInputError, match=r"column 'sample' is not a wavelength; .* --drop 'sample'"):
        open_table(tmp_path / "t.csv")
    with pytest.raises(SpectralAxisError, match="column 'sample' is not a wavelength; drop it"):
        SpectralEmbedder().fit(table)


def test_parquet_columns_without_values(tmp_path: Path) -> None:
    """Like empty columns of a CSV file, they are missing points of all spectra."""
    path = tmp_path / "t.parquet"
    names = [f"{nm:g}" for nm in NM]
    empty = {
        "null": pa.nulls(7),
        "decimal": pa.array([None] * 7, pa.decimal128(5, 2)),
        "text": pa.array([None] * 7, pa.string()),
        "float": pa.array([None] * 7, pa.float64()),
    }
    expected = X.copy()
    expected[:, 3] = np.nan
    for kind, column in empty.items():
        columns = [column if i == 3 else pa.array(X[:, i]) for i in range(NM.size)]
        pq.write_table(pa.table(columns, names=names), path)
        np.testing.assert_array_equal(open_table(path).read(), expected, err_msg=kind)
    pq.write_table(pa.table([pa.nulls(7)] * NM.size, names=names), path)
    with pytest.raises(SpectralInputError, match=r"t\.parquet, row 1: .*100% of its points are missing"):
        open_table(path).read()
    decimals = [pa.array([Decimal("0.5"), None, Decimal("0.25")])] * NM.size
    pq.write_table(pa.table(decimals[:1] + [pa.array([0.5, 1.0, 0.25])] * (NM.size - 1), names=names), path)
    assert open_table(path).read()[:, 0].tolist() == pytest.approx([0.5, np.nan, 0.25], nan_ok=True)
    pq.write_table(pa.table([pa.array([None, "x"])] * NM.size, names=names), path)
    with pytest.raises(SpectralInputError, match=r"t\.parquet, row 2: 'x' is not a number"):
        open_table(path).read()
    assert main(["embed", str(path), "-o", str(tmp_path / "o.npy")]) == 1


def workbook() -> bytes:
    """Return a ZIP archive in place of a workbook."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("xl/worksheets/sheet1.xml", "<sheet/>" * 1000)
    return content.getvalue()


@pytest.mark.parametrize("ending", ["cut", "altered", "longer"])
@pytest.mark.parametrize("name", ["t.parquet", "t.csv.gz", "t.xlsx", "t.csv"])
def test_damaged_ends_are_one_sentence(name: str, ending: str, tmp_path: Path, capsys) -> None:
    path = tmp_path / name
    if name == "t.parquet":
        frame().to_parquet(path)
    elif name == "t.csv.gz":
        frame().to_csv(path, index=False)
    else:
        path.write_bytes(workbook())
    content = path.read_bytes()
    n = len(content)
    damaged = {
        "cut": [content[:-k] for k in (1, 2, 4, 7, 8, 9, 100, n // 2, n - 6)],
        "altered": [
            content[:-k] + bytes([content[-k] ^ 0x55]) + content[len(content) - k + 1 :] for k in (1, 4, 5, 8, 9)
        ],
        "longer": [content + b"more of it"],
    }[ending]
    remedy = {"t.parquet": "fetch it again", "t.csv.gz": "fetch it again"}.get(name, "save the sheet as CSV in UTF-8")
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(SpectralInputError, match=rf"{re.escape(name)}.*{remedy}\.$") as caught:
            open_table(path).read()
        assert "\n" not in str(caught.value)
        assert main(["embed", str(path), "-o", str(tmp_path / "o.npy")]) == 1
        assert name in capsys.readouterr().err


def test_files_under_another_name(tmp_path: Path) -> None:
    frame().to_parquet(tmp_path / "p.parquet")
    (tmp_path / "p.parquet").rename(tmp_path / "p.csv")
    frame().to_csv(tmp_path / "g.csv.gz", index=False)
    (tmp_path / "g.csv.gz").rename(tmp_path / "g.csv")
    (tmp_path / "old.csv").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    for name, message in (("p", "Parquet file; let its name"), ("g", "gzipped; let its name"), ("old", "a workbook")):
        with pytest.raises(SpectralInputError, match=rf"{name}\.csv is .*{message}"):
            open_table(tmp_path / f"{name}.csv")
