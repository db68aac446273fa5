"""Calibration problems of the bank: spectra with one measured target, split by group."""

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

#: The bank beside the checkout, where there is one.
DEFAULT_X_BANK = Path("../shared/x_bank")

#: Number of spectra from which Kennard-Stone and SPXY choose; two thirds of them are the 200 calibration spectra. If
#: whole groups give more, the excess is left out at random.
_MAX_DESIGNED = 300

#: Samples that a class needs, to be in every calibration set.
_MIN_CLASS = 6

SPLITS = ("random", "kennard_stone", "spxy", "published")

#: Columns of publishers' own splits: names of parts, or numbers of folds.
_PARTS, _FOLDS = "meta_split", "meta_cv_fold"
#: Names of the parts that calibrate, and that validate; what is tested is named ``test``.
_CALIBRATING, _VALIDATING = ("train", "training"), ("val",)


@dataclass(frozen=True)
class Calibration:
    """One target of one dataset, or some rows of it.

    Attributes
    ----------
    dataset, target, family : str
        What is predicted, from where.
    X : ndarray of shape (n_samples, n_wavelengths), float32
    wavelengths : ndarray of shape (n_wavelengths,)
        In nm.
    y : ndarray of shape (n_samples,)
        Reference values, or codes of classes.
    groups : ndarray of shape (n_samples,)
        The physical sample; replicate scans share it.
    task : {"regression", "classification"}
    rows : ndarray of shape (n_samples,), or None
        Row numbers in the dataset; None where the spectra are not the dataset's own.
    published : ndarray of shape (n_published, n_samples), int8, or None
        The publisher's own splits: 0 calibrates, 1 tests, -1 is left out. One split, or one for each fold.
    metadata : dict of str to str or float
        Metadata of the dataset by field; missing ones are left out.
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
        """Return some rows."""
        own = None if self.rows is None else self.rows[rows]
        published = None if self.published is None else self.published[:, rows]
        return dataclasses.replace(
            self, X=self.X[rows], y=self.y[rows], groups=self.groups[rows], rows=own, published=published
        )

    def channels(self, index: NDArray) -> Calibration:
        """Return the same samples with some of their channels."""
        return dataclasses.replace(self, X=self.X[:, index], wavelengths=self.wavelengths[index], rows=None)

    def split(
        self, seed: int, max_train: int | None = 200, max_test: int | None = 300, kind: str = "random"
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Split by group, a third for testing; rows in excess of the caps are left out at random.

        ``random`` is stratified if the target is a class. With ``kennard_stone`` and ``spxy`` the seed selects the
        candidate rows. ``published`` is the publisher's own split, without caps; the seed is the number of the fold.
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

    `x_bank` holds ``<dataset_id>.csv`` and ``.json``; `y_bank` lies beside it by default. Targets measured on fewer
    than `min_samples`, or constant, are left out; so are classes of fewer than six samples. A FileNotFoundError names a
    dataset that is not there.
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
    """Return a problem from a column of reference values, which may have gaps; None if too few values are present.

    At least `min_samples` rows of 20 samples are needed.
    """
    y, measured = _measured(column, groups, task)
    if measured.sum() < min_samples or np.unique(groups[measured]).size < 20 or np.ptp(y[measured]) == 0:
        return None
    rows = np.flatnonzero(measured)
    return Calibration(dataset, target, family, X[rows], wavelengths, y[rows], groups[rows], task, rows)


def _published(targets: pd.DataFrame, rows: NDArray[np.int64]) -> NDArray[np.int8] | None:
    """Return the publisher's splits of the rows, as `Calibration.published`; None without a measured test part.

    Validation samples join the calibration set if there is a test part. They are the test set if the reference values
    of the test part were not published.
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
    """Return what is known of a dataset; a FileNotFoundError says that it is not there."""
    path = Path(x_bank) / f"{name}.json"
    if not path.exists():
        raise FileNotFoundError(f"no dataset {name} in {x_bank}; `nirs4all-vit info --x-bank {x_bank}` lists them.")
    return json.loads(path.read_text("utf-8"))


def bank_families(x_bank: Path) -> set[str]:
    """Return the families of a bank."""
    abouts = (json.loads(path.read_text("utf-8")) for path in Path(x_bank).glob("*.json"))
    return {about.get("family", about.get("dataset_id")) for about in abouts}


def read_spectra(x_bank: Path, name: str) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return all spectra of a dataset (n, L), as they were measured, and their wavelengths in nm (L,)."""
    table = pd.read_csv(Path(x_bank) / f"{name}.csv")
    axis = to_nanometres([float(label) for label in table.columns], read_about(x_bank, name).get("axis_unit", "auto"))
    return table.to_numpy(dtype=np.float32), axis


def _measured(column: pd.Series, groups: NDArray, kind: str) -> tuple[NDArray, NDArray[np.bool_]]:
    """Return the values, classes as codes, and which of them count."""
    if kind == "regression":
        y = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
        return y, np.isfinite(y)
    y, _ = pd.factorize(column.astype("string"), sort=True)
    samples = pd.Series(groups).groupby(y).nunique()
    return y, np.isin(y, samples.index[(samples >= _MIN_CLASS) & (samples.index >= 0)])
