"""A bank of unlabelled spectra: one CSV per dataset, header = axis, metadata in a JSON beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from ...errors import SpectralInputError
from ...spectra import Spectra, parse_axis_labels, to_nanometres


@dataclass(frozen=True)
class SpectralDataset:
    """Spectra of one dataset on one grid, without targets.

    Attributes
    ----------
    name : str
        Dataset id (the file's stem).
    values : ndarray of shape (n_spectra, n_wavelengths), float32
        Signal as published.
    wavelengths : ndarray of shape (n_wavelengths,), float64
        In nm, ascending.
    metadata : dict
        The sparse JSON beside the file.
    """

    name: str
    values: NDArray[np.float32]
    wavelengths: NDArray[np.float64]
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """Datasets that share samples, laboratory or instrument; the dataset itself if unknown."""
        return str(self.metadata.get("family", self.name))

    def absorbance(self) -> NDArray[np.float32]:
        """Return the spectra as absorbance, log10(1/R) or log10(1/T).

        Signals whose mode is reflectance or transmittance are converted, from percent where their
        values say so; anything else is returned as it is.
        """
        if self.metadata.get("mode") not in ("reflectance", "transmittance"):
            return self.values
        values = self.values / 100.0 if np.median(self.values) > 2.0 else self.values
        return -np.log10(np.clip(values, 1e-4, None))

    def content_hash(self) -> str:
        """SHA-256 of the values and wavelengths."""
        digest = hashlib.sha256(np.ascontiguousarray(self.values).tobytes())
        digest.update(self.wavelengths.tobytes())
        return digest.hexdigest()


def load_x_bank(
    folder: str | Path, names: Sequence[str] | None = None, *, progress: bool = True
) -> list[SpectralDataset]:
    """Load the datasets of a folder of CSV files.

    Parameters
    ----------
    folder : path
        Holds ``<dataset_id>.csv`` (header = axis in nm or cm-1, a row per spectrum) and, optionally,
        ``<dataset_id>.json`` with metadata (``axis_unit``, ``mode``, ``family``, ...).
    names : sequence of str, optional
        Dataset ids to load, in that order; all by default, sorted.
    progress : bool, default=True
        Show a progress bar.

    Returns
    -------
    list of SpectralDataset

    Raises
    ------
    FileNotFoundError
        No such folder, or no CSV in it.
    SpectralInputError
        A file whose header or values cannot be read as spectra; the message names the file.
    """
    folder = Path(folder)
    paths = [folder / f"{name}.csv" for name in names] if names is not None else sorted(folder.glob("*.csv"))
    if not paths:
        raise FileNotFoundError(f"no <dataset_id>.csv in {folder}; pass the folder of the x-bank.")
    bar = tqdm(paths, desc="loading spectra", unit="set", disable=not progress)
    return [_read(path) for path in bar]


def bank_hash(datasets: Sequence[SpectralDataset]) -> str:
    """Return one hash for a bank: names and contents, in order."""
    digest = hashlib.sha256()
    for dataset in datasets:
        digest.update(f"{dataset.name}:{dataset.content_hash()}\n".encode())
    return digest.hexdigest()


def _read(path: Path) -> SpectralDataset:
    beside = path.with_suffix(".json")
    metadata = json.loads(beside.read_text("utf-8")) if beside.exists() else {}
    table = pd.read_csv(path, encoding="utf-8-sig")
    axis = parse_axis_labels(table.columns)
    if axis is None:
        raise SpectralInputError(f"{path.name}: the header is not a wavelength axis.")
    try:
        values = table.to_numpy(dtype=np.float32)
    except ValueError as error:
        raise SpectralInputError(f"{path.name}: {error}.") from error
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise SpectralInputError(f"{path.name}, line {row + 2}: a value is missing or not finite.")
    unit = metadata.get("axis_unit", axis[1])
    spectra = Spectra.on_grid(values, to_nanometres(axis[0], unit))
    return SpectralDataset(path.stem, np.ascontiguousarray(spectra.values), spectra.wavelengths, metadata)
