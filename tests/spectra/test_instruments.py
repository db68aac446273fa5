"""Instrument files: of other packages, real instruments, synthetic; see instruments/README.md."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import nirs4all_formats
import numpy as np
import pandas as pd
import pytest

from nirs4all_vit import SpectralEmbedder
from nirs4all_vit.cli import main
from nirs4all_vit.embedding import embed_file, embed_folder
from nirs4all_vit.errors import MissingPackageError, SpectralAxisError, SpectralInputError
from nirs4all_vit.pretraining.data import load_x_bank
from nirs4all_vit.spectra.instruments import is_instrument_path, read_instruments
from nirs4all_vit.spectra.sources import open_source
from nirs4all_vit.spectra.tables import open_table
from tests.spectra import instrument_bytes as make

SAMPLES = Path(__file__).parent / "instruments"
NM = np.arange(1100.0, 2500.0, 10.0)
CM = np.arange(9000.0, 4000.0, -40.0)


def band(nm: np.ndarray) -> np.ndarray:
    return 0.4 + 0.3 * np.exp(-0.5 * ((nm - 1450.0) / 60.0) ** 2)


A = band(NM)
R = 10.0**-A
#: Files with the same band, by name: content, signal, unit.
WRITTEN: dict[str, tuple[Callable[[], bytes | str], str, str]] = {
    "leaf.sed": (lambda: make.sed(NM, R), "reflectance", "nm"),
    "leaf.sig": (lambda: make.sig(NM, R), "reflectance", "nm"),
    "leaf.asd": (lambda: make.asd(NM, R), "reflectance", "nm"),
    "leaf.spc": (lambda: make.spc(NM[0], NM[-1], A), "absorbance", "nm"),
    "percent.spc": (lambda: make.spc(NM[0], NM[-1], 100 * R, y_type=128), "transmittance", "nm"),
    "leaf.0": (lambda: make.opus(CM[0], CM[-1], band(1e7 / CM)), "absorbance", "cm-1"),
    "leaf.jdx": (lambda: make.jcamp(NM / 1000, R, "MICROMETERS", "REFLECTANCE"), "reflectance", "um"),
    "leaf.dpt": (
        lambda: "".join(f"{v:.5f},{a:.6f}\n" for v, a in zip(CM, band(1e7 / CM), strict=True)),
        "absorbance",
        "cm-1",
    ),
}  # fmt: skip


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("name", WRITTEN)
def test_formats(name: str, tmp_path: Path) -> None:
    content, signal, unit = WRITTEN[name]
    path = write(tmp_path / name, content())
    assert is_instrument_path(path)
    spectra = read_instruments(path)
    assert (spectra.ids, spectra.signal, spectra.axis_unit, spectra.sources) == ([path.stem], signal, unit, [path])
    (nm,), (values,) = spectra.wavelengths, spectra.values
    expected = np.sort(1e7 / CM) if unit == "cm-1" else NM
    np.testing.assert_allclose(nm, expected, rtol=1e-6)
    np.testing.assert_allclose(values, band(expected), atol=2e-5)
    assert spectra.metadata[0]["mode"] == "absorbance"
    assert spectra.metadata[0]["measured_as"] == signal
    converted = any("converted to absorbance" in note for note in spectra.notes)
    assert converted == (signal != "absorbance")


def test_files_of_other_writers() -> None:
    wheat = read_instruments(SAMPLES / "wheat.jdx")
    np.testing.assert_allclose(wheat.wavelengths[0], np.sort(1e7 / CM), rtol=1e-6)
    np.testing.assert_allclose(wheat.values[0], band(wheat.wavelengths[0]), atol=1e-4)
    assert wheat.metadata[0] == {
        "instrument": "Simulated 1",
        "title": "wheat 1",
        "mode": "absorbance",
        "measured_as": "absorbance",
        "format": "jcamp-dx",
    }
    several = read_instruments(SAMPLES / "wheat.spc")
    assert several.ids == ["wheat_1", "wheat_2", "wheat_3"]
    assert several.has_one_axis()
    np.testing.assert_allclose(several.wavelengths[0], NM)
    np.testing.assert_allclose(several.values, A + np.array([[0.0], [0.1], [0.2]]), atol=1e-6)
    for name in ("library.hdr", "library.sli"):
        library = read_instruments(SAMPLES / name)
        assert library.ids == ["oat", "rye", "wheat"]
        np.testing.assert_allclose(library.values, several.values, atol=1e-6)
        assert library.notes == [
            f"{name}: the file does not name the kind of its values; they are read as reflectance.",
            f"{name}: reflectance (fractions) was converted to absorbance, log10(1/R).",
        ]


def test_files_of_real_instruments() -> None:
    """First, largest and smallest values agree with the headers of the files."""
    visible = read_instruments(SAMPLES / "dupinc1.jdx")
    assert (visible.axis_unit, visible.signal, visible.notes) == ("nm", "absorbance", [])
    np.testing.assert_allclose(visible.wavelengths[0], np.arange(250.0, 470.0, 0.5))
    assert visible.values[0][0] == pytest.approx(1.1663)
    assert visible.values[0].max() == pytest.approx(3.3747)
    infrared = read_instruments(SAMPLES / "dupdec1.jdx")
    assert (infrared.axis_unit, infrared.signal) == ("cm-1", "transmittance")
    assert infrared.wavelengths[0][[0, -1]] == pytest.approx([1e7 / 4400, 1e7 / 450])
    assert infrared.values[0][0] == pytest.approx(-np.log10(0.8225))
    assert infrared.values[0].min() == pytest.approx(-np.log10(0.871))
    # The package jcamp decodes the same value.
    assert infrared.values[0].max() == pytest.approx(-np.log10(0.0002))
    assert infrared.metadata[0]["instrument"] == "PERKIN-ELMER 1600 FT-IR"
    assert infrared.notes == ["dupdec1.jdx: transmittance (percent) was converted to absorbance, log10(1/T)."]


def test_metadata(tmp_path: Path) -> None:
    of = {name: read_instruments(write(tmp_path / name, WRITTEN[name][0]())).metadata[0] for name in WRITTEN}
    assert of["leaf.sed"] | {"instrument": "PSR+3500", "serial": "1536076", "date": "2023-05-12"} == of["leaf.sed"]
    assert of["leaf.sig"] | {"instrument": "HR-1024i", "serial": "1112011", "date": "2023-05-12"} == of["leaf.sig"]
    assert of["leaf.asd"]["date"] == "2023-05-12T10:12:13"
    assert of["leaf.0"] | {"instrument": "MPA", "serial": "1234", "format": "bruker-opus"} == of["leaf.0"]
    assert "instrument" not in of["leaf.spc"]


def test_non_positive_reflectance(tmp_path: Path) -> None:
    lost = R.copy()
    lost[[3, 7]] = 0.0, -0.01
    spectra = read_instruments(write(tmp_path / "a.spc", make.spc(NM[0], NM[-1], lost, y_type=129)))
    assert np.flatnonzero(np.isnan(spectra.values[0])).tolist() == [3, 7]
    assert "a.spc: non-positive points of the reflectance are missing points." in spectra.notes
    lost[: NM.size // 2] = 0.0
    with pytest.raises(SpectralInputError, match=r"b\.spc: 70 of 140 points of the reflectance are not positive"):
        read_instruments(write(tmp_path / "b.spc", make.spc(NM[0], NM[-1], lost, y_type=129)))


def test_the_percent_unit_of_a_file_applies_to_dark_spectra(tmp_path: Path) -> None:
    spectra = read_instruments(write(tmp_path / "dark.sed", make.sed(NM, R / 50)))
    np.testing.assert_allclose(spectra.values[0], A + np.log10(50), atol=1e-3)


REFUSED = {
    "igram.spc": (
        make.spc(NM[0], NM[-1], A, y_type=1),
        r"igram\.spc holds interferogram; absorbance, .* is needed: .* export that",
    ),
    "counts.spc": (make.spc(NM[0], NM[-1], A, y_type=4), r"holds raw counts; absorbance, reflectance or transmittance"),
    "beam.0": (make.opus(CM[0], CM[-1], A[: CM.size], data=1), r"beam\.0 holds single beam"),
    "slope.0": (make.opus(CM[0], CM[-1], A[: CM.size], derivative=1), r"slope\.0 holds derivative"),
    "raw.asd": (make.asd(NM, 1000 * R, data_type=0), r"raw\.asd holds raw counts"),
    "scaled.asd": (make.asd(NM, 10_000 * R), r"scaled\.asd: values of 3981 are not reflectance"),
    "time.spc": (make.spc(0.0, 60.0, A, x_type=5), r"time\.spc: the axis is time \(min\), not wavelength"),
    "shift.spc": (make.spc(300.0, 3000.0, A, x_type=13), r"shift\.spc is a Raman spectrum"),
    "far.spc": (make.spc(20.0, 400.0, A, x_type=1), r"far\.spc: wavelength .* outside of 200 to 30,000 nm"),
    "nmr.jdx": (make.jcamp(NM, A, "HZ", "ARBITRARY UNITS", "NMR SPECTRUM"), r"nmr\.jdx: the axis is"),
    "silent.jdx": (
        make.jcamp(NM, A, "NANOMETERS", "ARBITRARY UNITS"),
        r"silent\.jdx does not name the kind of its values",
    ),
    "twice.jdx": (
        make.jcamp(np.r_[NM[:9], NM[8:-1]], A, "NANOMETERS", "ABSORBANCE"),
        r"twice\.jdx: wavelength 1180 occurs more than once",
    ),
    "fill.jdx": (
        make.jcamp(NM, np.where(NM == 1500, -9999.0, A), "NANOMETERS", "ABSORBANCE"),
        r"fill\.jdx: X contains -9999 .* 1500 nm",
    ),
    "leaf_WR_1.sig": (make.sig(NM, 0 * R + 1), r"leaf_WR_1\.sig is a white reference"),
    "short.sed": (make.sed(NM, R, 2151), r"short\.sed cannot be read \(.*\): it has fewer points than its header says"),
    "foss.nir": (
        b"\0\1" * 900,
        r"foss\.nir cannot be read: its content is of no known format; .* WinISI, ISIscan, Mosaic",
    ),
    "foss.cal": (b"\0\1" * 900, r"foss\.cal cannot be read: .* export text, CSV or JCAMP-DX"),
    "thermo.spa": (b"\0\1" * 900, r"thermo\.spa cannot be read: .* from OMNIC"),
    "shimadzu.spc": (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(900),
        r"shimadzu\.spc cannot be read: .* Shimadzu UVProbe",
    ),
    "old.0": (b"\n\n\x1a\x1a" + bytes(900), r"old\.0 cannot be read"),
    "empty.spa": (b"", r"empty\.spa is empty; copy or export it again"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_files_without_usable_spectra_are_refused(name: str, tmp_path: Path) -> None:
    content, message = REFUSED[name]
    path = write(tmp_path / name, content)
    assert is_instrument_path(path)
    with pytest.raises((SpectralInputError, SpectralAxisError), match=message) as caught:
        read_instruments(path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    # A folder with such a file is refused too, unless the file is a white reference.
    write(tmp_path / "good.spc", make.spc(NM[0], NM[-1], A))
    if "_WR_" in name:
        assert read_instruments(tmp_path).ids == ["good"]
    else:
        with pytest.raises((SpectralInputError, SpectralAxisError), match=message):
            read_instruments(tmp_path)


def test_an_uneven_axis_under_an_even_header_is_refused(tmp_path: Path) -> None:
    """(X++(Y..Y)) implies even steps; points evenly spaced in nm are uneven in cm-1."""
    x = 1e7 / NM
    head, points = make.jcamp(x, A, "1/CM", "ABSORBANCE").split("##XYPOINTS=(XY..XY)\n")
    lines = "".join(f"{x[i]:.4f} {' '.join(f'{a:.6f}' for a in A[i : i + 7])}\n" for i in range(0, NM.size, 7))
    path = write(tmp_path / "a.jdx", f"{head}##XYDATA=(X++(Y..Y))\n{lines}##END=\n")
    with pytest.raises(SpectralInputError, match=r"a\.jdx .* not the even steps .* supported; export it as"):
        read_instruments(path)
    np.testing.assert_allclose(
        read_instruments(write(path, f"{head}##XYPOINTS=(XY..XY)\n{points}")).wavelengths[0], NM, rtol=1e-6
    )


def test_points_in_any_order_are_sorted(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(NM.size)
    path = write(tmp_path / "a.jdx", make.jcamp(NM[order], A[order], "NANOMETERS", "ABSORBANCE"))
    spectra = read_instruments(path)
    np.testing.assert_allclose(spectra.wavelengths[0], NM)
    np.testing.assert_allclose(spectra.values[0], A, atol=1e-6)


@pytest.mark.parametrize("name", [*WRITTEN, "wheat.spc", "dupdec1.jdx", "library.sli"])
def test_damaged_files_end_in_one_sentence(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in WRITTEN:
        write(tmp_path / name, WRITTEN[name][0]())
    else:
        for file in SAMPLES.glob(f"{Path(name).stem}.*"):
            shutil.copy(file, tmp_path)
    path = tmp_path / name
    whole, rng, sentences = path.read_bytes(), np.random.default_rng(0), []
    for trial in range(60):
        damaged = bytearray(whole[: int(rng.integers(len(whole)))] if trial % 2 else whole)
        for at in rng.integers(0, max(1, min(len(damaged), 600)), size=int(rng.integers(1, 20))):
            if damaged:
                damaged[at] = int(rng.choice([0, 127, 255, int(rng.integers(256))]))
        path.write_bytes(damaged)
        try:
            spectra = read_instruments(path)
        except (SpectralInputError, SpectralAxisError) as error:
            sentences.append(str(error))
        else:
            assert all((np.diff(axis) > 0).all() for axis in spectra.wavelengths)
            assert not any(np.isinf(row).any() for row in spectra.values)
    assert sentences
    assert not [text for text in sentences if name not in text or "\n" in text or "panic" in text]
    assert "panicked" not in capfd.readouterr().err
    if name == "wheat.spc":
        path.write_bytes(whole[:1200])
        with pytest.raises(SpectralInputError, match=r"wheat\.spc cannot be read \(galactic-spc\): .*damaged or cut"):
            read_instruments(path)
        path.write_bytes(whole)
        monkeypatch.setattr("nirs4all_vit.spectra.instrument_files._LARGEST_FILE", 1000)
        with pytest.raises(SpectralInputError, match=r"wheat\.spc: .* bytes, and 1,000 are read at most"):
            read_instruments(path)


def test_a_panic_of_the_reader_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        pass

    def panic(_: Path) -> None:
        raise PanicException("called `Option::unwrap()` on a `None` value")

    path = write(tmp_path / "a.spc", make.spc(NM[0], NM[-1], A))
    monkeypatch.setattr(nirs4all_formats, "open_recordset", panic)
    with pytest.raises(
        SpectralInputError, match=r"^a\.spc cannot be read \(galactic-spc\): the reader failed \(damaged"
    ):
        read_instruments(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with six samples in two formats, and other files."""
    for i, name in enumerate(["s10.spc", "s2.spc", "s1.spc"]):
        write(tmp_path / "lab" / name, make.spc(NM[0], NM[-1], A + i / 10))
    write(tmp_path / "lab/b/leaf.0", make.opus(CM[0], CM[-1], band(1e7 / CM)))
    write(tmp_path / "lab/b/leaf.1", make.opus(CM[0] + 1e-4, CM[-1] + 1e-4, band(1e7 / CM)))
    write(tmp_path / "lab/b/s2.spc", make.spc(NM[0], NM[-1], A))
    write(tmp_path / "lab/README.txt", "Wheat of 2024.\n")
    write(tmp_path / "lab/protein.csv", "id,protein\ns1,11.2\n")
    write(tmp_path / "lab/run.log.1", "started 10:00\n")
    for name in (".DS_Store", "._s1.spc", "Thumbs.db", ".hidden/s1.spc"):
        write(tmp_path / "lab" / name, b"\0\1")
    return tmp_path / "lab"


