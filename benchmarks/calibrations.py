"""Calibration problems of the bank: spectra with one target, split by group."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import GroupShuffleSplit, StratifiedGroupKFold

from nirs4all_vit.pretraining import GroupKennardStone, GroupSPXY
from nirs4all_vit.pretraining.data import SpectralMetadata
from nirs4all_vit.spectra.data import to_nanometres

#: Default bank, beside the checkout.
DEFAULT_X_BANK = Path("../shared/x_bank")

#: Number of candidate spectra for Kennard-Stone and SPXY; two thirds of them are the 200
#: calibration spectra. If whole groups exceed this, the excess is omitted at random.
_MAX_DESIGNED = 300

#: Smallest number of samples of a class, so that it occurs in every calibration set.
_MIN_CLASS = 6

SPLITS = ("random", "kennard_stone", "spxy", "published")

#: Columns with the publisher's split: names of parts, or numbers of folds.
_PARTS, _FOLDS = "meta_split", "meta_cv_fold"
#: Names of calibration and validation parts; the test part is named ``test``.
_CALIBRATING, _VALIDATING = ("train", "training"), ("val",)


@dataclass(frozen=True)
class Calibration:
    """One target of one dataset, or some rows of it.

    Attributes
    ----------
    dataset, target, family : str
        Names of dataset and target, and family of the dataset.
    X : ndarray of shape (n_samples, n_wavelengths), float32
    wavelengths : ndarray of shape (n_wavelengths,)
        In nm.
    y : ndarray of shape (n_samples,)
        Reference values, or codes of classes.
    groups : ndarray of shape (n_samples,)
        Number of the physical sample, shared by replicate scans.
    task : {"regression", "classification"}
    rows : ndarray of shape (n_samples,), or None
        Row numbers in the dataset; None for modified spectra.
    published : ndarray of shape (n_published, n_samples), int8, or None
        Publisher's splits: 0 calibration, 1 test, -1 unused. One row, or one per fold.
    metadata : dict of str to str or float
        Available metadata of the dataset, by field.
    """

    dataset: str
    target: str
    family: str
    X: NDArray[np.float32]
    wavelengths: NDArray[np.float64]
    y: NDArray
    groups: NDArray[np.int64]
    task: str = "regression"
    rows: NDArray[np.int64] | None = None
    published: NDArray[np.int8] | None = None
    metadata: dict[str, str | float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: NDArray) -> Calibration:
        """Return the given rows."""
        own = None if self.rows is None else self.rows[rows]
        published = None if self.published is None else self.published[:, rows]
        return dataclasses.replace(
            self, X=self.X[rows], y=self.y[rows], groups=self.groups[rows], rows=own, published=published
        )

    def channels(self, index: NDArray) -> Calibration:
        """Return the same samples with the given channels."""
        return dataclasses.replace(self, X=self.X[:, index], wavelengths=self.wavelengths[index], rows=None)

    def split(
        self, seed: int, max_train: int | None = 200, max_test: int | None = 300, kind: str = "random"
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Split by group, with a third for testing; rows beyond the caps are omitted at random.

        ``random`` is stratified for classes. With ``kennard_stone`` and ``spxy`` the seed selects
        the candidate rows. ``published`` is the publisher's split, without caps; the seed is the
        number of the fold. Raises ValueError for an unknown or missing split.
        """
        if kind == "published":
            if self.published is None:
                raise ValueError(f"{self.dataset} has no published split.")
            return np.flatnonzero(self.published[seed] == 0), np.flatnonzero(self.published[seed] == 1)
        generator = np.random.default_rng(seed)
        if kind == "random":
            if self.task == "classification":
                splitter = StratifiedGroupKFold(3, shuffle=True, random_state=seed)
            else:
                splitter = GroupShuffleSplit(1, test_size=1 / 3, random_state=seed)
            train, test = next(iter(splitter.split(self.X, self.y, self.groups)))
        elif kind in SPLITS:
            splitter = (GroupKennardStone if kind == "kennard_stone" else GroupSPXY)(test_size=1 / 3)
            rows = np.sort(generator.permutation(len(self))[:_MAX_DESIGNED])
            parts = next(iter(splitter.split(self.X[rows], self.y[rows], self.groups[rows])))
            train, test = (rows[part] for part in parts)
        else:
            raise ValueError(f"split={kind!r}; use one of {', '.join(SPLITS)}.")
        return generator.permutation(train)[:max_train], generator.permutation(test)[:max_test]


