"""Banks: files and folders, sound and broken."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nirs4all_vit.errors import SpectralAxisError, SpectralInputError
from nirs4all_vit.pretraining.data import bank_hash, load_x_bank
from tests.conftest import make_spectra

NM = np.linspace(1100.0, 1500.0, 21)


def _archive(path: Path) -> None:
    with open(path, "wb") as file:
        np.savez(file, X=np.ones((2, 3)))


def write(folder: Path, name: str, text: str, **metadata: object) -> None:
    (folder / f"{name}.csv").write_text(text)
    if metadata:
        (folder / f"{name}.json").write_text(json.dumps(metadata))


def write_bank(folder: Path, n: int = 20) -> list[str]:
    names = [f"set{i:02d}" for i in range(n)]
    for i, name in enumerate(names):
        table = pd.DataFrame(make_spectra(NM, 9, seed=i).round(6), columns=[f"{v:g}" for v in NM])
        table.to_csv(folder / f"{name}.csv", index=False)
        limits = [float(NM[0]), float(NM[-1])]
        said = {"n_samples": 9, "n_wavelengths": NM.size, "axis_unit": "nm", "spectral_range": limits}
        (folder / f"{name}.json").write_text(json.dumps(said))
    return names


def test_axis_and_metadata(tmp_path: Path) -> None:
    write(tmp_path, "b", "8000,4000\n1,2\n3,4\n", axis_unit="cm-1", family="fam")
    write(tmp_path, "a", "1100,1200\n1,2\n")
    a, b = load_x_bank(tmp_path, progress=False)
    assert (a.name, a.family, b.family) == ("a", "a", "fam")
    np.testing.assert_allclose(b.wavelengths, [1250, 2500])
    np.testing.assert_array_equal(b.values, [[1, 2], [3, 4]])
    write(tmp_path, "c", "4000,8000\n1,2\n")
    (c,) = load_x_bank(tmp_path, ["c"], progress=False)
    np.testing.assert_allclose(c.wavelengths, [1250, 2500])
    np.testing.assert_array_equal(c.values, [[2, 1]])


def test_all_formats_in_one_folder(tmp_path: Path) -> None:
    X = make_spectra(NM, 6).astype(np.float32)
    table = pd.DataFrame(X, columns=[f"{v:.10g}" for v in NM])
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_csv(tmp_path / "b.csv.gz", index=False, sep=";")
    table.to_parquet(tmp_path / "c.parquet")
    (tmp_path / "d").mkdir()
    np.save(tmp_path / "d/spectra.npy", X[:, ::-1].astype(np.float64))
    np.save(tmp_path / "d/wavelengths.npy", NM[::-1])
    np.save(tmp_path / "d/targets.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)  # must not be opened
    (tmp_path / "INDEX.md").write_text("not a dataset")
    bank = load_x_bank(tmp_path, progress=False)
    assert [d.name for d in bank] == ["a", "b", "c", "d"]
    for dataset in bank:
        np.testing.assert_allclose(dataset.values, X, rtol=1e-6)
        np.testing.assert_allclose(dataset.wavelengths, NM)
        assert dataset.values.dtype == np.float32
    assert all(isinstance(d.values, np.memmap) for d in bank[:3])
    assert len({bank_hash([d]) for d in bank}) == 4  # names count
    assert bank_hash(bank) == bank_hash(load_x_bank(tmp_path, progress=False))


def test_folders_map_their_files(tmp_path: Path) -> None:
    X = make_spectra(NM, 6).astype(np.float32)
    folder = tmp_path / "d"
    folder.mkdir()
    np.save(folder / "spectra.npy", X)
    np.save(folder / "wavelengths.npy", NM)
    np.save(folder / "baseline_asls.npy", X / 2)
    (dataset,) = load_x_bank(tmp_path, progress=False)
    assert isinstance(dataset.values, np.memmap)
    np.testing.assert_array_equal(dataset.baseline, X / 2)
    # The baseline of a reflectance does not belong under log10(1/R).
    (folder / "metadata.json").write_text('{"mode": "reflectance"}')
    assert load_x_bank(tmp_path, progress=False)[0].baseline is None


@pytest.mark.parametrize("broken", [np.zeros((2, 21)), np.full((6, 21), np.nan), "cut"])
def test_a_broken_baseline_costs_the_baseline_only(broken: object, tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    np.save(folder / "spectra.npy", make_spectra(NM, 6).astype(np.float32))
    np.save(folder / "wavelengths.npy", NM)
    if isinstance(broken, str):
        (folder / "baseline_asls.npy").write_bytes(b"\x93NUMPY")
    else:
        np.save(folder / "baseline_asls.npy", broken)
    with pytest.warns(
        UserWarning, match=r"d/baseline_asls.npy.* It is ignored; compute it again with nirs4all-vit precompute-asls"
    ):
        (dataset,) = load_x_bank(tmp_path, progress=False)
    assert dataset.baseline is None


def test_any_damage_is_named_and_the_rest_loads(tmp_path: Path) -> None:
    """Single bytes of compressed files, links to nowhere, folders with a file's name, odd metadata."""
    table = pd.DataFrame(make_spectra(NM, 30), columns=[f"{v:g}" for v in NM])
    write(tmp_path, "good", "1100,1200\n1,2\n")
    table.to_csv(tmp_path / "gz.csv.gz", index=False)
    table.to_parquet(tmp_path / "pq.parquet")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "link.csv").symlink_to("nowhere.csv")
    (tmp_path / "UPPER.CSV").write_text("1100,1200\n1,x\n")
    write(tmp_path, "lost", "1100,1200\n1,2\n")
    (tmp_path / "lost.json").symlink_to("nowhere.json")
    write(
        tmp_path,
        "odd",
        "1100,1200\n1,2\n",
        spectral_range=[None, "x"],
        temperature=10**400,
        family={"a": 1},
        mode="Absorbance ",
    )
    rng = np.random.default_rng(0)
    for _ in range(25):
        for name in ("gz.csv.gz", "pq.parquet"):
            whole = (tmp_path / name).read_bytes()
            broken = bytearray(whole)
            broken[int(rng.integers(4, len(whole) - 1))] ^= 1 << int(rng.integers(8))
            (tmp_path / name).write_bytes(bytes(broken))
            bank = _skipping(tmp_path)
            assert {"good", "odd"} <= {d.name for d in bank}
            assert {"folder", "link", "UPPER", "lost"} <= {item.name for item in bank.left_out}
            for item in bank.left_out:
                assert item.name in item.reason or "nowhere" in item.reason, item
            (tmp_path / name).write_bytes(whole)
    (odd,) = [d for d in bank if d.name == "odd"]
    assert (odd.family, odd.mode) == ("odd", "absorbance")


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda d: (d / "spectra.npy").unlink(), r"d/spectra.npy is missing"),
        (lambda d: (d / "wavelengths.npy").unlink(), r"d/wavelengths.npy is missing"),
        (
            lambda d: (d / "spectra.npy").write_bytes((d / "spectra.npy").read_bytes()[:300]),
            r"d/spectra.npy is not .* truncated",
        ),
        (
            lambda d: np.save(d / "spectra.npy", np.array([{}], dtype=object), allow_pickle=True),
            r"d/spectra.npy is not",
        ),
        (lambda d: np.save(d / "spectra.npy", np.zeros((3, 4))), r"d/spectra.npy: shape \(3, 4\) on 21 wavelengths"),
        (
            lambda d: np.save(d / "spectra.npy", np.full((3, 21), np.nan)),
            r"d/spectra.npy: X contains NaN at row 0: 100%",
        ),
        (lambda d: np.save(d / "wavelengths.npy", np.zeros(21)), r"d/wavelengths.npy: wavelengths hold 0"),
        (lambda d: np.save(d / "spectra.npy", np.full((3, 21), 1e39)), r"d/spectra.npy: X contains 1e\+39 at row 0"),
        (lambda d: _archive(d / "spectra.npy"), r"d/spectra.npy is an archive of arrays"),
        (lambda d: (d / "metadata.json").write_text('{"n_samples": "7"}'), r"n_samples is 6, but 7"),
        (lambda d: (d / "metadata.json").write_text("[" * 200_000), r"metadata.json: not metadata"),
        (lambda d: (d / "metadata.json").write_text('{"a": ' + "9" * 5000 + "}"), r"metadata.json: not metadata"),
        (
            lambda d: (d / "metadata.json").write_text('{"n_samples": 7}'),
            r"d/spectra.npy: n_samples is 6, but 7 in the metadata",
        ),
        (lambda d: (d / "metadata.json").write_text('{\n"mode": ,}'), r"metadata.json, line 2: not JSON"),
        (lambda d: (d / "metadata.json").write_text("[]"), r"metadata.json: metadata must be a JSON object"),
    ],
)
def test_broken_folders_are_named(break_it: object, message: str, tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    np.save(folder / "spectra.npy", make_spectra(NM, 6).astype(np.float32))
    np.save(folder / "wavelengths.npy", NM)
    break_it(folder)
    with pytest.raises((SpectralInputError, SpectralAxisError), match=message):
        load_x_bank(tmp_path, progress=False)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("id,1100\n1,2\n", SpectralInputError, "bad.csv, line 1: column 'id' is not a wavelength"),
        ("1100,1200\n1,x\n", SpectralInputError, "bad.csv, line 2: 'x' is not a number"),
        ("1100,1200\n1,2\n3\n", SpectralInputError, "bad.csv, line 3: 1 values under 2 columns"),
        ("1,1200\n1,2\n", SpectralAxisError, "wavelength 1 read as nm"),
    ],
)
def test_broken_files_are_named(text: str, error: type, message: str, tmp_path: Path) -> None:
    write(tmp_path, "bad", text)
    with pytest.raises(error, match=message):
        load_x_bank(tmp_path, progress=False)
    write(tmp_path, "good", "1100,1200\n1,2\n")
    with pytest.warns(UserWarning, match="1 of 2 datasets were left out"):
        bank = load_x_bank(tmp_path, on_error="skip", progress=False)
    assert [d.name for d in bank] == ["good"]
    ((name, reason),) = bank.left_out
    assert name == "bad"
    assert message in reason


