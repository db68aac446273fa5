"""Folders of files, several at a time, more than once."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nirs4all_vit import SpectralEmbedder
from nirs4all_vit.cli import main
from nirs4all_vit.embedding import embed_file, embed_folder
from nirs4all_vit.errors import SpectralInputError
from nirs4all_vit.files import lock_folder
from tests.conftest import make_spectra

AXES = {
    "lab": np.linspace(1100.0, 2498.0, 70),
    "field": np.linspace(908.0, 1676.0, 40),
    "ft": np.linspace(1e3, 2.5e3, 55),
}
SPECTRA = {name: make_spectra(axis, 4) for name, axis in AXES.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "spectra"
    made.mkdir()
    for name, suffix in (("lab", ".csv"), ("field", ".parquet"), ("ft", ".csv.gz")):
        table = pd.DataFrame(SPECTRA[name], columns=[f"{v:.8g}" for v in AXES[name]])
        table.to_parquet(made / "field.parquet") if suffix == ".parquet" else table.to_csv(
            made / (name + suffix), index=False
        )
    (made / "README.txt").write_text("how they were measured\n", "utf-8")
    return made


@pytest.mark.parametrize("jobs", [1, 2])
def test_each_file_on_its_grid(jobs: int, folder: Path, tmp_path: Path) -> None:
    results = embed_folder(folder, tmp_path / "out", readout="mean", jobs=jobs)
    assert [(r.source.name, r.target.name, r.n_spectra, r.error) for r in results] == [
        ("field.parquet", "field.npy", 4, None),
        ("ft.csv.gz", "ft.npy", 4, None),
        ("lab.csv", "lab.npy", 4, None),
    ]
    for name, axis in AXES.items():
        expected = SpectralEmbedder(readout="mean", adapt=False).fit_transform(SPECTRA[name], wavelengths=axis)
        np.testing.assert_allclose(np.load(tmp_path / "out" / f"{name}.npy"), expected, rtol=1e-3, atol=1e-4)


def test_what_is_done_is_not_done_again(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["embed", str(folder), "-o", str(tmp_path / "out"), "--readout", "mean", "--format", "csv"]
    (folder / "cut.csv").write_text("1100,1101,1102\n1,2\n", "utf-8")
    assert main(command) == 1
    printed = capsys.readouterr()
    assert "3 files embedded (12 spectra), 0 were there, 1 failed" in printed.out
    assert "cut.csv, line 2: 2 values under 3 columns" in printed.err
    (folder / "cut.csv").write_text("1100,1101,1102\n1,2,3\n", "utf-8")
    os.utime(folder / "lab.csv")  # touched: it holds what it held
    assert main(command) == 0
    assert "1 files embedded (1 spectra), 3 were there, 0 failed" in capsys.readouterr().out
    # Another content with the time of the one before: a copy that keeps times.
    times = (folder / "cut.csv").stat()
    (folder / "cut.csv").write_text("1100,1101,1102\n3,2,1\n", "utf-8")
    os.utime(folder / "cut.csv", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert main(command) == 0
    assert "1 files embedded (1 spectra), 3 were there, 0 failed" in capsys.readouterr().out
    (tmp_path / "out" / "lab.csv").unlink()
    assert main(command) == 0
    assert "1 files embedded (4 spectra), 3 were there, 0 failed" in capsys.readouterr().out
    for other in ([*command[:-3], "cls", *command[-2:]], [*command, "--drop", "1100"]):
        assert main(other) == 1
        assert "read-out, axis or choice of columns (embedding.json); name another folder" in capsys.readouterr().err


def test_one_process_at_a_time(folder: Path, tmp_path: Path) -> None:
    with lock_folder(tmp_path / "out"), pytest.raises(BlockingIOError, match="another process is writing to"):
        embed_folder(folder, tmp_path / "out", readout="mean")


def test_an_axis_that_nothing_needs(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "axis.npy", AXES["lab"])
    with pytest.raises(SpectralInputError, match=r"holds no \.npy files; the others have their own axis"):
        embed_folder(folder, tmp_path / "out", wavelengths=tmp_path / "axis.npy")
    with pytest.raises(SpectralInputError, match=r"lab\.csv has its axis in the header"):
        embed_file(folder / "lab.csv", tmp_path / "lab.npy", wavelengths=tmp_path / "axis.npy")


def test_arrays_and_their_axis(folder: Path, tmp_path: Path) -> None:
    for path in [*folder.glob("*.csv*"), *folder.glob("*.parquet")]:
        path.unlink()
    np.save(folder / "lab.npy", SPECTRA["lab"])
    np.save(tmp_path / "axis.npy", AXES["lab"])
    np.save(tmp_path / "other.npy", AXES["lab"] + 5.0)
    out, options = tmp_path / "out", {"readout": "mean"}
    (result,) = embed_folder(folder, out, **options)
    assert "lab.npy holds no axis" in result.error
    assert sorted(path.name for path in out.iterdir()) == [".lock", "embedding.json"]  # nothing half-done is left
    (result,) = embed_folder(folder, out, wavelengths=tmp_path / "axis.npy", **options)
    assert (result.n_spectra, result.error) == (4, None)
    (result,) = embed_folder(folder, out, **options)
    assert (result.n_spectra, result.error) == (None, None)
    with pytest.raises(SpectralInputError, match="another checkpoint, read-out, axis"):
        embed_folder(folder, out, wavelengths=tmp_path / "other.npy", **options)


def test_folders_that_cannot_be(folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SpectralInputError, match="empty holds no spectra"):
        embed_folder(empty, tmp_path / "out")
    with pytest.raises(SpectralInputError, match="is the folder of the spectra"):
        embed_folder(folder, folder)
    with pytest.raises(SpectralInputError, match="names a file; spectra of a folder"):
        embed_folder(folder, folder / "lab.csv")
    with pytest.raises(SpectralInputError, match="0 jobs"):
        embed_folder(folder, tmp_path / "out", jobs=0)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "lab.npy").write_bytes(b"mine")
    with pytest.raises(SpectralInputError, match="would be overwritten; name another folder"):
        embed_folder(folder, tmp_path / "mine")
    assert (tmp_path / "mine" / "lab.npy").read_bytes() == b"mine"
    (folder / "lab.parquet").write_bytes((folder / "field.parquet").read_bytes())
    with pytest.raises(SpectralInputError, match=r"lab\.csv and lab\.parquet would both become lab\.npy"):
        embed_folder(folder, tmp_path / "out")


def test_on_dask(folder: Path, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster:
        results = embed_folder(folder, tmp_path / "out", readout="mean", jobs=-1, scheduler=cluster.scheduler_address)
    assert [r.error for r in results] == [None] * 3
    assert np.load(tmp_path / "out" / "lab.npy").shape == (4, 96)
