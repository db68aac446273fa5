"""Datasets of a bank with their targets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..pretraining.data.dataset import SpectralDataset
from ..pretraining.targets import read_targets

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
        Holds ``<dataset_id>.csv`` as `read_targets` takes it. Text stands for classes.

    Raises
    ------
    ValueError
        A table with another number of rows than there are spectra, or without the column of its groups.
    """
    for dataset in datasets:
        path = Path(y_bank) / f"{dataset.name}.csv"
        if not path.exists():
            continue
        table, groups = read_targets(path, dataset)
        outputs = {}
        for name in map(str, table):
            values = _outputs(table[name])
            rows = np.isfinite(values).all(axis=1)
            if values.shape[1] and len(np.unique(groups[rows])) >= _FEWEST and (values[rows].std(axis=0) > 0).any():
                outputs[name] = values
        if outputs:
            yield LabelledDataset(dataset, outputs, groups)


def _outputs(column: pd.Series) -> NDArray[np.float32]:
    """Return numbers as one column, classes as one each; rare classes count as not measured."""
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=np.float32)[:, None]
    counts = column.value_counts()
    codes, classes = pd.factorize(column.where(column.map(counts) >= _SMALLEST_CLASS))
    out = (codes[:, None] == np.arange(len(classes))).astype(np.float32)
    out[codes < 0] = np.nan
    return out
