"""What was measured beside spectra: for scores and for tuning, never for pretraining."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .dataset import SpectralDataset


def read_targets(path: Path, dataset: SpectralDataset) -> tuple[pd.DataFrame, NDArray[np.intp]]:
    """Return a column per target and the physical sample of each spectrum.

    Parameters
    ----------
    path : path
        Of a table, comma or semicolon separated, row order as the spectra; columns ``meta_*`` are no targets, the one that
        the metadata of the dataset names as its ``group`` tells replicates.
    dataset : SpectralDataset
        Whose targets they are.

    Returns
    -------
    table : DataFrame of n_spectra rows
        Targets only.
    groups : ndarray of shape (n_spectra,)
        A spectrum whose sample nobody named is one of its own.

    Raises
    ------
    ValueError
        Another number of rows than there are spectra, or no column of groups.
    """
    with path.open(encoding="utf-8") as file:
        header = file.readline()
    table = pd.read_csv(path, sep=";" if header.count(";") > header.count(",") else ",")
    if len(table) != len(dataset):
        raise ValueError(f"{path.name} has {len(table)} rows for {len(dataset)} spectra.")
    column = dataset.metadata.source.get("group")
    if column is not None and column not in table:
        raise ValueError(f"{path.name} has no column {column!r}, which the metadata of {dataset.name} names as group.")
    table = table.rename(columns=str)
    groups = np.arange(len(table)) if column is None else _samples(table[column])
    return table[[name for name in map(str, table) if name != column and not name.startswith("meta_")]], groups


def _samples(column: pd.Series) -> NDArray[np.intp]:
    """Number physical samples."""
    codes, names = pd.factorize(column)
    unnamed = codes < 0
    codes[unnamed] = len(names) + np.arange(unnamed.sum())
    return codes
