"""Calibration problems of the bank: spectra with one measured target and an honest split."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import GroupShuffleSplit

from nirs4all_vit.spectra import to_nanometres

#: The bank beside the checkout, where there is one.
DEFAULT_X_BANK = Path("../shared/x_bank")


@dataclass(frozen=True)
class Calibration:
    """One regression target of one dataset.

    Attributes
    ----------
    dataset, target, family : str
        What is predicted, from where.
    X : ndarray of shape (n_samples, n_wavelengths), float32
    wavelengths : ndarray of shape (n_wavelengths,)
        In nm.
    y : ndarray of shape (n_samples,)
    groups : ndarray of shape (n_samples,)
        The physical sample; replicate scans share it.
    """

    dataset: str
    target: str
    family: str
    X: NDArray[np.float32]
    wavelengths: NDArray[np.float64]
    y: NDArray[np.float64]
    groups: NDArray[np.int64]

    def split(
        self, seed: int, max_train: int = 200, max_test: int = 300
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Split by group, a third for testing; rows beyond the caps are left out at random."""
        generator = np.random.default_rng(seed)
        splitter = GroupShuffleSplit(1, test_size=1 / 3, random_state=seed)
        train, test = next(splitter.split(self.X, self.y, self.groups))
        return generator.permutation(train)[:max_train], generator.permutation(test)[:max_test]


def load_calibrations(
    x_bank: Path, y_bank: Path | None = None, datasets: Sequence[str] | None = None, min_samples: int = 40
) -> Iterator[Calibration]:
    """Yield the regression targets of the bank, dataset by dataset.

    Parameters
    ----------
    x_bank : path
        Folder of spectra, ``<dataset_id>.csv`` and ``.json``.
    y_bank : path, optional
        Folder of targets; ``y_bank`` beside `x_bank` by default.
    datasets : sequence of str, optional
        Dataset ids; all by default.
    min_samples : int
        Targets measured on fewer samples, or constant, are left out.
    """
    x_bank = Path(x_bank)
    y_bank = Path(y_bank) if y_bank else x_bank.parent / "y_bank"
    for name in datasets or sorted(path.stem for path in y_bank.glob("*.csv")):
        about = json.loads((x_bank / f"{name}.json").read_text("utf-8"))
        names = [t for t, kind in about.get("targets", {}).items() if kind.get("task") == "regression"]
        targets = pd.read_csv(y_bank / f"{name}.csv")
        if not names or len(targets) < min_samples:
            continue
        table = pd.read_csv(x_bank / f"{name}.csv")
        wavelengths = to_nanometres([float(label) for label in table.columns], about.get("axis_unit", "auto"))
        X = table.to_numpy(dtype=np.float32)
        column = about.get("group")
        groups = pd.factorize(targets[column])[0] if column in targets else np.arange(len(targets))
        for target in names:
            y = pd.to_numeric(targets[target], errors="coerce").to_numpy(dtype=np.float64)
            measured = np.isfinite(y)
            if measured.sum() < min_samples or np.unique(groups[measured]).size < 20 or np.ptp(y[measured]) == 0:
                continue
            yield Calibration(
                name, target, about.get("family", name), X[measured], wavelengths, y[measured], groups[measured]
            )
