"""Our PLS is scikit-learn's."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.cross_decomposition import PLSRegression

from benchmarks.calibrations import Calibration
from benchmarks.methods.pls import PLS, component_path
from benchmarks.methods.preprocessing import PREPROCESSINGS, PreprocessedViews


@pytest.mark.parametrize("n_targets", [1, 3])
def test_the_path_equals_a_model_of_each_size(n_targets: int) -> None:
    generator = np.random.default_rng(0)
    X, new = generator.normal(size=(40, 30)), generator.normal(size=(7, 30))
    Y = X[:, :n_targets] + 0.1 * generator.normal(size=(40, n_targets))
    path = component_path(PLSRegression(8, scale=False).fit(X, Y), new)
    for k in range(8):
        expected = PLSRegression(k + 1, scale=False).fit(X, Y).predict(new).reshape(7, n_targets)
        np.testing.assert_allclose(path[k], expected, rtol=1e-6, atol=1e-9)


def test_predictions_equal_scikit_learn(calibration: Calibration) -> None:
    train, test = (calibration.take(rows) for rows in calibration.split(0))
    ours = PLS(PreprocessedViews(["snv"])).fit(train)
    snv = PREPROCESSINGS["snv"]
    n = ours.model.n_components
    theirs = PLSRegression(n, scale=False).fit(snv(train.X.astype(float)), train.y)
    np.testing.assert_allclose(ours.predict(test), theirs.predict(snv(test.X.astype(float))).ravel(), rtol=1e-6)


def test_a_baseline_makes_it_choose_another_view_than_raw(calibration: Calibration) -> None:
    curved = calibration.X * np.random.default_rng(1).uniform(0.3, 3.0, (len(calibration), 1)).astype(np.float32)
    part = dataclasses.replace(calibration, X=curved)
    assert PLS(PreprocessedViews()).fit(part).chosen != "raw"


def test_classes(calibration: Calibration) -> None:
    y = np.digitize(calibration.y, [12.0, 14.0])
    part = dataclasses.replace(calibration, y=y, task="classification")
    train, test = (part.take(rows) for rows in part.split(0))
    predicted = PLS(PreprocessedViews()).fit(train).predict(test)
    assert set(predicted) <= {0, 1, 2}
    assert (predicted == test.y).mean() > 0.6