def load_calibrations(
    x_bank: Path,
    y_bank: Path | None = None,
    datasets: Sequence[str] | None = None,
    min_samples: int = 40,
    tasks: Sequence[str] = ("regression",),
) -> Iterator[Calibration]:
    """Yield the targets of the bank, dataset by dataset.

    `x_bank` contains ``<dataset_id>.csv`` and ``.json``; by default `y_bank` is the folder of that
    name beside it. Targets with fewer than `min_samples` values, constant targets and classes with
    fewer than six samples are omitted. Raises FileNotFoundError for a missing dataset.
    """
    x_bank = Path(x_bank)
    y_bank = Path(y_bank) if y_bank else x_bank.parent / "y_bank"
    for name in datasets or sorted(path.stem for path in y_bank.glob("*.csv")):
        about = read_about(x_bank, name)
        kinds = {t: kind["task"] for t, kind in about.get("targets", {}).items() if kind.get("task") in tasks}
        if not kinds or not (y_bank / f"{name}.csv").exists():
            continue
        targets = pd.read_csv(y_bank / f"{name}.csv")
        if len(targets) < min_samples:
            continue
        X, wavelengths = read_spectra(x_bank, name)
        column = about.get("group")
        groups = pd.factorize(targets[column])[0] if column in targets else np.arange(len(targets))
        for target, kind in kinds.items():
            problem = make_calibration(
                name, target, about.get("family", name), X, wavelengths, targets[target], groups, kind, min_samples
            )
            if problem is not None:
                metadata = SpectralMetadata.from_dict(about).known()
                yield dataclasses.replace(problem, published=_published(targets, problem.rows), metadata=metadata)


def make_calibration(
    dataset: str,
    target: str,
    family: str,
    X: NDArray[np.float32],
    wavelengths: NDArray[np.float64],
    column: pd.Series,
    groups: NDArray[np.int64],
    task: str,
    min_samples: int = 40,
) -> Calibration | None:
    """Return a problem from a column of reference values, or None if too few are present.

    Values may be missing. At least `min_samples` rows, from at least 20 samples, are required.
    """
    y, measured = _measured(column, groups, task)
    if measured.sum() < min_samples or np.unique(groups[measured]).size < 20 or np.ptp(y[measured]) == 0:
        return None
    rows = np.flatnonzero(measured)
    return Calibration(dataset, target, family, X[rows], wavelengths, y[rows], groups[rows], task, rows)


def _published(targets: pd.DataFrame, rows: NDArray[np.int64]) -> NDArray[np.int8] | None:
    """Return the publisher's splits as in `Calibration.published`, or None without test values.

    Validation samples are added to the calibration set. If no reference values of the test part
    were published, they are the test set instead.
    """
    if _FOLDS in targets:
        folds = targets[_FOLDS].to_numpy()[rows]
        return np.stack([(folds == fold) for fold in np.unique(folds)]).astype(np.int8)
    if _PARTS not in targets:
        return None
    parts = targets[_PARTS].to_numpy()[rows]
    has_test = (parts == "test").any()
    calibrating = np.isin(parts, (*_CALIBRATING, *_VALIDATING) if has_test else _CALIBRATING)
    testing = parts == "test" if has_test else np.isin(parts, _VALIDATING)
    if not calibrating.any() or not testing.any():
        return None
    return np.where(testing, 1, np.where(calibrating, 0, -1)).astype(np.int8)[np.newaxis]


def read_about(x_bank: Path, name: str) -> dict[str, Any]:
    """Return the metadata of a dataset; raises FileNotFoundError if it does not exist."""
    path = Path(x_bank) / f"{name}.json"
    if not path.exists():
        raise FileNotFoundError(f"no dataset {name} in {x_bank}; `nirs4all-vit info --x-bank {x_bank}` lists them.")
    return json.loads(path.read_text("utf-8"))


def bank_families(x_bank: Path) -> set[str]:
    """Return the families of a bank."""
    abouts = (json.loads(path.read_text("utf-8")) for path in Path(x_bank).glob("*.json"))
    return {about.get("family", about.get("dataset_id")) for about in abouts}


def read_spectra(x_bank: Path, name: str) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return all spectra of a dataset (n, L), as published, and their wavelengths in nm (L,)."""
    table = pd.read_csv(Path(x_bank) / f"{name}.csv")
    axis = to_nanometres([float(label) for label in table.columns], read_about(x_bank, name).get("axis_unit", "auto"))
    return table.to_numpy(dtype=np.float32), axis


def _measured(column: pd.Series, groups: NDArray, kind: str) -> tuple[NDArray, NDArray[np.bool_]]:
    """Return values (classes as codes) and which of them are usable."""
    if kind == "regression":
        y = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
        return y, np.isfinite(y)
    y, _ = pd.factorize(column.astype("string"), sort=True)
    samples = pd.Series(groups).groupby(y).nunique()
    return y, np.isin(y, samples.index[(samples >= _MIN_CLASS) & (samples.index >= 0)])
