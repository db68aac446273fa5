"""Metadata from the embedder to the encoder."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline

from nirs4all_vit import SpectralEmbedder
from nirs4all_vit.diagnostics.importance import input_gradients
from nirs4all_vit.encoder import EncoderConfig, Grid, SpectralPerceiver
from nirs4all_vit.encoder.checkpoint import load_checkpoint, save_checkpoint
from nirs4all_vit.encoder.fields import axis_limits
from nirs4all_vit.pretraining import MultiSpectralDataset
from nirs4all_vit.pretraining.data import SpectralDataset
from nirs4all_vit.spectra.data import Spectra
from tests.conftest import make_spectra

NM = np.linspace(1100.0, 2400.0, 120)
X = make_spectra(NM, 12).astype(np.float32)
MODES = ("absorbance", "reflectance")


def checkpoint(path: Path, **settings: Any) -> str:
    """Save a small encoder that depends on its metadata."""
    shape = {"n_latents": 4, "d_model": 16, "n_heads": 2, "n_self_layers": 1, "d_meta": 8}
    with torch.random.fork_rng():
        torch.manual_seed(3)
        encoder = SpectralPerceiver(EncoderConfig(**shape, **settings))
        if encoder.metadata is not None:
            torch.nn.init.normal_(encoder.metadata.output.weight)
            encoder.metadata.standardise([axis_limits(NM), axis_limits(NM[::2] + 300.0)])
    return str(save_checkpoint(path, encoder, name="own-v1", provenance={}))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An encoder with categories, numbers and the fields of the wavelengths."""
    return checkpoint(
        tmp_path_factory.mktemp("weights") / "own.safetensors",
        categorical={"mode": MODES, "instrument_type": ("portable", "lab")},
        numeric=("spectral_start", "spectral_stop", "spectral_step", "temperature"),
    )


@pytest.fixture(scope="module")
def make(weights: str) -> Callable[..., SpectralEmbedder]:
    def embedder(**parameters: Any) -> SpectralEmbedder:
        return SpectralEmbedder(weights, **{"readout": "mean", "adapt": False, "wavelengths": NM, **parameters})

    return embedder


def forward(
    weights: str, rows: list[dict[str, Any]] | None, spectra: np.ndarray = X, nm: np.ndarray = NM
) -> np.ndarray:
    """Return what the encoder itself makes of spectra and metadata."""
    with torch.no_grad():
        grid = Grid.from_wavelengths(torch.from_numpy(nm))
        encoder = load_checkpoint(weights).encoder
        return encoder(torch.from_numpy(spectra), grid, readout="mean", metadata=rows).numpy()


LIMITS = axis_limits(NM)


def test_they_reach_the_encoder(make: Callable[..., SpectralEmbedder], weights: str) -> None:
    without = make().fit_transform(X)
    np.testing.assert_allclose(without, forward(weights, None), atol=1e-5)
    for mode in MODES:
        expected = forward(weights, [{"mode": mode, **LIMITS}] * len(X))
        for embedded in (
            make(metadata={"mode": mode}).fit_transform(X),
            make().fit_transform(X, metadata={"mode": mode}),
            make().fit(X).transform(X, metadata={"mode": mode}),
            make(metadata={"mode": MODES[0]}).fit(X).transform(X, metadata={"mode": mode}),
            make(batch_size=8).fit(X).transform(X, metadata=pd.DataFrame({"mode": [mode] * len(X)})),
        ):
            np.testing.assert_allclose(embedded, expected, atol=1e-5)
        assert np.abs(expected - without).max() > 0.01
    both = [forward(weights, [{"mode": mode, **LIMITS}] * len(X)) for mode in MODES]
    assert np.abs(both[0] - both[1]).max() > 0.01


def test_a_row_of_its_own_for_each_spectrum(make: Callable[..., SpectralEmbedder], weights: str) -> None:
    modes = [*MODES, None, np.nan, pd.NA, "unknown (a grid)", " Reflectance", *MODES, None, "", "absorbance"]
    degrees = [20.0, "21.5", None, np.nan, pd.NA, 3, np.float32(4), np.int64(5), 0.0, 1e9, -1.0, ""]
    expected = []
    for mode, temperature in zip(modes, degrees, strict=True):
        row: dict[str, Any] = {**LIMITS, "instrument_type": "lab"}
        if str(mode).strip().lower() in MODES:
            row["mode"] = str(mode).strip().lower()
        if temperature is not None and temperature is not pd.NA and temperature != "":
            row["temperature"] = float(temperature)
        expected.append(row)
    columns = {"mode": modes, "temperature": degrees}
    embedder = make(metadata={"instrument_type": "lab", "temperature": 80.0}, batch_size=8).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows, frame = (embedder.transform(X, metadata=given) for given in (columns, pd.DataFrame(columns)))
    np.testing.assert_allclose(rows, forward(weights, expected), atol=1e-5)
    np.testing.assert_array_equal(rows, frame)
    # A row does not depend on its company, to the last bit.
    alone = embedder.transform(X[5:6], metadata={name: values[5] for name, values in columns.items()})
    np.testing.assert_array_equal(alone, rows[5:6])


