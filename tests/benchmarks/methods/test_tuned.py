"""The encoder tuned on the calibration set as a method of the benchmark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.calibrations import Calibration
from benchmarks.embeddings import Embeddings
from benchmarks.encoders import DEFAULT
from benchmarks.methods.registry import make_method, suits
from nirs4all_vit import SpectralRegressor, load_checkpoint


def test_it_predicts(calibration: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    fit = SpectralRegressor.fit

    def short(model: SpectralRegressor, *args, **about) -> SpectralRegressor:
        given.append(about["groups"])
        return fit(model.set_params(max_steps=8), *args, **about)

    monkeypatch.setattr(SpectralRegressor, "fit", short)
    train, test = (calibration.take(rows) for rows in calibration.split(0))
    method = make_method(f"tuned@{DEFAULT}", str(load_checkpoint(DEFAULT).path), Embeddings(tmp_path)).fit(train)
    error = np.sqrt(np.mean((method.predict(test) - test.y) ** 2))
    assert error < 0.3 * test.y.std()
    assert method.chosen in ("tuned", "frozen")
    assert given[0] is train.groups
    assert suits(f"tuned@{DEFAULT}", "classification")