def test_folders_and_arguments_that_are_wrong(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no <dataset_id>\.csv"):
        load_x_bank(tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder"):
        load_x_bank(tmp_path / "nowhere")
    write(tmp_path, "a", "1100,1200\n1,2\n")
    with pytest.raises(FileNotFoundError, match=r"no dataset 'z' in .*; there are: a"):
        load_x_bank(tmp_path, ["z"])
    with pytest.raises(ValueError, match="on_error='ignore'"):
        load_x_bank(tmp_path, on_error="ignore")
    pd.DataFrame({"1100": [0.1], "1200": [0.2]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(SpectralInputError, match=r"a occurs more than once: a.csv, a.parquet"):
        load_x_bank(tmp_path, progress=False)


def test_the_metadata_tells_on_a_cut_or_mislabelled_file(tmp_path: Path) -> None:
    write(tmp_path, "a", "1100,1200\n1,2\n3,4\n", n_samples=3)
    with pytest.raises(SpectralInputError, match=r"a.csv: n_samples is 2, but 3 in the metadata; is the file"):
        load_x_bank(tmp_path, progress=False)
    write(tmp_path, "a", "1100,1200\n1,2\n3,4\n", n_wavelengths=4)
    with pytest.raises(SpectralInputError, match=r"a.csv: n_wavelengths is 2, but 4 in the metadata"):
        load_x_bank(tmp_path, progress=False)
    write(tmp_path, "a", "1100,1200\n1,2\n3,4\n", spectral_range=[1100, 2200])
    with pytest.raises(SpectralInputError, match=r"a.csv: the axis runs from 1100 to 1200 nm, but spectral_range is"):
        load_x_bank(tmp_path, progress=False)


def test_the_cache_is_used_and_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nirs4all_vit.pretraining.data import bank as module
    from nirs4all_vit.pretraining.data import folders

    source, cache = tmp_path / "bank", tmp_path / "cache"
    source.mkdir()
    write(source, "a", "1100,1200\n1,2\n")
    first = load_x_bank(source, cache=cache, progress=False)[0]
    opened = []
    monkeypatch.setattr(module, "open_table", lambda *a: opened.append(a) or pytest.fail("parsed again"))
    again = load_x_bank(source, cache=cache, progress=False)[0]
    assert not opened
    np.testing.assert_array_equal(first.values, again.values)
    monkeypatch.undo()
    write(source, "a", "1100,1200\n1,5\n")
    np.testing.assert_array_equal(load_x_bank(source, cache=cache, progress=False)[0].values, [[1, 5]])
    spectra = cache / "a" / "spectra.npy"
    whole = spectra.read_bytes()
    for damaged in (whole[:-3], whole[:-1] + bytes([whole[-1] ^ 1])):
        spectra.unlink()
        spectra.write_bytes(damaged)
        np.testing.assert_array_equal(load_x_bank(source, cache=cache, progress=False)[0].values, [[1, 5]])
    # Interrupted while another content was written: what was there before does not pass for the new.
    write(source, "a", "1100,1200\n9,9\n")
    monkeypatch.setattr(folders.np, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        load_x_bank(source, cache=cache, progress=False)
    monkeypatch.undo()
    write(source, "a", "1100,1200\n1,5\n")
    np.testing.assert_array_equal(load_x_bank(source, cache=cache, progress=False)[0].values, [[1, 5]])
    assert "parsed_from" not in load_x_bank(source, cache=cache, progress=False)[0].metadata.source


def test_parsed_tables_last_as_long_as_their_datasets(tmp_path: Path) -> None:
    write(tmp_path, "a", "1100,1200\n1,2\n")
    (dataset,) = load_x_bank(tmp_path, progress=False)
    folder = Path(dataset.values.filename).parent
    copy = pickle.loads(pickle.dumps(dataset))
    assert isinstance(copy.values, np.memmap)  # mapped again, not sent
    assert len(pickle.dumps(dataset)) < 5000
    np.testing.assert_array_equal(copy.values, [[1, 2]])
    del dataset, copy
    assert not folder.exists()


def _cut(text: str, rng: np.random.Generator) -> str:
    return text[: int(rng.integers(1, len(text) - 1))]


def _text_in_numbers(text: str, rng: np.random.Generator) -> str:
    lines = text.splitlines()
    row = int(rng.integers(1, len(lines)))
    cells = lines[row].split(",")
    cells[int(rng.integers(len(cells)))] = str(rng.choice(["n.a.", "0.1x", "1.2.3", "<LOD", "0,4"]))
    lines[row] = ",".join(cells)
    return "\n".join(lines) + "\n"


def _ragged(text: str, rng: np.random.Generator) -> str:
    lines = text.splitlines()
    row = int(rng.integers(1, len(lines)))
    lines[row] = lines[row] + ",0.5" if rng.random() < 0.5 else lines[row].rsplit(",", 1)[0]
    return "\n".join(lines) + "\n"


def _absurd_value(text: str, rng: np.random.Generator) -> str:
    lines = text.splitlines()
    row = int(rng.integers(1, len(lines)))
    cells = lines[row].split(",")
    cells[int(rng.integers(len(cells)))] = str(rng.choice(["inf", "-inf", "9.97e36", "1e300"]))
    lines[row] = ",".join(cells)
    return "\n".join(lines) + "\n"


def test_missing_points_are_filled_in(tmp_path: Path) -> None:
    X = make_spectra(NM, 30).astype(np.float32)
    holes = X.copy()
    holes[3, 4] = holes[:, 9] = np.nan
    pd.DataFrame(holes, columns=NM).to_csv(tmp_path / "table.csv", index=False)
    (tmp_path / "folder").mkdir()
    np.save(tmp_path / "folder/spectra.npy", holes[:, ::-1])
    np.save(tmp_path / "folder/wavelengths.npy", NM[::-1])
    for dataset in load_x_bank(tmp_path, progress=False):
        np.testing.assert_allclose(dataset.wavelengths, np.delete(NM, 9))
        np.testing.assert_allclose(dataset.values, np.delete(X, 9, axis=1), atol=0.02)


CORRUPTIONS = {
    "cut": _cut,
    "text": _text_in_numbers,
    "ragged": _ragged,
    "header": lambda text, _: text.split("\n", 1)[1],
    "absurd": _absurd_value,
    "delimiter": lambda text, _: text.replace(",", "|"),
    "tab": lambda text, _: text.replace(",", "\t"),
    "bom": lambda text, _: "\ufeff" + text,
    "semicolon": lambda text, _: text.replace(",", ";"),
}


@pytest.mark.filterwarnings("ignore:.*last line has no end")
@pytest.mark.parametrize("seed", range(12))
def test_a_tenth_of_the_files_corrupted_at_random(seed: int, tmp_path: Path) -> None:
    names = write_bank(tmp_path)
    sound = {d.name: np.array(d.values) for d in load_x_bank(tmp_path, progress=False)}
    rng = np.random.default_rng(seed)
    broken = set()
    for name in rng.choice(names, 3, replace=False):
        kind = str(rng.choice(list(CORRUPTIONS)))
        path = tmp_path / f"{name}.csv"
        path.write_text(CORRUPTIONS[kind](path.read_text(), rng))
        if kind not in ("bom", "semicolon", "tab"):
            broken.add(str(name))
    bank = load_x_bank(tmp_path, on_error="skip", progress=False) if not broken else _skipping(tmp_path)
    assert {name for name, _ in bank.left_out} == broken
    assert all(name in reason for name, reason in bank.left_out)
    for dataset in bank:
        np.testing.assert_array_equal(dataset.values, sound[dataset.name])


def _skipping(folder: Path):
    with pytest.warns(UserWarning, match="were left out"):
        return load_x_bank(folder, on_error="skip", progress=False)


@pytest.mark.xbank
@pytest.mark.slow
def test_the_whole_bank_loads(x_bank: Path) -> None:
    datasets = load_x_bank(x_bank, progress=False)
    assert len(datasets) >= 95
    assert sum(map(len, datasets)) >= 27_000
    for dataset in datasets:
        assert (np.diff(dataset.wavelengths) > 0).all()
        assert dataset.values.dtype == np.float32
        assert np.isfinite(dataset.absorbance()).all()
        assert dataset.deviation > 0


@pytest.mark.xbank
@pytest.mark.slow
def test_the_real_bank_with_broken_files(x_bank: Path, tmp_path: Path) -> None:
    """A tenth of real files, each broken in another way: the rest is untouched."""
    names = sorted(p.stem for p in x_bank.glob("*.csv"))[::3]
    for name in names:
        shutil.copy(x_bank / f"{name}.csv", tmp_path)
        shutil.copy(x_bank / f"{name}.json", tmp_path)
    rng = np.random.default_rng(0)
    broken = dict(
        zip((str(n) for n in rng.choice(names, 4, replace=False)), ("cut", "text", "ragged", "header"), strict=True)
    )
    for name, kind in broken.items():
        path = tmp_path / f"{name}.csv"
        path.chmod(0o644)
        path.write_text(CORRUPTIONS[kind](path.read_text(), rng))
    with pytest.warns(UserWarning, match="4 of "):
        bank = load_x_bank(tmp_path, on_error="skip", progress=False)
    assert {name for name, _ in bank.left_out} == set(broken)
    whole = {d.name: d.content_hash for d in load_x_bank(x_bank, [d.name for d in bank], progress=False)}
    assert {d.name: d.content_hash for d in bank} == whole
