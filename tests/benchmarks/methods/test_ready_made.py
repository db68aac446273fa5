"""Ready-made heads as methods of the benchmark."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.calibrations import Calibration
from benchmarks.embeddings import Embeddings
from benchmarks.encoders import DEFAULT
from benchmarks.methods.registry import make_method, suits
from nirs4all_vit import SpectralEmbedder, load_checkpoint
from nirs4all_vit.encoder import EncoderConfig, SpectralPerceiver
from nirs4all_vit.encoder.checkpoint import save_checkpoint


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


def test_metadata_of_all_spectra_or_of_the_same_half_in_every_split(calibration: Calibration, tmp_path: Path) -> None:
    fields = {"mode": ("absorbance", "reflectance"), "instrument_type": ("lab",)}
    shape = {"n_latents": 4, "d_model": 16, "n_heads": 2, "n_self_layers": 1}
    encoder = SpectralPerceiver(EncoderConfig(**shape, categorical=fields, numeric=("spectral_start",)))
    torch.nn.init.normal_(encoder.metadata.output.weight)
    weights = str(save_checkpoint(tmp_path / "own.safetensors", encoder, name="own-v1", provenance={}))
    problem = dataclasses.replace(calibration, metadata={"mode": "reflectance", "sample_type": "wheat"})
    views = {
        head: make_method(f"{head}@own:mean", weights, Embeddings(tmp_path)).views
        for head in ("ridge", "metadata-ridge", "half-metadata-ridge")
    }
    assert views["ridge"].metadata_of(problem) is None
    every, half = views["metadata-ridge"].metadata_of(problem), views["half-metadata-ridge"].metadata_of(problem)
    assert every == {"instrument_type": [None] * 180, "mode": ["reflectance"] * 180}
    shown = np.array(half["mode"]) == "reflectance"
    assert 0.4 < shown.mean() < 0.6
    rows = np.array([170, 3, 60, 61])
    assert views["half-metadata-ridge"].metadata_of(problem.take(rows))["mode"] == [half["mode"][row] for row in rows]
    embedded = {head: view.fit(problem).view(problem, "embedding") for head, view in views.items()}
    fitted = SpectralEmbedder(weights, readout="mean").fit(problem.X, wavelengths=problem.wavelengths, metadata=every)
    expected = fitted.transform(problem.X, wavelengths=problem.wavelengths, metadata=every)
    np.testing.assert_allclose(embedded["metadata-ridge"], expected, rtol=1e-5, atol=1e-5)
    assert not np.allclose(embedded["ridge"], expected)
    assert not np.allclose(embedded["half-metadata-ridge"], expected)