def test_the_fields_of_the_wavelengths_are_those_of_pretraining(
    make: Callable[..., SpectralEmbedder], weights: str
) -> None:
    """Ascending in nm, of the axis that the encoder reads; the same dictionaries as a batch of pretraining has."""
    dataset = SpectralDataset("made", X, NM, {"mode": "Reflectance", "instrument_type": "lab", "owner": "me"})
    batches = MultiSpectralDataset([dataset], batch_size=8, crop_probability=0.0, thin_probability=0.0)
    batch = next(iter(batches.stream()))
    rows = batch.rows.numpy()
    given = {"mode": "Reflectance", "instrument_type": "lab"}
    expected = forward(weights, batches.metadata(batch), batch.spectra.numpy())
    np.testing.assert_allclose(
        make().fit_transform(batch.spectra.numpy(), metadata=given), expected, atol=1e-5, err_msg=str(rows)
    )
    backwards = make(wavelengths=1e7 / NM[::-1]).fit(X[:, ::-1])
    np.testing.assert_allclose(backwards.transform(X[:, ::-1], metadata=given), make().fit_transform(X, metadata=given))
    only_axis = make().fit_transform(X, metadata={})
    np.testing.assert_allclose(only_axis, forward(weights, [LIMITS] * len(X)), atol=1e-5)


def test_spectra_on_axes_of_their_own(make: Callable[..., SpectralEmbedder], weights: str) -> None:
    axes = [NM, NM[10:], NM[::2], NM] * 3
    spectra = [np.interp(axis, NM, row).astype(np.float32) for axis, row in zip(axes, X, strict=True)]
    modes = [MODES[i % 2] for i in range(len(axes))]
    embedder = make(align=False, wavelengths=None)
    embedded = embedder.fit_transform(spectra, wavelengths=axes, metadata={"mode": modes})
    for row, spectrum, axis, mode in zip(embedded, spectra, axes, modes, strict=True):
        (expected,) = forward(weights, [{"mode": mode, **axis_limits(axis)}], spectrum[np.newaxis], axis)
        np.testing.assert_allclose(row, expected, atol=1e-4)
    # On the fitted axis, the fields are those of the fitted axis.
    aligned = make().fit(X, metadata={"mode": "absorbance"})
    cut = aligned.transform(X[:, 2:], wavelengths=NM[2:], metadata={"mode": "absorbance"})
    whole = aligned.transform(X, metadata={"mode": "absorbance"})
    assert np.abs(cut - whole).max() < 0.1 * np.abs(whole).max()


