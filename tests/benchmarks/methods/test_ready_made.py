"""Ready-made heads as methods of the benchmark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.calibrations import Calibration
from benchmarks.embeddings import Embeddings
from benchmarks.encoders import DEFAULT
from benchmarks.methods.registry import make_method, suits
from nirs4all_vit import SpectralEmbedder, load_checkpoint


@pytest.mark.parametrize("head", ["krr", "svr", "mlp"])
def test_it_predicts(head: str, calibration: Calibration, tmp_path: Path) -> None:
    train, test = (calibration.take(rows) for rows in calibration.split(0))
    method = make_method(f"{head}@{DEFAULT}", str(load_checkpoint(DEFAULT).path), Embeddings(tmp_path)).fit(train)
    error = np.sqrt(np.mean((method.predict(test) - test.y) ** 2))
    assert error < 0.3 * test.y.std()
    assert suits(f"{head}@{DEFAULT}", "classification") == (head == "mlp")


def test_a_plain_ridge_sees_the_embedding_as_it_comes(calibration: Calibration, tmp_path: Path) -> None:
    train, test = (calibration.take(rows) for rows in calibration.split(0))
    weights = str(load_checkpoint(DEFAULT).path)
    plain, adapted = (
        make_method(f"{head}@{DEFAULT}", weights, Embeddings(tmp_path)).fit(train).views.view(test, "embedding")
        for head in ("plain-ridge", "ridge")
    )
    expected = SpectralEmbedder(readout="contrast", adapt=False, axis_unit="nm").fit_transform(
        test.X, wavelengths=test.wavelengths
    )
    np.testing.assert_array_equal(plain, expected)
    assert not np.allclose(adapted, expected)
