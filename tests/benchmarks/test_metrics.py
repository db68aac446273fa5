"""Figures of merit by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.context import classification_scores, regression_scores


def test_regression() -> None:
    y, predicted = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([1.5, 2.5, 3.5, 4.5, 6.5])
    found = regression_scores(y, predicted)
    assert found["bias"] == pytest.approx(0.7)
    assert found["rmsep"] == pytest.approx(np.sqrt((4 * 0.25 + 2.25) / 5))
    assert found["sep"] == pytest.approx(np.std([0.5, 0.5, 0.5, 0.5, 1.5], ddof=1))
    assert found["rpd"] == pytest.approx(np.std(y, ddof=1) / found["rmsep"])
    assert found["rpiq"] == pytest.approx(2.0 / found["rmsep"])
    assert found["r2"] == pytest.approx(1 - 3.25 / 10)


def test_classification_counts_rare_classes_as_much() -> None:
    found = classification_scores(np.array([0] * 9 + [1]), np.zeros(10, dtype=int))
    assert found["balanced_accuracy"] == 0.5
    assert found["balanced_error"] == 0.5
    assert found["macro_f1"] < 0.5
