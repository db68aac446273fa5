"""Predictions of new spectra as a table, and adaptation to a second instrument."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SpectralInputError
from ..files import atomic_path
from ..spectra.signal import constant_rows
from .folder import load, read_content, save
from .model import SpectralCalibration
from .outliers import novelty_reason
from .reading import SpectraSet, read_spectra

if TYPE_CHECKING:
    import pandas as pd


def predict(
    model: SpectralCalibration | str | os.PathLike[str],
    spectra: Any,
    output: str | os.PathLike[str] | None = None,
    *,
    coverage: float | None = None,
    wavelengths: Any = None,
    axis_unit: str = "auto",
    ids: str | None = None,
    drop: Sequence[str] = (),
) -> pd.DataFrame:
    """Predict new spectra with a calibration.

    Parameters
    ----------
    model : SpectralCalibration, or path of a model folder
    spectra : path, data frame or array-like of shape (n_spectra, n_wavelengths)
        Spectra on any axis that overlaps that of the calibration; same kinds of input as in
        `calibrate`.
    output : path, optional
        ``.csv`` file to write.
    coverage : float, optional
        Nominal coverage of the intervals; by default, that of the calibration.
    wavelengths, axis_unit, ids, drop : as in `calibrate`

    Returns
    -------
    DataFrame
        A row per spectrum, in the order of the input. Columns: ``id``; per target its name
        (prediction), with ``NAME lower`` and ``NAME upper`` (regression) or ``NAME possible``
        (classification); ``unusual`` (bool), its ``reason``, and ``filled``, the share of the
        calibration's range that the spectrum lacks. Spectra that cannot be used have NaN and a
        reason.

    Raises
    ------
    ModelError
        As in `load`.
    SpectralInputError, SpectralAxisError, OSError
        As in `calibrate`; no spectrum can be used, or the spectra overlap the axis of the
        calibration too little.
    """
    if output is not None:
        output = Path(output)
        if output.suffix.lower() != ".csv" or not output.absolute().parent.is_dir():
            raise SpectralInputError(f"{output} cannot be written: name a .csv file in an existing folder.")
    fitted = model if isinstance(model, SpectralCalibration) else load(model)
    read = read_spectra(
        spectra,
        wavelengths=wavelengths,
        axis_unit=axis_unit,
        ids=ids,
        drop=drop,
        others=fitted.target_names_,
        lenient=True,
    )
    # A constant spectrum has no information on its sample: no value is predicted.
    unusable = dict.fromkeys(np.flatnonzero(constant_rows(read.values)).tolist(), "the spectrum is constant")
    unusable |= read.refused
    sound = np.setdiff1d(np.arange(len(read)), list(unusable))
    if not len(sound):
        raise SpectralInputError(f"no spectrum can be predicted: {next(iter(unusable.values()))}")
    table = _predicted(fitted, read.take(sound), coverage).set_index(sound).reindex(np.arange(len(read)))
    table["id"] = read.ids
    for row, reason in unusable.items():
        table.loc[row, "reason"] = reason
    table["unusual"] = table["reason"] != ""
    if output is not None:
        with atomic_path(output) as target_path:
            table.to_csv(target_path, index=False, float_format="%.7g")
    return table


def _predicted(fitted: SpectralCalibration, read: SpectraSet, coverage: float | None) -> pd.DataFrame:
    """Return the table of predictions for usable spectra."""
    import pandas as pd

    nm = read.wavelengths
    table = pd.DataFrame({"id": read.ids})
    outside = []
    for target, part in zip(fitted.targets_, fitted.predict_all(read.values, coverage, wavelengths=nm), strict=True):
        table[target.name] = part["predicted"]
        for name in ("lower", "upper", "possible"):
            if name in part:
                table[f"{target.name} {name}"] = part[name]
        low, high = target.range
        margin = 0.0 if target.classes else 0.05 * (high - low)
        beyond = (
            np.zeros(len(read), dtype=bool)
            if target.classes
            else (part["predicted"] < low - margin) | (part["predicted"] > high + margin)
        )
        text = f"{target.name} is outside of its calibrated range ({low:.4g} to {high:.4g})"
        outside.append([text if one else "" for one in beyond])
    different, kind = fitted.other_signals(read.values, wavelengths=nm)
    reasons = []
    for row, (t2, q) in enumerate(fitted.measure_novelty(read.values, wavelengths=nm)):
        signal = f"another kind of signal than in the calibration set: {kind}" if different[row] else ""
        own = [signal, novelty_reason(t2, q), *(column[row] for column in outside)]
        reasons.append("; ".join(reason for reason in own if reason))
    table["unusual"], table["reason"] = [bool(reason) for reason in reasons], reasons
    table["filled"] = np.round(fitted.filled(read.values, wavelengths=nm), 4)
    return table


def adapt(
    model: str | os.PathLike[str], spectra: Any, output: str | os.PathLike[str], **options: Any
) -> SpectralCalibration:
    """Adapt a saved calibration to a second instrument, and save it in a new folder.

    Parameters
    ----------
    model : path
        Model folder.
    spectra : path, data frame or array-like of shape (n_spectra, n_wavelengths)
        Spectra of the second instrument, without reference values: at least five, better thirty.
        They need not be of the calibration samples.
    output : path
        New folder for the adapted model.
    **options
        ``wavelengths``, ``axis_unit``, ``ids`` and ``drop``, as in `calibrate`.

    Returns
    -------
    SpectralCalibration

    Raises
    ------
    ModelError, SpectralInputError, SpectralAxisError, OSError
        As in `predict`; `output` is not a new folder.

    Warns
    -----
    UserWarning
        The spectra differ from those of the calibration no more than samples do: no change.
    """
    from .calibrating import require_new_folder

    folder = require_new_folder(output)
    fitted = load(model)
    read = read_spectra(spectra, **options)
    fitted.adapt_to(read.values, wavelengths=read.wavelengths)
    about = {**read_content(model)["about"], "adapted": {"spectra": len(read), **read.hashes}}
    save(fitted, folder, about)
    return fitted
