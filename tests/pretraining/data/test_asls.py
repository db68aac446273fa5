"""The AsLS cache: right, resumable, and never stale."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from nirs4all_vit.cli import main
from nirs4all_vit.pretraining.data import (
    BaselineCache,
    BaselineCacher,
    SpectralDataset,
    asls,
    asls_baseline,
    load_x_bank,
)
from tests.conftest import ROOT, make_spectra

NM = np.linspace(1100.0, 2100.0, 201)


def dataset(n: int = 7, seed: int = 0, **metadata: object) -> SpectralDataset:
    return SpectralDataset(f"set{seed}", make_spectra(NM, n, seed).astype(np.float32), NM, metadata)


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if not p.name.startswith(".")}


def test_the_baseline_is_that_of_pybaselines() -> None:
    from pybaselines.whittaker import asls as reference

    X = make_spectra(NM, 4)
    expected = np.stack([reference(x, lam=1e5, p=0.02)[0] for x in X])
    np.testing.assert_allclose(asls_baseline(X, 1e5, 0.02), expected, atol=1e-12)
    assert (asls_baseline(X) <= X + 0.05).mean() > 0.95  # it runs below the bands
    np.testing.assert_array_equal(asls_baseline(X[:, :2]), X[:, :2])


def test_the_cache_holds_the_baseline_of_the_absorbance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asls, "_BLOCK_POINTS", 3 * NM.size)
    sets = [dataset(), dataset(8, 1)]
    reflectance = SpectralDataset("r", 10.0 ** -sets[0].values, NM, {"mode": "reflectance"})
    cache = BaselineCache(tmp_path / "c")
    assert cache.get(sets[0]) is None
    assert cache.precompute([*sets, reflectance], progress=False) == 3
    for one in (*sets, reflectance):
        np.testing.assert_allclose(cache.get(one), asls_baseline(one.absorbance()), atol=1e-6)
        assert isinstance(cache.get(one), np.memmap)
    np.testing.assert_allclose(cache.get(reflectance), cache.get(sets[0]), atol=1e-4)
    assert cache.precompute(sets, progress=False) == 0


def test_other_content_or_parameters_are_other_files(tmp_path: Path) -> None:
    cache = BaselineCache(tmp_path)
    changed = SpectralDataset("set0", dataset().values + 0.01, NM)
    paths = {
        cache.path(dataset()),
        cache.path(changed),
        BaselineCache(tmp_path, lam=1e5).path(dataset()),
        BaselineCache(tmp_path, p=0.02).path(dataset()),
    }
    assert len(paths) == 4
    with pytest.raises(ValueError, match=r"AsLS needs 0 < lam <= 1e12 and 0 < p < 1; got lam=1000000.0, p=1"):
        BaselineCache(tmp_path, p=1)


@pytest.mark.parametrize("damage", ["cut", "flip", "checksum", "other", "gone"])
def test_damaged_files_are_made_again(damage: str, tmp_path: Path) -> None:
    cache, one = BaselineCache(tmp_path), dataset()
    cache.precompute([one], progress=False)
    before, path = files(tmp_path), cache.path(one)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-5])
    elif damage == "flip":
        content = bytearray(path.read_bytes())
        content[-9] ^= 1
        path.write_bytes(bytes(content))
    elif damage == "checksum":
        path.with_suffix(".sha256").unlink()
    elif damage == "other":
        np.save(path, np.zeros((3, 4), np.float32))
    else:
        path.unlink()
    assert cache.get(one) is None
    assert cache.precompute([one], progress=False) == 1
    assert files(tmp_path) == before


def test_a_missing_cache_warns_once_and_says_what_to_type(tmp_path: Path) -> None:
    cache, sets = BaselineCache(tmp_path / "c"), [dataset(), dataset(8, 1)]
    with pytest.warns(
        UserWarning, match="left out of the baseline objective. Compute baselines with: nirs4all-vit precompute-asls"
    ) as seen:
        assert not cache.attach(sets)
    assert len(seen) == 1
    cache.precompute(sets, progress=False)
    assert cache.attach(sets)
    assert all(s.baseline is not None for s in sets)


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    (old := tmp_path / ".set0-abc.npy").write_bytes(b"x")
    (new := tmp_path / ".set0-def.npy").write_bytes(b"x")
    os.utime(old, (0, 0))
    BaselineCache(tmp_path).precompute([], progress=False)
    assert not old.exists()
    assert new.exists()


def write_bank(folder: Path, n_sets: int = 12, n: int = 300) -> None:
    folder.mkdir()
    for i in range(n_sets):
        table = pd.DataFrame(make_spectra(NM, n, i).round(5), columns=[f"{v:g}" for v in NM])
        table.to_csv(folder / f"s{i:02d}.csv", index=False)


@pytest.mark.exhaustive
def test_killed_and_started_again(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """SIGKILL in the middle; the second run does the rest, and the result is that of an undisturbed one."""
    write_bank(tmp_path / "bank")
    arguments = ["precompute-asls", "--x-bank", str(tmp_path / "bank"), "--cache"]
    assert main([*arguments, str(tmp_path / "whole"), "--jobs", "2"]) == 0
    whole = files(tmp_path / "whole")
    assert len(whole) == 24
    # Slowed down, so that the kill finds it at work on any machine.
    code = (
        "import sys, time; from nirs4all_vit.pretraining.data import asls; from nirs4all_vit.cli import main\n"
        "fast = asls.asls_baseline\n"
        "asls.asls_baseline = lambda *a: (time.sleep(0.1), fast(*a))[1]\n"
        f"main({[*arguments, str(tmp_path / 'killed')]!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "killed").glob("*.sha256"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 3 <= len(list((tmp_path / "killed").glob("*.sha256"))) < 12
    capsys.readouterr()
    assert main([*arguments, str(tmp_path / "killed")]) == 0
    assert " were there" in capsys.readouterr().out
    assert files(tmp_path / "killed") == whole
    assert main([*arguments, str(tmp_path / "killed")]) == 0
    assert "0 datasets computed, 12 were there" in capsys.readouterr().out


def test_the_command_refuses_what_it_cannot_do(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_bank(tmp_path / "bank", 1, 3)
    (tmp_path / "bank/bad.csv").write_text("1100,1200\n1,x\n")
    arguments = ["precompute-asls", "--x-bank", str(tmp_path / "bank"), "--cache", str(tmp_path / "c")]
    assert main(arguments) == 1
    assert "bad.csv, line 2: 'x' is not a number" in capsys.readouterr().err
    with pytest.warns(UserWarning, match="1 of 2 datasets were left out"):
        assert main([*arguments, "--skip-errors"]) == 0
    for options in (["--p", "2"], ["--lam", "nan"], ["--lam", "inf"], ["--lam", "1e300"]):
        assert main([*arguments, *options]) == 1
        assert "0 < p < 1" in capsys.readouterr().err
    assert main([*arguments, "--jobs", "0"]) == 1
    assert "--jobs 0" in capsys.readouterr().err
    assert len(load_x_bank(tmp_path / "bank", ["s00"], progress=False)) == 1


@parametrize_with_checks([BaselineCacher()])
def test_baseline_cacher_is_a_scikit_learn_transformer(estimator: object, check: object) -> None:
    check(estimator)


def test_baseline_cacher_computes_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    X = make_spectra(NM, 5)
    plain = BaselineCacher().fit_transform(X)
    np.testing.assert_allclose(plain, X - asls_baseline(X))
    np.testing.assert_allclose(BaselineCacher(output="baseline").fit_transform(X), asls_baseline(X))
    np.testing.assert_array_equal(BaselineCacher(cache=str(tmp_path)).fit_transform(X), plain)
    from nirs4all_vit.pretraining.data import baseline_cacher

    monkeypatch.setattr(baseline_cacher, "asls_baseline", lambda *_: pytest.fail("computed again"))
    np.testing.assert_array_equal(BaselineCacher(cache=tmp_path).fit_transform(X), plain)
    monkeypatch.undo()
    (path,) = tmp_path.glob("*.npy")
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(bytes(content))
    np.testing.assert_array_equal(BaselineCacher(cache=tmp_path).fit_transform(X), plain)
    with pytest.raises(ValueError, match="'p' parameter"):
        BaselineCacher(p=1.5).fit(X)
