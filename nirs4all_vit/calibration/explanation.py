"""Importance of wavelengths in a calibration."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from ..diagnostics.importance import wavelength_importance
from ..heads.ridge import ALPHAS, GroupRidge, GroupRidgeClassifier
from ..spectra.data import spread_rows
from .model import SpectralCalibration
from .targets import Target

#: Largest number of spectra explained, and of samples in the fit of the ridge.
_MOST_EXPLAINED, _MOST_FITTED = 60, 1000
#: Width of a band in nm: narrower structure has no chemical interpretation.
_WIDTH = 40.0


def target_importance(
    model: SpectralCalibration, target: Target, X: NDArray[np.float64], nm: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return the contribution of the band around each wavelength to the output, (n_wavelengths,).

    The result is None with fewer than 20 wavelengths. It is computed for a ridge on the same
    embedding, a member of the committee: a ridge is linear, so the gradient method is exact for it
    and takes about a second.
    """
    if nm.size < 20:
        return None
    rows = target.rows[spread_rows(len(target.rows), _MOST_FITTED)]
    # The same embedder without the appended spectra.
    embedder = clone(model.embedder_).set_params(append_spectra=False)
    columns = embedder.fit_transform(X[rows], wavelengths=nm)
    ridge: Any = GroupRidgeClassifier(ALPHAS) if target.classes else GroupRidge(ALPHAS)
    ridge.fit(columns, target.values[rows])
    explained = rows[spread_rows(len(rows), _MOST_EXPLAINED)]
    n_outputs = len(np.atleast_2d(ridge.coef_))
    parts = [
        wavelength_importance(X[explained], ridge, embedder, wavelengths=nm, method="gradient", width=_WIDTH, output=k)
        for k in range(n_outputs)
    ]
    overall = np.max([one.overall() for one in parts], axis=0)
    return np.interp(nm, parts[0].wavelengths, overall)
