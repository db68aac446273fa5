"""Our ridge is scikit-learn's, on one scale."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import Ridge

from benchmarks.calibrations import Calibration
from benchmarks.methods.ridge import ScaledRidge


def test_predictions_equal_scikit_learn(calibration: Calibration) -> None:
    ours = ScaledRidge().fit(calibration.X, calibration)
    alpha = float(ours.model.alpha_) * ours.scale**2
    theirs = Ridge(alpha, solver="svd").fit(calibration.X.astype(float), calibration.y)
    np.testing.assert_allclose(ours.predict(calibration.X), theirs.predict(calibration.X.astype(float)), rtol=1e-6)


def test_the_unit_of_the_spectra_does_not_matter(calibration: Calibration) -> None:
    one = ScaledRidge().fit(calibration.X, calibration).predict(calibration.X)
    percent = ScaledRidge().fit(1e-4 * calibration.X, calibration).predict(1e-4 * calibration.X)
    np.testing.assert_allclose(one, percent, rtol=1e-5)


def test_the_penalty_is_the_best_by_leave_one_out(calibration: Calibration) -> None:
    """Leave one out by hand: the leverage includes the intercept."""
    part = calibration.take(np.arange(0, 60, 2))
    ours = ScaledRidge().fit(part.X, part)
    Z = (part.X.astype(float) - ours.mean) / ours.scale
    errors = []
    for i in range(len(part)):
        kept = np.arange(len(part)) != i
        errors.append(
            Ridge(ours.model.alpha_, solver="svd").fit(Z[kept], part.y[kept]).predict(Z[i : i + 1])[0] - part.y[i]
        )
    np.testing.assert_allclose(-ours.score, np.mean(np.square(errors)), rtol=1e-4)
