"""Outliers of the calibration set, doubtful reference values, and scores of all samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from ..spectra.data import spread_rows
from ..spectra.findings import Finding
from .cross_validation import HeldOut
from .model import SpectralCalibration
from .reading import Joined, SpectraSet

#: Limit for residuals of reference values, in scaled median absolute deviations.
_DOUBTFUL = 6.0
#: Largest number of samples that a finding names.
_NAMED = 5
#: Largest number of samples in the fit of the principal components.
_MAX_MAPPED = 2000


def map_samples(
    model: SpectralCalibration, spectra: SpectraSet
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], tuple[float, float], dict[int, str]]:
    """Return T2 and Q divided by their limits, PCA scores, explained variance, and outliers.

    Outliers map the row to the reason, in words.
    """
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
    # Rows of the detector's cross-validation get their held-out values instead.
    if len(limits.rows) < len(X):
        ratios[:] = model.measure_novelty(X, wavelengths=nm).T
    ratios[:, limits.rows] = limits.held_out / np.array([[limits.t2_limit], [limits.q_limit]])
    outliers = {int(row): novelty_reason(*ratios[:, row]) for row in np.flatnonzero((ratios > 1).any(axis=0))}
    return ratios[0], ratios[1], scores, (explained[0], explained[1]), outliers


def novelty_reason(t2: float, q: float) -> str:
    """Return in words why a spectrum is unlike the calibration set; "" if it is not."""
    reasons = []
    if t2 > 1:
        reasons.append(f"far from the centre of the calibration (T2 {t2:.1f} times its limit)")
    if q > 1:
        reasons.append(f"shape unlike the calibration (Q residual {q:.1f} times its limit)")
    return " and ".join(reasons)


def doubtful_values(data: Joined, held_out: Sequence[HeldOut]) -> list[Finding]:
    """Return a finding per target with reference values far from cross-validated predictions."""
    findings = []
    for one in held_out:
        if one.target.classes:
            continue
        residuals = one.centre.mean(axis=0) - one.measured
        away = np.abs(residuals - np.median(residuals))
        spread = 1.4826 * float(np.median(away))
        far = np.flatnonzero(away > _DOUBTFUL * spread) if spread > 0 else np.empty(0, np.intp)
        far = far[np.argsort(-away[far])]
        if len(far):
            names = [
                f"{data.spectra.ids[one.rows[k]]} "
                f"(measured {one.measured[k]:.4g}, predicted {one.centre[:, k].mean():.4g})"
                for k in far[:_NAMED]
            ]
            more = f" and {len(far) - _NAMED} more" if len(far) > _NAMED else ""
            noun = "reference values are" if len(far) > 1 else "reference value is"
            text = f"{len(far)} {noun} far from the cross-validated prediction: {', '.join(names)}{more}"
            findings.append(
                Finding("warning", f"target {one.target.name}", text, "check for typing errors and mixed-up samples")
            )
    return findings


def unusual_tests(model: SpectralCalibration, data: Joined) -> list[Finding]:
    """Return a finding that names the test spectra unlike the calibration set, if any."""
    ratios = model.measure_novelty(data.spectra.values, wavelengths=data.spectra.wavelengths)
    far = np.flatnonzero((ratios > 1).any(axis=1))
    if not len(far):
        return []
    names = ", ".join(map(str, data.spectra.ids[far[:_NAMED]])) + (", ..." if len(far) > _NAMED else "")
    text = f"{len(far)} of {len(ratios)} spectra are unlike the calibration set (T2 or Q): {names}"
    return [Finding("warning", "test set", text, "compare the figures of merit with and without them")]
