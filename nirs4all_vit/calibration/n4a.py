"""Export of a calibration as a ``.n4a`` bundle for nirs4all."""

from __future__ import annotations

import os
import re
import tempfile
import warnings
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import KFold, StratifiedKFold

from ..errors import SpectralInputError
from .model import SpectralCalibration
from .targets import Target


def write_n4a(
    model: SpectralCalibration,
    X: NDArray[np.float64],
    nm: NDArray[np.float64],
    targets: list[Target],
    folder: Path,
) -> list[Path]:
    """Fit the same embedder and heads with nirs4all on the same samples, and export the bundles.

    Parameters
    ----------
    model : SpectralCalibration
        Fitted.
    X, nm : ndarray of shape (n_samples, n_wavelengths), (n_wavelengths,)
        Calibration spectra without missing points, and their wavelengths in nm.
    targets : list of Target
    folder : Path
        Folder for ``model.n4a``, or for one ``model-NAME.n4a`` per target if there are several.

    Returns
    -------
    list of Path
        The bundles.

    Raises
    ------
    SpectralInputError
        Spectra lack points: nirs4all needs complete spectra.
    """
    import nirs4all
    from nirs4all.data import SpectroDataset

    if np.isnan(X).any():
        rows = np.flatnonzero(np.isnan(X).any(axis=1))
        raise SpectralInputError(
            f"--n4a needs complete spectra, but {len(rows)} lack points (first: row {rows[0]}); "
            "leave these out, or calibrate without --n4a."
        )
    written, folder = [], folder.resolve()
    for target, fitted in zip(targets, model.targets_, strict=True):
        rows = target.rows
        y: Any = np.searchsorted(target.classes, target.values[rows]) if target.classes else target.values[rows]
        dataset = SpectroDataset(target.name)
        dataset.add_samples(X[rows], {"partition": "train"}, headers=[f"{v:.6f}" for v in nm], header_unit="nm")
        dataset.add_targets(y)
        # nirs4all needs a test partition; its scores are not used.
        dataset.add_samples(X[rows[:2]], {"partition": "test"}, headers=[f"{v:.6f}" for v in nm], header_unit="nm")
        dataset.add_targets(y[:2])
        folds = (StratifiedKFold if target.classes else KFold)(2, shuffle=True, random_state=0)
        embedder = clone(model.embedder_).set_params(cache=True, axis_unit="auto")
        if not getattr(fitted.head, "widths", None):
            embedder.set_params(append_spectra=False)
        name = "model.n4a" if len(targets) == 1 else f"model-{re.sub(r'[^A-Za-z0-9_.-]+', '_', target.name)}.n4a"
        # nirs4all writes its workspace into the current folder.
        with tempfile.TemporaryDirectory() as workspace, chdir(workspace), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result: Any = nirs4all.run(
                [folds, embedder, {"model": clone(fitted.head)}],
                dataset=dataset, verbose=0, save_charts=False, random_state=0,
            )  # fmt: skip
            bundle = Path(result.export(os.path.join(workspace, name)))
            (folder / name).write_bytes(bundle.read_bytes())
        written.append(folder / name)
    return written
