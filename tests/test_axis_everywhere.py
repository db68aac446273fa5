"""A table gives the same embedding as data frame, file, bank and nirs4all dataset, in any order of its columns."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

from nirs4all_vit import SpectralEmbedder
from nirs4all_vit.cli import main
from nirs4all_vit.nirs4all_host.hooks import is_plausible_axis
from nirs4all_vit.pretraining import load_x_bank
from tests.conftest import make_spectra

EVEN = np.arange(900.0, 1140.0, 4.0)
SENSORS = np.r_[np.arange(400.0, 1050.0, 13.0), np.arange(1001.0, 1900.0, 17.0)]
AXES = {
    "ascending": EVEN,
    "descending": EVEN[::-1],
    "sorted as text": np.array(sorted(f"{nm:g}" for nm in EVEN), dtype=float),
    "overlapping sensors": SENSORS,
    "shuffled": np.random.default_rng(0).permutation(EVEN),
}
NAMES: dict[str, Callable[[float], str]] = {
    "prefix": lambda nm: f"spc.{nm:g}",
    "unit": lambda nm: f"{nm:g} (nm)",
    "both": lambda nm: f"x_{nm:g}_ref",
    "nm": lambda nm: f"{nm:g}nm",
}


def embedder() -> SpectralEmbedder:
    return SpectralEmbedder(readout="mean", adapt=False, align=False)


def test_spectra_are_no_header(tmp_path: Path) -> None:
    """A table of counts without a header: its first spectrum is no axis, in files as in nirs4all."""
    counts = np.round(2000 * make_spectra(np.linspace(1100.0, 2498.0, 60), 5) + 300)
    (tmp_path / "t.csv").write_text("\n".join(",".join(f"{v:g}" for v in row) for row in counts) + "\n")
    assert main(["embed", str(tmp_path / "t.csv"), "-o", str(tmp_path / "t.npy")]) == 1
    assert not is_plausible_axis(counts[0])


def from_frame(table: pd.DataFrame, _: Path) -> np.ndarray:
    return embedder().fit_transform(table)


def from_command(table: pd.DataFrame, folder: Path) -> np.ndarray:
    table.to_csv(folder / "t.csv", index=False)
    assert main(["embed", str(folder / "t.csv"), "-o", str(folder / "t.npy"), "--readout", "mean"]) == 0
    return np.load(folder / "t.npy")


def from_bank(table: pd.DataFrame, folder: Path) -> np.ndarray:
    (folder / "bank").mkdir()
    table.to_csv(folder / "bank/t.csv", index=False)
    (dataset,) = load_x_bank(folder / "bank", progress=False)
    return embedder().fit_transform(np.array(dataset.values), wavelengths=dataset.wavelengths)


def from_host(table: pd.DataFrame, folder: Path, monkeypatch: pytest.MonkeyPatch, engine: str) -> np.ndarray:
    """Return all rows that are embedded within nirs4all, in the order of the table."""
    import nirs4all

    monkeypatch.chdir(folder)
    (folder / "set").mkdir()
    y = make_spectra(np.array([1450.0]), len(table))[:, 0]
    for part, rows in (("cal", slice(0, 20)), ("val", slice(20, None))):
        table[rows].to_csv(folder / f"set/X{part}.csv", index=False, sep=";")
        pd.DataFrame({"y": y[rows]}).to_csv(folder / f"set/Y{part}.csv", index=False, sep=";")
    rows: dict[bytes, np.ndarray] = {}
    transform = SpectralEmbedder.transform

    def spy(self: SpectralEmbedder, X: Any, **options: Any) -> np.ndarray:
        embedded = transform(self, X, **options)
        rows.update(zip((np.float32(row).tobytes() for row in np.asarray(X)), embedded, strict=True))
        return embedded

    monkeypatch.setattr(SpectralEmbedder, "transform", spy)
    steps = [KFold(2), embedder(), {"model": Ridge()}]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("error", message="no wavelengths were given|the dataset's header")
        nirs4all.run(steps, dataset=str(folder / "set"), engine=engine, verbose=0, save_charts=False, random_state=0)
    return np.stack([rows[np.float32(row).tobytes()] for row in table.to_numpy()])


def table_of(axis: np.ndarray, name: Callable[[float], str] = lambda nm: f"{nm:g}") -> pd.DataFrame:
    return pd.DataFrame(make_spectra(axis, 30).astype(np.float32), columns=[name(nm) for nm in axis])


def expected(table: pd.DataFrame, axis: np.ndarray) -> np.ndarray:
    order = np.argsort(axis)
    return embedder().fit_transform(table.to_numpy()[:, order], wavelengths=axis[order])


CASES = [(AXES[kind], lambda nm: f"{nm:g}") for kind in AXES] + [(EVEN, NAMES[kind]) for kind in NAMES]
IDS = [*AXES, *NAMES]


@pytest.mark.parametrize(("axis", "name"), CASES, ids=IDS)
@pytest.mark.parametrize("way", [from_frame, from_command, from_bank])
def test_the_same_embedding(
    way: Callable[..., np.ndarray], axis: np.ndarray, name: Callable[[float], str], tmp_path: Path
) -> None:
    table = table_of(axis, name)
    np.testing.assert_allclose(way(table, tmp_path), expected(table, axis), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("axis", "name"), CASES, ids=IDS)
@pytest.mark.parametrize("engine", ["dag-ml", "legacy"])
def test_the_same_embedding_in_nirs4all(
    engine: str, axis: np.ndarray, name: Callable[[float], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = table_of(axis, name)
    found = from_host(table, tmp_path, monkeypatch, engine)
    np.testing.assert_allclose(found, expected(table, axis), rtol=1e-3, atol=1e-4)