def test_folder(folder: Path) -> None:
    assert is_instrument_path(folder)
    spectra = read_instruments(folder)
    assert spectra.ids == ["leaf.0", "leaf.1", "b/s2.spc", "s1", "s2.spc", "s10"]
    assert [path.relative_to(folder).as_posix() for path in spectra.sources] == [
        "b/leaf.0", "b/leaf.1", "b/s2.spc", "s1.spc", "s2.spc", "s10.spc",
    ]  # fmt: skip
    # Axes that differ by less than a thousandth of a step are the same object.
    assert spectra.wavelengths[0] is spectra.wavelengths[1]
    assert spectra.wavelengths[2] is spectra.wavelengths[5]
    assert not spectra.has_one_axis()
    assert spectra.notes == ["protein.csv, README.txt, run.log.1: no instrument file, skipped."]
    assert [[len(block) for block in chunk] for chunk in spectra.chunks()] == [[2, 4]]
    assert spectra.sha256() == read_instruments(folder).sha256()
    for path in folder.rglob("*.spc"):
        path.unlink()
    shutil.rmtree(folder / "b")
    assert not is_instrument_path(folder)
    with pytest.raises(SpectralInputError, match="holds no instrument files"):
        read_instruments(folder)


def test_text_files_are_recognised_by_content(tmp_path: Path) -> None:
    pairs = "".join(f"{w:g},{a:.5f}\n" for w, a in zip(NM, A, strict=True))
    assert is_instrument_path(write(tmp_path / "leaf.txt", "wavelength,absorbance\n" + pairs))
    np.testing.assert_allclose(read_instruments(tmp_path / "leaf.txt").values[0], A, atol=1e-5)
    table = ",".join(f"{w:g}" for w in NM) + "\n" + ",".join(f"{a:.5f}" for a in A) + "\n"
    assert not is_instrument_path(write(tmp_path / "table.txt", table))
    assert open_source(tmp_path / "table.txt").read().shape == (1, NM.size)
    assert not is_instrument_path(tmp_path / "missing.txt")
    with pytest.raises(FileNotFoundError):
        read_instruments(tmp_path / "missing.spc")


