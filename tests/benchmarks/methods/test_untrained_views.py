"""Untrained views: what is joined, scaled and predicted from."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from benchmarks.calibrations import Calibration
from benchmarks.methods.pls import PLS
from benchmarks.methods.preprocessing import PreprocessedViews
from benchmarks.methods.registry import UNTRAINED_VIEWS, VIEW_HEADS, make_method, suits
from benchmarks.methods.untrained_views import PLSScores, SpectralEncodings


def test_a_linear_model_on_the_scores_is_pls(calibration: Calibration) -> None:
    train, test = calibration.take(np.arange(0, 60, 2)), calibration.take(np.arange(1, 60, 2))
    view, pls = PLSScores().fit(train), PLS(PreprocessedViews()).fit(train)
    linear = LinearRegression().fit(view.view(train, "scores"), train.y)
    np.testing.assert_allclose(linear.predict(view.view(test, "scores")), pls.predict(test), rtol=1e-6)


def test_encodings_are_joined_at_unit_spread(calibration: Calibration) -> None:
    train, test = calibration.take(np.arange(0, 60, 2)), calibration.take(np.arange(1, 60, 2))
    views = {names: SpectralEncodings(*names).fit(train) for names in (("lvse",), ("gcu",), ("lvse", "gcu"))}
    alone = [views[(name,)].view(test, "columns") for name in ("lvse", "gcu")]
    np.testing.assert_allclose(views[("lvse", "gcu")].view(test, "columns"), np.hstack(alone))
    for names, view in views.items():
        columns = view.view(train, "columns")
        assert columns.shape[1] < train.X.shape[1]
        assert columns.var(axis=0).sum() == pytest.approx(len(names))
        # Spectra are brought to the wavelengths of the calibration.
        reverse = dataclasses.replace(test, X=test.X[:, ::-1], wavelengths=test.wavelengths[::-1])
        np.testing.assert_allclose(view.view(reverse, "columns"), view.view(test, "columns"))


@pytest.mark.parametrize("view", UNTRAINED_VIEWS)
@pytest.mark.parametrize("head", [name for name in VIEW_HEADS if name != "tabpfn"])
def test_heads_on_every_view_predict(calibration: Calibration, view: str, head: str) -> None:
    name = f"{view}-{head}"
    assert suits(name, "regression")
    assert suits(name, "classification") == (head == "ridge")
    train, test = calibration.take(np.arange(0, 60, 2)), calibration.take(np.arange(1, 60, 2))
    error = np.sqrt(np.mean((make_method(name).fit(train).predict(test) - test.y) ** 2))
    assert error < 0.8 * test.y.std()
