"""The command line, run as a user runs it."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nirs4all_vit import SpectralEmbedder
from nirs4all_vit.cli import main
from tests.conftest import make_spectra, run_python

NM = np.linspace(1100.0, 2498.0, 80)
X = make_spectra(NM, 5)


def write(
    path: Path, axis: np.ndarray = NM, values: np.ndarray = X, sep: str = ",", suffix: str = "", decimal: str = "."
) -> Path:
    columns = [f"{v:.8g}{suffix}".replace(".", decimal) for v in axis]
    pd.DataFrame(values, columns=columns).to_csv(path, index=False, sep=sep, decimal=decimal)
    return path


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    return SpectralEmbedder(readout="mean", adapt=False).fit_transform(X, wavelengths=NM)


@pytest.mark.parametrize("suffix", [".npy", ".parquet", ".csv"])
def test_embed_writes_each_format(suffix: str, tmp_path: Path, expected: np.ndarray, capsys) -> None:
    source, target = write(tmp_path / "spectra.csv"), tmp_path / f"out{suffix}"
    assert main(["embed", str(source), "-o", str(target), "--readout", "mean"]) == 0
    read = {".npy": np.load, ".parquet": pd.read_parquet, ".csv": pd.read_csv}[suffix](target)
    np.testing.assert_allclose(np.asarray(read), expected, rtol=1e-3, atol=1e-4)
    assert "5 spectra x 96 columns" in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["spectra.csv", target.name])


@pytest.mark.parametrize(
    ("axis", "options", "keywords"),
    [
        (1e7 / NM, [], {}),
        (1e7 / NM, ["--axis-unit", "cm-1"], {}),
        (NM / 1000, ["--axis-unit", "um"], {}),
        (NM, [], {"sep": ";"}),
        (NM, [], {"suffix": " nm"}),
        (1e7 / NM, [], {"suffix": "cm-1", "sep": ";"}),
        (NM, [], {"sep": ";", "decimal": ","}),
    ],
)
def test_axes(axis: np.ndarray, options: list, keywords: dict, tmp_path: Path, expected: np.ndarray) -> None:
    source = write(tmp_path / "s.csv", axis, **keywords)
    assert main(["embed", str(source), "-o", str(tmp_path / "o.npy"), "--readout", "mean", *options]) == 0
    np.testing.assert_allclose(np.load(tmp_path / "o.npy"), expected, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("id,1100,1200\n1,0.1,0.2\n", [], "column 'id' is not a wavelength"),
        ("0.31,0.32,0.31\n0.3,0.3,0.3\n", [], "the header is not a wavelength axis"),
        ("1100,1200\n0.1,abc\n", [], "bad.csv, line 2: 'abc' is not a number"),
        ("1100,1200\n,\n", [], "bad.csv: there is no spectrum below the header"),
        ("1100,1200\n0.1,0.2,0.3\n", [], "bad.csv, line 2: 3 values under 2 columns"),
        ("1100,1200\n", [], "no spectrum below the header"),
        ("0.31,0.42,0.33\n0.3,0.3,0.3\n", [], "the header is not a wavelength axis"),
        ("1100,1300,1200\n0.3,0.3,0.3\n", [], "neither ascends nor descends"),
        ('1100,1200\n"0,1","0,2"\n', [], "with a decimal point"),
        ("", [], "bad.csv is empty"),
        ("1100 nm,1200 nm\n0.1,0.2\n", ["--axis-unit", "cm-1"], "but the header is in nm"),
        ("1100,1200\n0.1,0.2\n", ["--checkpoint", "nirs-no-v0"], "neither a file nor bundled"),
    ],
)
def test_bad_files_are_named(content: str, options: list, message: str, tmp_path: Path, capsys) -> None:
    source = tmp_path / "bad.csv"
    source.write_text(content)
    assert main(["embed", str(source), "-o", str(tmp_path / "o.npy"), *options]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("nirs4all-vit: ")
    assert "Traceback" not in error
    assert not (tmp_path / "o.npy").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["embed", "nowhere.csv", "-o", "o.npy"], "No such file"),
        (["embed", "nowhere.csv", "-o", "o.xlsx"], "write to one of .npy, .parquet, .csv"),
        (["embed", "nowhere.csv", "-o", "no/folder/o.npy"], "is not a folder"),
        (["embed", str(Path(__file__).parent / "golden"), "-o", "o.npy"], "names a file"),
        (["info", "nowhere.safetensors"], "neither a file nor bundled"),
    ],
)
def test_bad_arguments(arguments: list, message: str, capsys) -> None:
    assert main(arguments) == 1
    assert message in capsys.readouterr().err


def test_missing_packages_are_named(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonargparse", None)
    for command in ("pretrain", "finetune"):
        assert main([command, "--config", "smoke"]) == 1
        assert "needs jsonargparse: pip install 'nirs4all-vit[pretraining]'" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["embed", str(write(tmp_path / "s.csv")), "-o", str(tmp_path / "o.parquet")]) == 1
    assert "needs pyarrow: pip install 'pyarrow'" in capsys.readouterr().err


def test_interrupted(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nirs4all_vit.embedding.embed_file", stop)
    assert main(["embed", str(write(tmp_path / "s.csv")), "-o", str(tmp_path / "o.npy")]) == 130
    assert capsys.readouterr().err == "nirs4all-vit: interrupted; the same command resumes it.\n"


def test_underscores_and_hyphens_alike(tmp_path: Path, capsys) -> None:
    for command in (["info", "--x_bank"], ["pretrain", "--config", "smoke", "--data.x-bank"]):
        assert main([*command, str(tmp_path / "nowhere")]) == 1
        assert "nowhere" in capsys.readouterr().err
    assert main(["finetune", "--x-bank", str(tmp_path / "nowhere"), "--y-bank=a", "--out", str(tmp_path / "o")]) == 1
    assert "nowhere" in capsys.readouterr().err


def test_check(tmp_path: Path, capsys) -> None:
    source = write(tmp_path / "s.csv")
    (tmp_path / "y.csv").write_text("id,y\nA1,5.5\nA2,6.5\nA3,7.5\nA4,5.5\nA5,6.5\n")
    assert main(["check", str(source), str(tmp_path / "y.csv")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "note: s.csv and y.csv: joined by order: 5 rows in each." in lines
    assert lines[-1] == "0 errors, 0 warnings, 3 notes"
    lines = source.read_text().splitlines()
    named = ["Probe,kind," + lines[0], *(f"A{i},oats,{line}" for i, line in enumerate(lines[1:], start=1))]
    source.write_text("\n".join([*named[:5], named[5][:-1] + "x"]) + "\n")
    assert main(["check", str(source), str(tmp_path / "y.csv"), "--id", "Probe", "--drop", "kind"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("error: s.csv, line 6, column '2498': ")
    assert lines[0].endswith("x' is not a number; correct it, or leave the cell empty: missing points are filled in.")
    assert "note: s.csv and y.csv: joined by id: the 5 rows of both files have the same ids in the same order." in lines
    assert lines[-1].startswith("1 error, 0 warnings, ")
    assert main(["check", str(tmp_path / "none.csv")]) == 1
    assert "No such file" in capsys.readouterr().err


def test_ids_are_dropped(tmp_path: Path, expected: np.ndarray) -> None:
    source = write(tmp_path / "s.csv")
    lines = source.read_text().splitlines()
    source.write_text("\n".join(f"{'id' if i == 0 else f's{i}'},{line}" for i, line in enumerate(lines)) + "\n")
    assert main(["embed", str(source), "-o", str(tmp_path / "o.npy"), "--drop", "id", "--readout", "mean"]) == 0
    np.testing.assert_allclose(np.load(tmp_path / "o.npy"), expected, rtol=1e-5, atol=1e-5)


def test_other_encodings_and_overwriting(tmp_path: Path, capsys) -> None:
    (tmp_path / "u.csv").write_text("1100,1200\n1,2\n", encoding="utf-16")
    assert main(["embed", str(tmp_path / "u.csv"), "-o", str(tmp_path / "o.npy")]) == 1
    assert "u.csv is not UTF-8 text" in capsys.readouterr().err
    source = write(tmp_path / "s.csv")
    before = source.read_bytes()
    assert main(["embed", str(source), "-o", str(source)]) == 1
    assert "would be overwritten" in capsys.readouterr().err
    assert source.read_bytes() == before


def test_info(capsys) -> None:
    assert main(["info"]) == 0
    printed = capsys.readouterr().out
    for part in (
        "nirs-base-v2",
        "sha256",
        "contrast 6832, compact 512, mean 96, cls 96",
        "trained on",
        "seed 0",
        "MB",
    ):
        assert part in printed


def test_as_a_module_without_network(tmp_path: Path) -> None:
    source = write(tmp_path / "s.csv")
    run_python(
        "import sys, runpy\n"
        f"sys.argv = ['nirs4all-vit', 'embed', {str(source)!r}, '-o', {str(tmp_path / 'o.npy')!r}]\n"
        "try:\n    runpy.run_module('nirs4all_vit.cli', run_name='__main__')\n"
        "except SystemExit as end:\n    assert end.code == 0",
        network=False,
    )
    assert np.load(tmp_path / "o.npy").shape == (5, 6832)


def test_info_on_a_bank(tmp_path: Path, capsys) -> None:
    write(tmp_path / "grain.csv")
    write(tmp_path / "leaf.csv", 1e7 / NM)
    (tmp_path / "leaf.json").write_text(
        '{"family": "leaves", "mode": "reflectance", "instrument": "X100", "axis_unit": "cm-1"}'
    )
    assert main(["info", "--x-bank", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[1].split() == ["grain", "grain", "5", "80", "1100-2498", "UNKNOWN", "UNKNOWN"]
    assert lines[2].split() == ["leaf", "leaves", "5", "80", "1100-2498", "reflectance", "X100"]
    assert lines[3] == "2 datasets of 2 families, 10 spectra"
    (tmp_path / "bad.csv").write_text("1100,1200\n1,x\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # told once
        assert main(["info", "--x-bank", str(tmp_path)]) == 1
    assert "left out bad: bad.csv, line 2: 'x' is not a number" in capsys.readouterr().out
    assert main(["info", "--x-bank", str(tmp_path / "nowhere")]) == 1
    assert "no folder" in capsys.readouterr().err


def test_embed_reads_what_a_bank_may_hold(tmp_path: Path, expected: np.ndarray) -> None:
    table = pd.DataFrame(X, columns=[f"{v:.10g}" for v in NM])
    table.to_parquet(tmp_path / "s.parquet")
    table.to_csv(tmp_path / "s.csv.gz", index=False)
    for name in ("s.parquet", "s.csv.gz"):
        assert main(["embed", str(tmp_path / name), "-o", str(tmp_path / "o.npy"), "--readout", "mean"]) == 0
        np.testing.assert_allclose(np.load(tmp_path / "o.npy"), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,1100,1200\n1,2,3\n", "Take columns of ids or targets out of the file."),
        ("1.1,1.2,1.3\n.3,.4,.5\n", "(Set axis_unit in t.json.)"),
        ("1100,50\n1,2\n", "(Set axis_unit in t.json.)"),
    ],
)
def test_errors_advise_what_the_command_has(content: str, message: str, tmp_path: Path, capsys) -> None:
    """`info` and `precompute-asls` have no option for columns or units."""
    (tmp_path / "t.csv").write_text(content)
    bank = ["--x-bank", str(tmp_path)]
    for command in (["info", *bank], ["precompute-asls", *bank, "--cache", str(tmp_path / "cache")]):
        assert main(command) == 1
        printed = "".join(capsys.readouterr())
        assert message in printed
        assert "--drop" not in printed
    # As the message says.
    if "axis_unit" in message and "1100" not in content:
        (tmp_path / "t.json").write_text('{"axis_unit": "um"}')
        assert main(["info", *bank]) == 0