def test_open_source(folder: Path) -> None:
    opened = open_source(folder / "s1.spc")
    np.testing.assert_allclose(opened.wavelengths, NM)
    np.testing.assert_allclose(opened.read()[0], A + 0.2, atol=1e-6)
    with (
        pytest.raises(SpectralAxisError, match=r"lab: the spectra are on 2 different axes"),
        pytest.warns(UserWarning, match="skipped"),
    ):
        open_source(folder)
    with pytest.raises(SpectralInputError, match=r"s1\.spc has no columns to drop: id"):
        open_source(folder / "s1.spc", drop=["id"])
    with pytest.raises(SpectralAxisError, match=r"is set to cm-1, but the files are in nm"):
        open_source(folder / "s1.spc", "cm-1")
    with pytest.raises(SpectralInputError, match=r"s1\.spc is an instrument file, and a table is needed here"):
        open_table(folder / "s1.spc")


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npy"])
def test_embed(suffix: str, folder: Path, tmp_path: Path) -> None:
    target = tmp_path / f"z{suffix}"
    with pytest.warns(UserWarning, match="skipped"):
        assert embed_file(folder, target, readout="mean") == (6, 96)
    spectra = read_instruments(folder)
    embedder = SpectralEmbedder(readout="mean", adapt=False, align=False)
    expected = embedder.fit_transform(spectra.values, wavelengths=spectra.wavelengths)
    if suffix == ".npy":
        Z = np.load(target)
    else:
        table = pd.read_csv(target) if suffix == ".csv" else pd.read_parquet(target)
        assert table.pop("id").tolist() == spectra.ids
        assert table.columns[0] == "mean0"
        Z = table.to_numpy()
    np.testing.assert_allclose(Z, expected, rtol=1e-4, atol=1e-5)


