"""Reading of spectra and reference values from files, frames and arrays, and joining them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nirs4all_vit.calibration.reading import join, read_spectra, read_targets
from nirs4all_vit.errors import SpectralAxisError, SpectralInputError
from tests.calibration.data import NM, make, write

X, TABLE = make(20)


def joined(spectra: Any, targets: Any, *, groups: str | None = None, ids: str | None = None) -> Any:
    keep = [] if groups is None else [groups]
    table, column, _ = read_targets(targets, ids=ids, keep=keep)
    return join(read_spectra(spectra, ids=ids, others=keep), table, column, groups)


def frame(**columns: Any) -> pd.DataFrame:
    table = pd.DataFrame(X, columns=[f"{nm:g}" for nm in NM])
    for k, (name, values) in enumerate(columns.items()):
        table.insert(k, name, values)
    return table


def test_a_table_with_ids(tmp_path: Path) -> None:
    read = read_spectra(write(tmp_path, 20)[0])
    np.testing.assert_array_equal(read.values, X)
    np.testing.assert_allclose(read.wavelengths, NM)
    assert read.has_ids
    assert list(read.ids[:2]) == ["S000", "S001"]
    assert (read.axis_unit, read.signal, read.notes) == ("nm", "", ())
    assert list(read.hashes) == ["spectra.csv"]


def test_wavenumbers(tmp_path: Path) -> None:
    pd.DataFrame(X, columns=[f"{1e7 / nm:.4f}" for nm in NM]).to_csv(tmp_path / "s.csv", index=False)
    read = read_spectra(tmp_path / "s.csv")
    assert read.axis_unit == "cm-1"
    np.testing.assert_allclose(read.wavelengths, NM, rtol=1e-6)
    np.testing.assert_array_equal(read.values, X)
    assert not read.has_ids
    assert list(read.ids[:2]) == ["1", "2"]


@pytest.mark.parametrize("source", ["frame", "index", "array", "npy"])
def test_the_same_from_memory(source: str, tmp_path: Path) -> None:
    if source == "frame":
        read = read_spectra(frame(sample=TABLE["sample"]))
    elif source == "index":
        read = read_spectra(frame().set_index(TABLE["sample"]))
    elif source == "array":
        read = read_spectra(X, wavelengths=NM)
    else:
        np.save(tmp_path / "x.npy", X)
        np.save(tmp_path / "nm.npy", NM)
        read = read_spectra(tmp_path / "x.npy", wavelengths=tmp_path / "nm.npy")
    np.testing.assert_array_equal(read.values, X)
    np.testing.assert_allclose(read.wavelengths, NM)
    assert read.has_ids == (source in ("frame", "index"))


def test_per_cent_becomes_absorbance() -> None:
    percent = 100.0 * 10.0**-X
    read = read_spectra(percent, wavelengths=NM)
    np.testing.assert_allclose(read.values, X, atol=1e-12)
    assert read.signal == "absorbance"
    assert "read as per cent of reflectance" in read.notes[0]
    # Values below 1 may be fractions of reflectance or absorbance.
    np.testing.assert_array_equal(read_spectra(percent / 100, wavelengths=NM).values, percent / 100)


def test_an_instruments_files(tmp_path: Path) -> None:
    for k in range(4):
        lines = [
            "##TITLE=s",
            "##JCAMP-DX=4.24",
            "##DATA TYPE=INFRARED SPECTRUM",
            "##XUNITS=NANOMETERS",
            "##YUNITS=ABSORBANCE",
        ]
        lines += [
            f"##FIRSTX={NM[0]}",
            f"##LASTX={NM[-1]}",
            f"##NPOINTS={len(NM)}",
            "##XFACTOR=1",
            "##YFACTOR=1e-6",
            f"##DELTAX={NM[1] - NM[0]}",
        ]
        lines += ["##XYDATA=(X++(Y..Y))", *(f"{nm} {round(v * 1e6)}" for nm, v in zip(NM, X[k], strict=True)), "##END="]
        (tmp_path / f"S{k:03d}.jdx").write_text("\n".join(lines) + "\n")
    read = read_spectra(tmp_path)
    np.testing.assert_allclose(read.values, X[:4], atol=1e-6)
    np.testing.assert_allclose(read.wavelengths, NM)
    assert list(read.ids) == ["S000", "S001", "S002", "S003"]
    pairs = joined(tmp_path, TABLE)
    np.testing.assert_array_equal(pairs.table["protein"], TABLE["protein"][:4])
    assert "16 rows of reference values have no spectrum" in pairs.notes[1]


def test_by_id_in_any_order(tmp_path: Path) -> None:
    spectra, targets = write(tmp_path, 20)
    shuffled = TABLE.sample(frac=1, random_state=0)
    shuffled.to_csv(targets, index=False)
    pairs = joined(spectra, targets)
    np.testing.assert_array_equal(pairs.table["protein"], TABLE["protein"])
    assert pairs.notes == ("20 of 20 spectra have reference values by id",)
    assert list(pairs.groups) == list(TABLE["sample"])


def test_ids_that_look_like_numbers(tmp_path: Path) -> None:
    """Leading zeros of ids are significant."""
    ids = [f"{k:03d}" for k in range(20)]
    frame(sample=ids).to_csv(tmp_path / "s.csv", index=False)
    TABLE.assign(sample=ids).iloc[::-1].to_csv(tmp_path / "t.csv", index=False)
    pairs = joined(tmp_path / "s.csv", tmp_path / "t.csv")
    np.testing.assert_array_equal(pairs.table["protein"], TABLE["protein"])
    assert list(pairs.groups[:2]) == ["000", "001"]


def test_spectra_without_values_are_named() -> None:
    pairs = joined(frame(sample=TABLE["sample"]), TABLE.iloc[3:18])
    assert pairs.table["protein"].isna().sum() == 5
    assert pairs.notes[0] == "15 of 20 spectra have reference values by id; none for S000, S001, S002, S018, S019"


def test_replicates_share_values_and_a_group() -> None:
    twice = pd.concat([frame(sample=TABLE["sample"])] * 2, ignore_index=True)
    pairs = joined(twice, TABLE)
    np.testing.assert_array_equal(pairs.table["protein"], np.tile(TABLE["protein"], 2))
    assert len(np.unique(pairs.groups)) == 20


@pytest.mark.parametrize("side", ["spectra", "targets"])
def test_groups_of_either_table(side: str) -> None:
    names = np.repeat(["a", "b", "c", "d"], 5)
    spectra = frame(lot=names) if side == "spectra" else frame()
    targets = TABLE[["protein"]].assign(**({"lot": names} if side == "targets" else {}))
    assert list(joined(spectra, targets, groups="lot").groups) == list(names)


def test_wavelengths_with_a_table_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpectralInputError, match="has its own axis"):
        read_spectra(write(tmp_path, 20)[0], wavelengths=NM)


@pytest.mark.parametrize(
    ("spectra", "targets", "options", "message"),
    [
        (lambda: frame(), lambda: TABLE[["protein"]].iloc[:19], {}, "20 spectra, but 19 rows of reference values"),
        (
            lambda: frame(sample=[f"T{k}" for k in range(20)]),
            lambda: TABLE,
            {},
            "no id of the 20 spectra .such as 'T0'. is among the 20",
        ),
        (
            lambda: frame(sample=TABLE["sample"]),
            lambda: pd.concat([TABLE, TABLE.iloc[:1]]).reset_index(drop=True),
            {},
            "'S000' has several rows",
        ),
        (lambda: frame(), lambda: TABLE[["protein"]], {"groups": "lot"}, "no column is named 'lot'"),
        (lambda: frame(sample=TABLE["sample"], colour="red"), lambda: TABLE, {}, "column 'colour' is not a wavelength"),
        (lambda: X, lambda: TABLE, {}, "has no wavelengths; give wavelengths="),
        (lambda: X[0], lambda: TABLE, {}, "shape .71,.; give"),
        (lambda: frame(), lambda: np.zeros((2, 2, 2)), {}, "targets have shape"),
    ],
)  # fmt: skip
def test_join_errors(spectra: Any, targets: Any, options: dict[str, str], message: str) -> None:
    with pytest.raises((SpectralInputError, SpectralAxisError), match=message):
        joined(spectra(), targets(), **options)


def test_workbooks(tmp_path: Path) -> None:
    pytest.importorskip("openpyxl")
    spectra, targets = write(tmp_path, 20)
    own = joined(spectra, targets)
    for path in (spectra, targets):
        pd.read_csv(path).to_excel(path.with_suffix(".xlsx"), index=False)
    pairs = joined(spectra.with_suffix(".xlsx"), targets.with_suffix(".xlsx"))
    np.testing.assert_allclose(pairs.spectra.values, own.spectra.values)
    np.testing.assert_allclose(pairs.table["protein"], own.table["protein"])
    assert list(pairs.groups) == list(own.groups)
    with pytest.raises(SpectralInputError, match=r"is not read; save the sheet as \.xlsx or CSV"):
        read_spectra(spectra.rename(tmp_path / "old.xls"))


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("kind", ["series", "frame"])
def test_labels_of_rows_are_followed(named: bool, kind: str) -> None:
    """A shuffled Series or frame is joined to a frame with the same row labels by these labels."""
    spectra, values = frame(), TABLE[["protein"]]
    if named:
        spectra, values = (part.set_axis(TABLE["sample"], axis=0) for part in (spectra, values))
    shuffled = values.sample(frac=1, random_state=0)
    targets = shuffled["protein"] if kind == "series" else shuffled
    pairs = joined(spectra, targets)
    np.testing.assert_array_equal(pairs.table["protein"], TABLE["protein"])
    pairs = joined(spectra.iloc[::-1], values["protein"] if kind == "series" else values)
    np.testing.assert_array_equal(pairs.table["protein"], TABLE["protein"][::-1])
    # An array has no labels.
    assert joined(spectra, np.asarray(values)).notes == ("20 spectra and reference values were joined by order",)


def test_ids_that_a_spreadsheet_changed() -> None:
    pairs = joined(
        frame(sample=[f"{k:03d}" for k in range(20)]), TABLE.assign(sample=[f"{k}.0" for k in range(20)][::-1])
    )
    np.testing.assert_array_equal(pairs.table["protein"], TABLE["protein"][::-1])
    assert pairs.notes[0] == "ids were compared without case, blanks, leading zeros and .0"


def test_blank_rows_at_the_end(tmp_path: Path) -> None:
    spectra, targets = write(tmp_path, 20)
    for path in (spectra, targets):
        text = path.read_text()
        path.write_text(text + ("," * text.splitlines()[0].count(",") + "\n") * 3)
    pairs = joined(spectra, targets)
    np.testing.assert_array_equal(pairs.table["protein"], TABLE["protein"])
    np.testing.assert_array_equal(pairs.spectra.values, X)
