"""Calibration samples that stand apart, and the map of all of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from ..spectra.data import spread_rows
from .model import SpectralCalibration
from .reading import SpectraSet

#: Samples that the map of scores is made from, at most.
_MAX_MAPPED = 2000


def map_samples(
    model: SpectralCalibration, spectra: SpectraSet
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], tuple[float, float], dict[int, str]]:
    """Return T2 and Q over their limits, scores with the share that each explains, and the outliers in words."""
    nm, X = spectra.wavelengths, spectra.values
    columns = model.embedder_.transform(X, wavelengths=nm)[:, : model.width_]
    pca = PCA(2, svd_solver="randomized", random_state=0).fit(columns[spread_rows(len(X), _MAX_MAPPED)])
    scores = pca.transform(columns).astype(np.float64)
    explained = tuple(float(v) for v in pca.explained_variance_ratio_)
    if model.novelty_ is None:
        unknown = np.full(len(X), np.nan)
        return unknown, unknown, scores, (explained[0], explained[1]), {}
    limits = model.novelty_.limits_
    ratios = np.full((2, len(X)), np.nan)
    # Spectra that were looked at are judged by a model without them.
    if len(limits.rows) < len(X):
        ratios[:] = model.measure_novelty(X, wavelengths=nm).T
    ratios[:, limits.rows] = limits.held_out / np.array([[limits.t2_limit], [limits.q_limit]])
    outliers = {int(row): novelty_reason(*ratios[:, row]) for row in np.flatnonzero((ratios > 1).any(axis=0))}
    return ratios[0], ratios[1], scores, (explained[0], explained[1]), outliers


def novelty_reason(t2: float, q: float) -> str:
    """Say in words why a spectrum is unlike the calibration; "" where it is not."""
    reasons = []
    if t2 > 1:
        reasons.append(f"far from the centre of the calibration (T2 {t2:.1f} times its limit)")
    if q > 1:
        reasons.append(f"shape unlike the calibration (Q residual {q:.1f} times its limit)")
    return " and ".join(reasons)