@pytest.mark.parametrize(
    ("constructor", "given", "message"),
    [
        (None, {"moda": "x"}, "has no metadata field 'moda'; it has instrument_type, mode, temperature"),
        ({"moda": "x"}, None, "has no metadata field 'moda'; it has instrument_type, mode, temperature"),
        (None, {"spectral_start": 1100.0}, "'spectral_start' is taken from the wavelengths; leave it out"),
        (None, {"mode": ["absorbance"] * 5}, "'mode' has 5 values for 12 spectra; give one value, or one per spectrum"),
        (None, {"mode": np.full((12, 2), "absorbance")}, "'mode' has 12 values for 12 spectra; give one value"),
        (None, pd.DataFrame({"mode": ["absorbance"] * 11}), "metadata of 11 rows for 12 spectra"),
        (None, ["absorbance"] * 12, "must be a mapping of field to values, or a data frame .*, not list"),
        (None, {"temperature": "warm"}, "'temperature' holds 'warm' at row 0; it must be a finite number, or NaN"),
        (None, {"temperature": [1.0] * 11 + [np.inf]}, "'temperature' holds inf at row 11; it must be a finite number"),
        (
            {"mode": ["absorbance"] * 12},
            None,
            "metadata of the constructor hold for all spectra, but 'mode' has several",
        ),
        ("absorbance", None, "metadata='absorbance' must be None or a mapping of field to value"),
    ],
)
def test_errors(make: Callable[..., SpectralEmbedder], constructor: Any, given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        make(metadata=constructor).fit(X, metadata=given)
    assert "\n" not in str(error.value)
    embedder = make().fit(X).set_params(metadata=constructor)
    with pytest.raises(ValueError, match=message):
        embedder.transform(X, metadata=given)


def test_an_unknown_category_is_a_missing_value_with_a_warning(make: Callable[..., SpectralEmbedder]) -> None:
    message = "'mode': the checkpoint does not know 'holographic' and takes it as missing, .* absorbance, reflectance"
    with pytest.warns(UserWarning, match=message) as caught:
        embedded = make().fit_transform(X, metadata={"mode": "holographic"})
    assert [warning.filename for warning in caught] == [__file__]
    np.testing.assert_array_equal(embedded, make().fit_transform(X, metadata={"mode": None}))


def test_the_bundled_checkpoint_has_no_fields() -> None:
    with pytest.raises(ValueError, match="was pretrained without metadata and has no field 'mode'; leave metadata out"):
        SpectralEmbedder(metadata={"mode": "absorbance"}, wavelengths=NM).fit(X)


def test_readouts_of_the_patches_do_not_depend_on_them(make: Callable[..., SpectralEmbedder], tmp_path: Path) -> None:
    for readout in ("contrast", "compact"):
        with pytest.raises(
            ValueError, match=f"readout='{readout}' is .* does not depend on .*use readout='mean' or 'cls'"
        ):
            make(readout=readout, metadata={"mode": "absorbance"}).fit(X)
    points = checkpoint(tmp_path / "points.safetensors", tokens="points", categorical={"mode": MODES})
    first, second = (
        SpectralEmbedder(points, readout="compact", adapt=False, wavelengths=NM).fit_transform(
            X, metadata={"mode": mode}
        )
        for mode in MODES
    )
    assert not np.allclose(first, second)


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_the_cache_tells_them_apart(make: Callable[..., SpectralEmbedder], kind: str, tmp_path: Path) -> None:
    kept = make(cache=True if kind == "memory" else tmp_path / "cache").fit(X)
    fresh = make().fit(X)
    rows = {"mode": [MODES[i % 2] for i in range(len(X))]}
    for _ in range(2):
        for metadata in (None, {}, {"mode": MODES[0]}, {"mode": MODES[1]}, rows, {"temperature": 20.0}):
            np.testing.assert_array_equal(
                kept.transform(X, metadata=metadata), fresh.transform(X, metadata=metadata), err_msg=str(metadata)
            )


def test_copies_keep_them(make: Callable[..., SpectralEmbedder]) -> None:
    metadata = {"mode": "reflectance"}
    embedder = make(metadata=metadata)
    assert embedder.get_params()["metadata"] is metadata
    expected = embedder.fit_transform(X)
    for copy in (
        clone(embedder).fit(X),
        pickle.loads(pickle.dumps(embedder)),
        make().set_params(metadata=metadata).fit(X),
    ):
        np.testing.assert_array_equal(copy.transform(X), expected)
    (block,) = embedder.resolve(X)
    np.testing.assert_array_equal(embedder.embed([block]), expected)


def test_everything_that_embeds_takes_them(make: Callable[..., SpectralEmbedder]) -> None:
    """Weighting, GLSW, adaptation and outliers run with metadata; only spectra decide what is an outlier."""
    metadata = {"mode": ["absorbance"] * len(X)}
    embedder = make(adapt=True, robust=True, append_spectra=True, on_outlier="warn").fit(X, metadata=metadata)
    embedded = embedder.transform(X, metadata=metadata)
    assert np.isfinite(embedded).all()
    np.testing.assert_array_equal(embedder.fit_transform(X, metadata=metadata), embedded)
    np.testing.assert_array_equal(embedder.score_samples(X), make(on_outlier="warn").fit(X).score_samples(X))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shift = make().fit(X).adapt_to(X, metadata={"mode": "reflectance"}).instrument_shift_
    assert shift is not None
    assert make().fit(X, metadata=metadata).calibration_space_.mean.size


def test_importance_is_that_of_the_embedding_with_metadata(make: Callable[..., SpectralEmbedder]) -> None:
    slopes = []
    step = (1e-3 * np.cos(NM / 200.0)).astype(np.float32)
    for metadata in (None, {"mode": "reflectance"}):
        embedder = make(metadata=metadata).fit(X)
        weights = np.linspace(-1.0, 1.0, 16)
        slope = input_gradients(embedder, Spectra(X, NM), weights) @ step
        moved = embedder.embed([Spectra(X + step, NM)]) - embedder.embed([Spectra(X - step, NM)])
        np.testing.assert_allclose(slope, moved @ weights / 2.0, rtol=0.02, atol=0.02 * np.abs(slope).max())
        slopes.append(slope)
    assert np.abs(slopes[0] - slopes[1]).max() > 0.05 * np.abs(slopes[0]).max()


def test_routing(make: Callable[..., SpectralEmbedder]) -> None:
    frame = pd.DataFrame({"mode": [MODES[i % 2] for i in range(len(X))]})
    y = X[:, 40]
    with sklearn.config_context(enable_metadata_routing=True):
        asked = make().set_fit_request(metadata=True).set_transform_request(metadata=True)
        for embedder in (make(), asked):
            model = make_pipeline(embedder, Ridge())
            predicted = model.fit(X, y, metadata=frame).predict(X, metadata=frame)
            expected = Ridge().fit(make().fit_transform(X, metadata=frame), y)
            np.testing.assert_allclose(predicted, expected.predict(make().fit_transform(X, metadata=frame)), rtol=1e-5)
            folds = cross_val_predict(model, X, y, cv=3, params={"metadata": frame})
            assert folds.shape == y.shape
        refused = make_pipeline(make().set_fit_request(metadata=False).set_transform_request(metadata=False), Ridge())
        with pytest.raises(TypeError, match="metadata"):
            refused.fit(X, y, metadata=frame)