def test_embed_resumes(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nirs4all_vit.embedding import inference

    monkeypatch.setattr("nirs4all_vit.spectra.instruments._CHUNK", 2)
    embed, calls = inference.embed, []

    def counted(*arguments, **keywords):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return embed(*arguments, **keywords)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        embed_file(folder, tmp_path / "whole.csv", readout="mean")
        monkeypatch.setattr(inference, "embed", counted)
        with pytest.raises(KeyboardInterrupt):
            embed_file(folder, tmp_path / "z.csv", readout="mean")
        embed_file(folder, tmp_path / "z.csv", readout="mean")
    assert len(calls) == 2 + 2  # two of three chunks remained
    assert (tmp_path / "z.csv").read_text() == (tmp_path / "whole.csv").read_text()


@pytest.mark.filterwarnings("ignore:.*skipped")
def test_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", str(folder), "-o", str(tmp_path / "z.csv"), "--readout", "mean"]) == 0
    assert "6 spectra x 96 columns" in capsys.readouterr().out
    calibration = ["--calibration", str(folder / "b/s2.spc")]
    assert main(["embed", str(folder / "s1.spc"), "-o", str(tmp_path / "one.csv"), *calibration]) == 0
    assert pd.read_csv(tmp_path / "one.csv")["id"].tolist() == ["s1"]
    write(folder / "cut.spa", b"not a spectrum")
    assert main(["embed", str(folder), "-o", str(tmp_path / "z.csv")]) == 1
    assert capsys.readouterr().err.startswith("nirs4all-vit: cut.spa cannot be read")
    (folder / "protein.csv").unlink()
    with pytest.raises(SpectralInputError, match=r"holds instrument files, which make one table: name a file"):
        embed_folder(folder, tmp_path / "out")


def test_bank(tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / f"bank/leaves/leaf{i}.sed", make.sed(NM, R * 10 ** (-i / 10)))
    write(tmp_path / "bank/leaves/metadata.json", '{"mode": "reflectance", "sample_type": "leaf", "n_samples": 3}')
    pd.DataFrame([A, A + 0.1], columns=NM).to_csv(tmp_path / "bank/table.csv", index=False)
    write(tmp_path / "bank/mixed/a.spc", make.spc(NM[0], NM[-1], A))
    write(tmp_path / "bank/mixed/b.spc", make.spc(NM[0], NM[-2], A))
    with pytest.warns(UserWarning, match="converted to absorbance"):
        bank = load_x_bank(tmp_path / "bank", ["leaves", "table"], progress=False)
    leaves = bank[0]
    fields = leaves.metadata.categorical
    assert fields | {"instrument": "PSR+3500", "mode": "absorbance", "sample_type": "leaf"} == fields
    assert leaves.metadata.source["measured_as"] == "reflectance"
    np.testing.assert_allclose(leaves.absorbance(), A + np.arange(3)[:, np.newaxis] / 10, atol=1e-4)
    with pytest.raises(SpectralAxisError, match="mixed: the files are on 2 different axes"):
        load_x_bank(tmp_path / "bank", ["mixed"], progress=False)


def test_excel(tmp_path: Path) -> None:
    pytest.importorskip("openpyxl", reason="openpyxl (extra excel) is not installed")
    table = pd.DataFrame([A, A + 0.1], columns=NM)
    table.insert(0, "id", ["a", "b"])
    table.to_excel(tmp_path / "s.xlsx", index=False)
    opened = open_source(tmp_path / "s.xlsx", drop=["id"])
    np.testing.assert_allclose(opened.read(), [A, A + 0.1], rtol=1e-15)
    np.testing.assert_array_equal(opened.wavelengths, NM)
    copy = opened.path
    del opened
    assert not copy.exists()
    blank = pd.DataFrame([[None] * table.shape[1]], columns=table.columns)
    pd.concat([blank, table, blank, blank]).to_excel(tmp_path / "blank.xlsx", index=False)
    assert open_source(tmp_path / "blank.xlsx", drop=["id"]).read().shape == (2, NM.size)
    with pytest.raises(SpectralInputError, match=r"s\.xlsx, line 1: column 'id' is not a wavelength"):
        open_source(tmp_path / "s.xlsx")
    table = table.astype(object)
    table.iloc[1, 3] = "n.d."
    table.to_excel(tmp_path / "s.xlsx", index=False)
    with pytest.raises(SpectralInputError, match=r"s\.xlsx, line 3: 'n\.d\.' is not a number"):
        open_source(tmp_path / "s.xlsx", drop=["id"]).read()
    pd.DataFrame().to_excel(tmp_path / "none.xlsx")
    with pytest.raises(SpectralInputError, match=r"none\.xlsx: the first sheet is empty"):
        open_source(tmp_path / "none.xlsx")
    embed_file(write(tmp_path / "t.xlsx", _workbook(tmp_path)), tmp_path / "z.npy", readout="mean")
    assert np.load(tmp_path / "z.npy").shape == (2, 96)


def _workbook(tmp_path: Path) -> bytes:
    pd.DataFrame([A, A + 0.1], columns=NM).to_excel(tmp_path / "w.xlsx", index=False)
    return (tmp_path / "w.xlsx").read_bytes()


def test_workbooks_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpectralInputError, match=r"old\.xls: \.xls is not read; save the sheet as \.xlsx or CSV"):
        open_source(write(tmp_path / "old.xls", b"\xd0\xcf"))
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'nirs4all-vit\[excel\]'"):
        open_source(write(tmp_path / "a.xlsx", b"PK"))
    monkeypatch.undo()
    pytest.importorskip("openpyxl", reason="openpyxl (extra excel) is not installed")
    for content in (b"", b"PK\3\4", b"no workbook"):
        with pytest.raises(SpectralInputError, match=r"a\.xlsx is damaged or not a workbook; save it again"):
            open_source(write(tmp_path / "a.xlsx", content))
