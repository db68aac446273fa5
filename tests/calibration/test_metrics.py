"""Figures of merit against scikit-learn and their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, r2_score

from nirs4all_vit.calibration.metrics import classification_metrics, regression_metrics, rmse_ratio_interval

RNG = np.random.default_rng(0)
MEASURED = RNG.normal(10.0, 3.0, 200)
PREDICTED = MEASURED + RNG.normal(0.5, 1.0, 200)


def test_regression() -> None:
    metrics = regression_metrics(MEASURED, PREDICTED)
    residual = PREDICTED - MEASURED
    assert metrics.n == 200
    assert metrics.rmse == pytest.approx(np.sqrt(np.mean(residual**2)))
    assert metrics.r2 == pytest.approx(r2_score(MEASURED, PREDICTED))
    assert metrics.bias == pytest.approx(residual.mean())
    assert metrics.sep == pytest.approx(residual.std(ddof=1))
    assert metrics.rpd == pytest.approx(MEASURED.std(ddof=1) / metrics.sep)
    assert metrics.rpiq == pytest.approx(np.subtract(*np.percentile(MEASURED, [75, 25])) / metrics.rmse)
    assert metrics.slope == pytest.approx(np.polyfit(PREDICTED, MEASURED, 1)[0])
    # RMSE consists of bias and SEP.
    assert metrics.rmse**2 == pytest.approx(metrics.bias**2 + metrics.sep**2 * 199 / 200)


def test_missing_values_are_left_out() -> None:
    y = MEASURED.copy()
    y[:50] = np.nan
    assert regression_metrics(y, PREDICTED) == regression_metrics(MEASURED[50:], PREDICTED[50:])
    assert regression_metrics(y[:50], PREDICTED[:50]).n == 0


def test_classes() -> None:
    y = RNG.choice(["a", "b", "c"], 100, p=[0.7, 0.2, 0.1])
    p = np.where(RNG.random(100) < 0.3, "a", y)
    metrics = classification_metrics(y, p)
    assert metrics.balanced_accuracy == pytest.approx(balanced_accuracy_score(y, p))
    assert metrics.f1 == pytest.approx(f1_score(y, p, average="macro"))
    assert metrics.error == pytest.approx(1 - metrics.balanced_accuracy)


def test_coverage_of_the_interval_of_a_ratio() -> None:
    rng = np.random.default_rng(1)
    n_inside = 0
    for _ in range(100):
        a, b = 0.8 * rng.standard_normal(80), rng.standard_normal(80)
        _, low, high = rmse_ratio_interval(a**2, b**2, np.arange(80))
        n_inside += low <= 0.8 <= high
    assert 88 <= n_inside <= 100


def test_replicates_are_drawn_together() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal(40) ** 2, rng.standard_normal(40) ** 2
    alone = rmse_ratio_interval(a, b, np.arange(40))
    tenfold = rmse_ratio_interval(np.repeat(a, 10), np.repeat(b, 10), np.repeat(np.arange(40), 10))
    assert tenfold == pytest.approx(alone)


def test_ratio_with_zero_errors() -> None:
    none, some = np.zeros(20), np.r_[np.ones(3), np.zeros(17)]
    assert rmse_ratio_interval(none, none, np.arange(20)) == (1.0, 1.0, 1.0)
    assert rmse_ratio_interval(none, some, np.arange(20))[0] == 0.0
    ratio, _, high = rmse_ratio_interval(some, none, np.arange(20))
    assert ratio == high == np.inf
