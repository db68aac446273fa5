"""Scores of an encoder in training: stability, and ridge regression on targets.

The targets are used for evaluation only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold, cross_val_predict
from torch import Tensor

from ..encoder import Grid, SpectralPerceiver
from ..spectra.targets import read_target_table
from .data.dataset import SpectralDataset


def read_targets(path: Path, dataset: SpectralDataset) -> tuple[pd.DataFrame, NDArray[np.intp]]:
    """Read the targets of a dataset and the physical sample of each spectrum.

    Parameters
    ----------
    path : path
        Table with rows in the order of the spectra, separated by commas (with decimal points), or
        by semicolons or tabs (with decimal points or commas). Columns ``meta_*`` are not targets.
        The column that the metadata of the dataset names as ``group`` identifies replicates.
    dataset : SpectralDataset
        Dataset to which the targets belong.

    Returns
    -------
    table : DataFrame of n_spectra rows
        One column per target.
    groups : ndarray of shape (n_spectra,)
        Number of the sample; a spectrum without a sample name is its own sample.

    Raises
    ------
    ValueError
        The number of rows differs from the number of spectra, the column of groups is missing, or a
        value is not a number.
    """
    column = dataset.metadata.source.get("group")
    table = read_target_table(path, () if column is None else (column,))
    if len(table) != len(dataset):
        raise ValueError(f"{path.name} has {len(table)} rows for {len(dataset)} spectra; give one row per spectrum.")
    if column is not None and column not in table:
        raise ValueError(
            f"{path.name} has no column {column!r}, which the metadata of {dataset.name} names as group; add it."
        )
    groups = np.arange(len(table)) if column is None else _samples(table[column])
    return table[[name for name in map(str, table) if name != column and not name.startswith("meta_")]], groups


def _samples(column: pd.Series) -> NDArray[np.intp]:
    """Return the number of the physical sample of each row; unnamed rows get their own number."""
    codes, names = pd.factorize(column)
    unnamed = codes < 0
    codes[unnamed] = len(names) + np.arange(unnamed.sum())
    return codes


#: Largest number of spectra per dataset, and of datasets, in the stability score.
_ROWS, _DATASETS = 16, 40


@torch.inference_mode()
def embed_rows(encoder: SpectralPerceiver, dataset: SpectralDataset, rows: NDArray[np.int64], readout: str) -> Tensor:
    """Return a read-out of some absorbance spectra of a dataset, (n_rows, width), on the CPU."""
    device = encoder.latents.device
    grid = Grid.from_wavelengths(torch.from_numpy(dataset.wavelengths.copy()).to(device))
    spectra = torch.from_numpy(np.ascontiguousarray(dataset.absorbance(rows))).to(device)
    return torch.cat([encoder(part, grid, readout=readout).float().cpu() for part in spectra.split(64)])


def probe(encoder: SpectralPerceiver, datasets: Sequence[SpectralDataset]) -> Tensor:
    """Embed a fixed sample of the bank, centred by dataset: (n, width of mean)."""
    sample = [datasets[i] for i in np.linspace(0, len(datasets) - 1, min(_DATASETS, len(datasets))).astype(int)]
    parts = []
    for dataset in sample:
        rows = np.linspace(0, len(dataset) - 1, min(_ROWS, len(dataset))).astype(int)
        embedded = embed_rows(encoder, dataset, rows, "mean")
        parts.append(embedded - embedded.mean(dim=0))
    return torch.cat(parts)


def linear_cka(a: Tensor, b: Tensor) -> float:
    """Return the linear centred kernel alignment of two embeddings of the same rows, 0 to 1.

    Kornblith, S. et al. (2019). Similarity of neural network representations revisited. ICML.
    """
    a, b = a.double() - a.double().mean(dim=0), b.double() - b.double().mean(dim=0)
    cross, own, other = (float((x.T @ y).square().sum()) for x, y in ((a, b), (a, a), (b, b)))
    return cross / max((own * other) ** 0.5, 1e-300)


def ridge_scores(
    encoder: SpectralPerceiver, datasets: Sequence[SpectralDataset], folder: str | Path
) -> dict[str, float]:
    """Return the relative RMSECV of a ridge on the embedding: ``{"corn_m5/protein": 0.31}``.

    RMSECV is divided by the standard deviation of the target, so predicting the mean gives about 1.
    The targets of each dataset are read from ``<dataset_id>.csv`` in `folder` (`read_targets`).
    """
    errors = {}
    for dataset in datasets:
        path = Path(folder) / f"{dataset.name}.csv"
        if not path.exists():
            raise FileNotFoundError(f"no targets {path}; name only datasets with targets in run.y_datasets.")
        table, groups = read_targets(path, dataset)
        for target in table:
            y = pd.to_numeric(table[target], errors="coerce").to_numpy()
            rows = np.flatnonzero(np.isfinite(y))[:300]
            if len(rows) < 20 or y[rows].std() == 0:
                continue
            Z = embed_rows(encoder, dataset, rows, encoder.readouts()[0]).numpy()
            # Penalties are relative to the mean diagonal of the kernel: the encoder is not scaled
            # yet.
            Z /= np.sqrt(np.square(Z - Z.mean(axis=0)).sum(axis=1).mean()) + 1e-12
            model, folds = RidgeCV(np.logspace(-8, 1, 10)), GroupKFold(min(5, len(set(groups[rows]))))
            predicted = cross_val_predict(model, Z, y[rows], groups=groups[rows], cv=folds)
            errors[f"{dataset.name}/{target}"] = float(np.sqrt(np.mean((predicted - y[rows]) ** 2)) / y[rows].std())
    return errors
