"""Files of any size, embedded in pieces; what was interrupted goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nirs4all_vit import SpectralEmbedder
from nirs4all_vit.embedding import embed_file, file
from nirs4all_vit.errors import SpectralAxisError, SpectralInputError
from nirs4all_vit.spectra import sources
from tests.conftest import make_spectra

NM = np.linspace(1100.0, 2498.0, 60)
X = make_spectra(NM, 50)
EXPECTED = SpectralEmbedder(readout="mean", adapt=False).fit_transform(X, wavelengths=NM)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("nirs4all_vit.spectra.tables", "nirs4all_vit.spectra.sources"):
        monkeypatch.setattr(f"{module}._CHUNK_VALUES", 60 * 16)


def write(path: Path, axis: np.ndarray = NM) -> Path:
    table = pd.DataFrame(X, columns=[f"{v:.12g}" for v in axis])
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, float_format="%.17g")
    return path


@pytest.mark.parametrize("name", ["s.csv", "s.csv.gz", "s.parquet", "s.npy"])
@pytest.mark.usefixtures("small_pieces")
def test_sources_agree(name: str, tmp_path: Path) -> None:
    axis = None
    if name == "s.npy":
        np.save(tmp_path / name, X)
        axis = tmp_path / "axis.txt"
        axis.write_text(", ".join(f"{v:.12g}" for v in NM), "utf-8")
    else:
        write(tmp_path / name)
    assert embed_file(tmp_path / name, tmp_path / "z.npy", readout="mean", wavelengths=axis) == (50, 96)
    found = np.load(tmp_path / "z.npy")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, EXPECTED, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("suffix", [".npy", ".csv", ".parquet"])
@pytest.mark.usefixtures("small_pieces")
def test_an_interrupted_run_goes_on(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nirs4all_vit.embedding import inference

    spectra, target, whole = write(tmp_path / "s.csv"), tmp_path / f"z{suffix}", tmp_path / f"whole{suffix}"
    embed_file(spectra, whole, readout="mean")
    embed, calls = inference.embed, []

    def counted(*arguments, **keywords):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return embed(*arguments, **keywords)

    monkeypatch.setattr(inference, "embed", counted)
    with pytest.raises(KeyboardInterrupt):
        embed_file(spectra, target, readout="mean")
    assert not target.exists()
    # Torn in the middle of a row, as a machine that stops leaves it.
    partial = tmp_path / f".z{suffix}.partial"
    with open(partial, "ab") as torn:
        torn.write(b"half a row")
    calls[:] = [1] * 10
    embed_file(spectra, target, readout="mean")
    assert len(calls) == 10 + 2  # of four pieces, two were there
    assert target.read_bytes() == whole.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["s.csv", target.name, whole.name])


@pytest.mark.usefixtures("small_pieces")
def test_what_another_run_left_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nirs4all_vit.embedding import inference

    spectra, target, embed = write(tmp_path / "s.csv"), tmp_path / "z.npy", inference.embed
    for options in ({"readout": "cls"}, {"readout": "mean", "axis_unit": "cm-1"}):
        calls = []

        def counted(*arguments, calls=calls, **keywords):
            calls.append(1)
            if len(calls) == 2:
                raise OSError("no space left on device")
            return embed(*arguments, **keywords)

        monkeypatch.setattr(inference, "embed", counted)
        with pytest.raises(OSError, match="no space"):
            embed_file(spectra, target, **options)
    monkeypatch.setattr(inference, "embed", embed)
    embed_file(spectra, target, readout="mean")
    np.testing.assert_allclose(np.load(target), EXPECTED, rtol=1e-4, atol=1e-5)


def test_a_source_that_changes_meanwhile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spectra = write(tmp_path / "s.csv")
    opened = file.open_source

    def late(*arguments):
        found = opened(*arguments)
        monkeypatch.setattr(type(found), "chunks", growing)
        return found

    def growing(_):
        yield X.astype(float)
        with open(spectra, "a", encoding="utf-8") as more:
            more.write(",".join(map(str, X[0])) + "\n")

    monkeypatch.setattr(file, "open_source", late)
    with pytest.raises(SpectralInputError, match=r"s\.csv was written to while it was read"):
        embed_file(spectra, tmp_path / "z.npy", readout="mean")
    assert not (tmp_path / "z.npy").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="locks of fcntl")
def test_two_runs_on_one_target(tmp_path: Path) -> None:
    from nirs4all_vit.embedding.file import PartialRows

    identity = {"made_by": "this test"}
    with (
        PartialRows(tmp_path / "z.npy", 3, identity),
        pytest.raises(BlockingIOError, match=r"z\.npy is being written"),
    ):
        PartialRows(tmp_path / "z.npy", 3, identity)


@pytest.mark.parametrize(
    ("content", "axis", "error", "message"),
    [
        (X, None, SpectralAxisError, r"s\.npy holds no axis; give a file that does: --wavelengths FILE"),
        (X, NM[:-1], SpectralAxisError, r"s\.npy: 60 columns, but axis\.npy has 59"),
        (X, 1000 + 900 * X[0], SpectralAxisError, r"axis\.npy neither ascends nor descends"),
        (X, np.array(["a"] * 60), SpectralInputError, r"axis\.npy is not an array of numbers"),
        (X, np.zeros(60), SpectralAxisError, r"axis\.npy: .*"),
        (X[0], NM, SpectralInputError, r"s\.npy: shape \(60,\); it must be \(spectra, wavelengths\)"),
        (X.astype("U5"), NM, SpectralInputError, r"s\.npy is not an array of numbers"),
        (np.where(X[7, 3] == X, np.inf, X), NM, SpectralInputError, r"s\.npy: X contains inf at row 7"),
    ],
)
def test_arrays_that_cannot_be_embedded(content, axis, error, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", content)
    if axis is not None:
        np.save(tmp_path / "axis.npy", axis)
    with pytest.raises(error, match=message):
        embed_file(tmp_path / "s.npy", tmp_path / "z.npy", wavelengths=None if axis is None else tmp_path / "axis.npy")


def test_missing_points_are_left_out(tmp_path: Path) -> None:
    holes = X.copy()
    holes[7, 3:5] = np.nan
    np.save(tmp_path / "s.npy", holes)
    np.save(tmp_path / "axis.npy", NM)
    embed_file(tmp_path / "s.npy", tmp_path / "z.npy", wavelengths=tmp_path / "axis.npy")
    expected = SpectralEmbedder(adapt=False, align=False).fit_transform(holes, wavelengths=NM)
    np.testing.assert_allclose(np.load(tmp_path / "z.npy"), expected, rtol=1e-5, atol=1e-4)


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(SpectralInputError, match=r"cut or not a \.npy file of numbers"):
        embed_file(tmp_path / "s.npy", tmp_path / "z.npy")


def test_text_axes(tmp_path: Path) -> None:
    for text in ("1100\n1101\n1102", "1100;1101;1102", "1100 nm, 1101 nm, 1102 nm"):
        (tmp_path / "axis.txt").write_text(text, "utf-8")
        if "nm" in text:
            with pytest.raises(SpectralAxisError, match=r"axis\.txt does not hold wavelengths"):
                sources._read_axis(tmp_path / "axis.txt", "auto", 3)
        else:
            np.testing.assert_allclose(sources._read_axis(tmp_path / "axis.txt", "auto", 3), [1100, 1101, 1102])


@pytest.mark.parametrize(
    ("text", "n_points", "axis"),
    [
        ("1100,5\n1101\n1101,5\n", 3, [1100.5, 1101, 1101.5]),
        ("1100,125;1101,125;1102,125", 3, [1100.125, 1101.125, 1102.125]),
        ("1100,5, 1101,5, 1102,5", 3, [1100.5, 1101.5, 1102.5]),
        ("0,998\n1,002\n1,006", 3, [998, 1002, 1006]),
        ("1100.5,1101.5,1102.5", 3, [1100.5, 1101.5, 1102.5]),
        ("1100,1101,1102\n", 3, [1100, 1101, 1102]),
        ("1100,1101,\n1102,1103\n", 4, [1100, 1101, 1102, 1103]),
        ("900,905.5", 2, [900, 905.5]),
    ],
)
def test_decimal_commas_of_text_axes(text: str, n_points: int, axis: list, tmp_path: Path) -> None:
    (tmp_path / "axis.txt").write_text(text, "utf-8")
    np.testing.assert_allclose(sources._read_axis(tmp_path / "axis.txt", "auto", n_points), axis)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,100.5\n1,101.5\n1,102.5", "'1,100.5' has a thousands separator"),
        ("1.100,5\n1.101,5\n1.102,5", "'1.100,5' has a thousands separator"),
        ("998\n999\n1,000", "'1,000' beside '998' looks like a thousands separator"),
        ("998\n999\n1.000", "'1.000' beside '998' looks like a thousands separator"),
        ("9,091\n9,080\n9,070", "can be .* micrometres, or 9091 with a thousands separator"),
        ("9.091\n9.080\n9.070", "can be .* micrometres, or 9091 with a thousands separator"),
    ],
)
def test_thousands_separators_in_text_axes(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "axis.txt").write_text(text, "utf-8")
    np.save(tmp_path / "s.npy", X[:, :3])
    with pytest.raises(SpectralAxisError, match=rf"^axis\.txt: .*{message}"):
        embed_file(tmp_path / "s.npy", tmp_path / "z.npy", wavelengths=tmp_path / "axis.txt")


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """The process's peak, for a file of three times the rows, whose embeddings alone are 92 MB more."""
    code = """
import resource, sys
from nirs4all_vit.embedding import embed_file
from nirs4all_vit.spectra import sources
sources._CHUNK_VALUES = 64 * 700
embed_file(sys.argv[1], sys.argv[2], wavelengths=sys.argv[3])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
    np.save(tmp_path / "axis.npy", np.linspace(1100.0, 2500.0, 700))
    peaks = []
    for rows in (600, 1_800):
        np.save(tmp_path / "s.npy", np.tile(np.linspace(0.0, 1.0, 700, dtype=np.float32), (rows, 1)))
        call = [str(tmp_path / name) for name in ("s.npy", "z.npy", "axis.npy")]
        run = subprocess.run([sys.executable, "-c", code, *call], capture_output=True, text=True, check=True)
        peaks.append(float(run.stdout))
    assert peaks[1] - peaks[0] < 40, peaks
