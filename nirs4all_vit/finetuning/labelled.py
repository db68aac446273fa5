"""Datasets of a bank with their targets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..pretraining.data.dataset import SpectralDataset

#: Targets measured on fewer samples teach nothing; neither do classes of fewer.
_FEWEST, _SMALLEST_CLASS = 20, 6


@dataclass(frozen=True)
class LabelledDataset:
    """A dataset with what was measured beside its spectra.

    Attributes
    ----------
    dataset : SpectralDataset
    targets : dict of str to ndarray of shape (n_spectra, n_outputs), float32
        By name; NaN where nothing was measured. Classes are columns of zeros and ones.
    groups : ndarray of shape (n_spectra,)
        Physical sample of each spectrum.
    """

    dataset: SpectralDataset
    targets: dict[str, NDArray[np.float32]]
    groups: NDArray[np.intp]

    def measured(self, target: str) -> NDArray[np.intp]:
        """Return the rows that have a target."""
        return np.flatnonzero(np.isfinite(self.targets[target]).all(axis=1))


def load_labelled(datasets: Iterable[SpectralDataset], y_bank: str | Path) -> Iterator[LabelledDataset]:
    """Yield those datasets that have targets.

    Parameters
    ----------
    datasets : iterable of SpectralDataset
    y_bank : path
        Holds ``<dataset_id>.csv``: a column per target, row order as the spectra; columns ``meta_*`` are no targets,
        the one that the metadata of the dataset names as its ``group`` tells replicates. Text stands for classes.

    Raises
    ------
    ValueError
        A table with another number of rows than there are spectra, or without the column of its groups.
    """
    for dataset in datasets:
        path = Path(y_bank) / f"{dataset.name}.csv"
        if not path.exists():
            continue
        with path.open(encoding="utf-8") as file:
            header = file.readline()
        table = pd.read_csv(path, sep=";" if header.count(";") > header.count(",") else ",")
        if len(table) != len(dataset):
            raise ValueError(f"{path.name} has {len(table)} rows for {len(dataset)} spectra.")
        column = dataset.metadata.source.get("group")
        if column is not None and column not in table:
            raise ValueError(
                f"{path.name} has no column {column!r}, which the metadata of {dataset.name} names as group."
            )
        groups = np.arange(len(table)) if column is None else _samples(table[column])
        found = {}
        for name in [name for name in map(str, table) if name != column and not name.startswith("meta_")]:
            values = _outputs(table[name])
            rows = np.isfinite(values).all(axis=1)
            if values.shape[1] and len(np.unique(groups[rows])) >= _FEWEST and (values[rows].std(axis=0) > 0).any():
                found[name] = values
        if found:
            yield LabelledDataset(dataset, found, groups)


def _samples(column: pd.Series) -> NDArray[np.intp]:
    """Number physical samples; a spectrum whose sample nobody named is one of its own."""
    codes, names = pd.factorize(column)
    unnamed = codes < 0
    codes[unnamed] = len(names) + np.arange(unnamed.sum())
    return codes


def _outputs(column: pd.Series) -> NDArray[np.float32]:
    """Return numbers as one column, classes as one each; rare classes count as not measured."""
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=np.float32)[:, None]
    counts = column.value_counts()
    codes, classes = pd.factorize(column.where(column.map(counts) >= _SMALLEST_CLASS))
    out = (codes[:, None] == np.arange(len(classes))).astype(np.float32)
    out[codes < 0] = np.nan
    return out
