"""Released weights give what they gave, and what releases wrote still loads."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from sklearn.exceptions import InconsistentVersionWarning

from nirs4all_vit import SpectralEmbedder, load_checkpoint
from nirs4all_vit.encoder.checkpoint import BUNDLED, FORMAT_VERSION
from tests.golden.inputs import FOLDER, embeddings, shared_grid


@pytest.mark.parametrize("name", BUNDLED)
def test_released_weights_give_what_they_gave(name: str) -> None:
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as kept:
        found = embeddings(name)
        assert set(found) == set(kept.files)
        for readout, Z in found.items():
            assert Z.dtype == kept[readout].dtype == np.float32
            moved = np.linalg.norm(Z - kept[readout], axis=1) / np.linalg.norm(kept[readout], axis=1)
            assert moved.max() < 1e-4, readout


@pytest.mark.parametrize("path", sorted(FOLDER.glob("embedder-*.pkl")), ids=lambda path: path.stem)
def test_old_pickles_load(path) -> None:
    X, nm = shared_grid()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InconsistentVersionWarning)
        old = pickle.loads(path.read_bytes())
    new = SpectralEmbedder(readout=old.readout, wavelengths=nm, axis_unit="nm").fit(X)
    assert old.transform(X).shape == (4, len(new.get_feature_names_out()))
    # Those of other weights tell other numbers, and find them still.
    if old.checkpoint == new.checkpoint:
        np.testing.assert_allclose(old.transform(X), new.transform(X), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("version", range(1, FORMAT_VERSION + 1))
def test_old_formats_load(version: int) -> None:
    path = FOLDER / f"format-{version}.safetensors"
    assert load_checkpoint(path).name == "small"
    X, nm = shared_grid()
    assert np.isfinite(SpectralEmbedder(path, wavelengths=nm).fit_transform(X)).all()
