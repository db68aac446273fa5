"""Prediction intervals."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, RepeatedKFold, ShuffleSplit
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline

from nirs4all_vit.heads import CrossConformalRegressor, make_head, make_spectral_pipeline
from nirs4all_vit.heads.conformal import _groups_parameter
from tests.conftest import make_spectra


def problem(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 8))
    return X, X @ np.arange(8.0) + rng.standard_t(3, size=n)


def test_intervals_hold_as_many_truths_as_they_say() -> None:
    asked = (0.8, 0.9, 0.95)
    found: dict[float, list[float]] = {coverage: [] for coverage in asked}
    widths = []
    for seed in range(100):
        X, y = problem(260, seed)
        fitted = CrossConformalRegressor(Ridge()).fit(X[:60], y[:60])
        for coverage in asked:
            intervals = fitted.predict_interval(X[60:], coverage)
            assert intervals.shape == (200, 2)
            found[coverage].append(((intervals[:, 0] <= y[60:]) & (y[60:] <= intervals[:, 1])).mean())
            widths.append(np.diff(intervals, axis=1).mean())
    for coverage in asked:
        assert np.mean(found[coverage]) == pytest.approx(coverage, abs=0.02)
    assert np.mean(widths) < 12


def test_few_samples_hold_no_more_than_asked_for() -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(300):
        y = rng.normal(size=212)
        X = np.zeros((212, 1))
        low, high = CrossConformalRegressor(DummyRegressor()).fit(X[:12], y[:12]).predict_interval(X[12:], 0.8).T
        found.append(((low <= y[12:]) & (y[12:] <= high)).mean())
    # Rounded up to a residual it would be 11 of 13, 0.846.
    assert np.mean(found) == pytest.approx(0.8, abs=0.015)


def test_more_coverage_is_wider_and_holds_the_prediction() -> None:
    X, y = problem(100, 0)
    fitted = CrossConformalRegressor(Ridge(), cv=5).fit(X, y)
    narrow, wide = (fitted.predict_interval(X, coverage) for coverage in (0.5, 0.9))
    assert (wide[:, 0] < narrow[:, 0]).all()
    assert (wide[:, 1] > narrow[:, 1]).all()
    assert np.allclose(fitted.predict(X), Ridge().fit(X, y).predict(X))
    assert ((wide[:, 0] < fitted.predict(X)) & (fitted.predict(X) < wide[:, 1])).all()
    assert fitted.score(X, y) > 0.9


def test_groups_stay_together() -> None:
    X, y = (np.repeat(part, 3, axis=0) for part in problem(20, 0))
    groups = np.repeat(np.arange(20), 3)
    for cv in (GroupKFold(5), 5):
        # The nearest neighbour of a replicate is a replicate, where there is one.
        fitted = CrossConformalRegressor(KNeighborsRegressor(1), cv=cv).fit(X, y, groups=groups)
        assert fitted.residuals_.min() > 0.0
    assert CrossConformalRegressor(KNeighborsRegressor(1)).fit(X, y).residuals_.max() == 0.0
    # Twenty samples, sixty rows: too few samples for so much coverage.
    assert np.isinf(fitted.predict_interval(X, 0.97)).all()
    # Heads that search their parameters are told.
    seen = []

    class Told(Ridge):
        def fit(self, X: np.ndarray, y: np.ndarray, groups: np.ndarray | None = None) -> Told:
            seen.append(groups)
            return super().fit(X, y)

    CrossConformalRegressor(Told(), cv=5).fit(X, y, groups=groups)
    assert [len(found) for found in seen] == [48, 48, 48, 48, 48, 60]


def test_a_search_within_a_pipeline_is_told_of_groups() -> None:
    assert _groups_parameter(make_spectral_pipeline("krr")) == "groups"
    assert _groups_parameter(make_pipeline(make_head("pls"))) == "tunedregressor__groups"
    assert _groups_parameter(make_pipeline(Ridge())) is None
    X, y = (np.repeat(part, 2, axis=0) for part in problem(20, 0))
    model = CrossConformalRegressor(make_pipeline(make_head("pls")), cv=4)
    assert np.isfinite(model.fit(X, y, groups=np.repeat(np.arange(20), 2)).predict(X)).all()


def test_what_has_a_value_per_sample_is_cut_to_the_fold() -> None:
    X, y = problem(60, 0)
    weights = np.r_[np.ones(30), np.zeros(30)]
    fitted = CrossConformalRegressor(Ridge(), cv=5).fit(X, y[:, None], sample_weight=weights)
    np.testing.assert_allclose(fitted.predict(X), Ridge().fit(X[:30], y[:30]).predict(X))


def test_too_few_samples_for_so_much_coverage() -> None:
    X, y = problem(9, 0)
    fitted = CrossConformalRegressor(Ridge()).fit(X, y)
    assert np.isinf(fitted.predict_interval(X, 0.95)).all()
    assert np.isfinite(fitted.predict_interval(X, 0.8)).all()


def test_errors() -> None:
    X, y = problem(30, 0)
    with pytest.raises(ValueError, match="y has 2 dimensions; intervals are for one target"):
        CrossConformalRegressor(Ridge()).fit(X, np.c_[y, y])
    with pytest.raises(ValueError, match="samples are in no fold of cv"):
        CrossConformalRegressor(Ridge(), cv=ShuffleSplit(1, test_size=0.2, random_state=0)).fit(X, y)
    failed = CrossConformalRegressor(Ridge(), cv=ShuffleSplit(1, test_size=0.2, random_state=0))
    with pytest.raises(ValueError, match="samples are in no fold"):
        failed.fit(X, y)
    with pytest.raises(ValueError, match="not fitted"):
        failed.predict_interval(X)
    with pytest.raises(ValueError, match="cv holds samples out more than once"):
        CrossConformalRegressor(Ridge(), cv=RepeatedKFold(n_splits=5, n_repeats=2)).fit(X, y)
    with pytest.raises(ValueError, match="coverage=90 must lie between 0 and 1"):
        CrossConformalRegressor(Ridge()).fit(X, y).predict_interval(X, 90)


def test_from_spectra(nm: np.ndarray) -> None:
    X = make_spectra(nm, 60)
    y = X[:, 300] - X[:, 200] + np.random.default_rng(0).normal(scale=0.02, size=60)
    model = CrossConformalRegressor(make_spectral_pipeline("ridge"), cv=5).fit(X[:40], y[:40], embed__wavelengths=nm)
    intervals = model.predict_interval(X[40:], 0.9)
    assert ((intervals[:, 0] <= y[40:]) & (y[40:] <= intervals[:, 1])).sum() >= 14
