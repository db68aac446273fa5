"""What was measured beside spectra: for scores and for tuning, never for pretraining."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .data.dataset import SpectralDataset


def read_targets(path: Path, dataset: SpectralDataset) -> tuple[pd.DataFrame, NDArray[np.intp]]:
    """Return a column per target and the physical sample of each spectrum.

    Parameters
    ----------
    path : path
        Of a table, row order as the spectra: comma separated with decimal points, or by semicolons or tabs with points or commas.
        Columns ``meta_*`` are no targets, the one that the metadata of the dataset names as its ``group`` tells replicates.
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
        Another number of rows than there are spectra, no column of groups, or numbers that are written as text.
    """
    with path.open(encoding="utf-8") as file:
        header = file.readline()
    separator = max(",;\t", key=header.count)
    table = pd.read_csv(path, sep=separator)
    if len(table) != len(dataset):
        raise ValueError(f"{path.name} has {len(table)} rows for {len(dataset)} spectra.")
    column = dataset.metadata.source.get("group")
    if column is not None and column not in table:
        raise ValueError(f"{path.name} has no column {column!r}, which the metadata of {dataset.name} names as group.")
    table = table.rename(columns=str)
    groups = np.arange(len(table)) if column is None else _samples(table[column])
    targets = table[[name for name in map(str, table) if name != column and not name.startswith("meta_")]]
    return targets.apply(_numbers, where=path.name, separator=separator), groups


def _numbers(column: pd.Series, where: str, separator: str) -> pd.Series:
    """Read decimal commas: numbers of half of the world must not pass for names of classes."""
    if pd.api.types.is_numeric_dtype(column):
        return column
    written = column.dropna().astype(str)
    numbers = pd.to_numeric(written.str.replace(",", ".", regex=False), errors="coerce")
    if written.empty or numbers.isna().any():
        stray = written[numbers.isna()]
        # One "<0.5" or "n.d." would make classes of all the numbers around it.
        if len(stray) < len(written) / 2:
            raise ValueError(
                f"{where}, column {column.name!r}: {stray.iloc[0]!r} is not a number; leave it empty, or name a column of ids meta_... ."
            )
        return column
    if separator == ",":
        raise ValueError(
            f"{where}, column {column.name!r}: {written.iloc[0]!r} is text; write numbers with a decimal point, or the table with semicolons."
        )
    return numbers.reindex(column.index)


def _samples(column: pd.Series) -> NDArray[np.intp]:
    """Number physical samples."""
    codes, names = pd.factorize(column)
    unnamed = codes < 0
    codes[unnamed] = len(names) + np.arange(unnamed.sum())
    return codes
