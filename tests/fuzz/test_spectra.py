"""Valid spectra embed row by row; invalid ones are refused with a one-line error."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nirs4all_vit import SpectralEmbedder
from nirs4all_vit.encoder.readouts import READOUTS
from tests.fuzz.strategies import arguments, axes, spoiled, tables
from tests.golden.inputs import FOLDER

SMALL = FOLDER / "format-1.safetensors"


def embed(X, **parameters) -> np.ndarray:
    return SpectralEmbedder(SMALL, adapt=False, align=False, device="cpu", **parameters).fit_transform(X)


@pytest.fixture(autouse=True)
def quiet() -> None:
    warnings.filterwarnings("ignore", message="no wavelengths were given")


@given(data=st.data())
def test_legal_spectra(data: st.DataObject) -> None:
    X = data.draw(tables())
    axis, unit = data.draw(axes(X.shape[1]))
    given_as, parameters = data.draw(arguments(X, axis, unit))
    parameters["readout"] = data.draw(st.sampled_from(READOUTS))
    before = copy.deepcopy(given_as)
    Z = embed(given_as, **parameters)
    assert Z.dtype == np.float32
    assert Z.shape[0] == len(X)
    assert np.isfinite(Z).all()
    # The inputs are unchanged.
    assert np.array_equal(np.asarray(before), np.asarray(given_as))
    # A row does not depend on the other rows or their order.
    row = data.draw(st.integers(0, len(X) - 1))
    alone = embed(given_as[row : row + 1], **parameters)
    close(alone, Z[row : row + 1])
    close(embed(given_as[::-1], **parameters), Z[::-1])


@given(data=st.data())
def test_the_order_of_the_axis_and_its_unit_change_nothing(data: st.DataObject) -> None:
    X = data.draw(tables())
    axis, unit = data.draw(axes(X.shape[1]))
    expected = embed(X, wavelengths=axis, axis_unit=unit)
    order = np.random.default_rng(0).permutation(len(axis))
    close(embed(X[:, order], wavelengths=axis[order], axis_unit=unit), expected)
    nm = {"nm": axis, "cm-1": 1e7 / axis, "um": 1e3 * axis}[unit].clip(200.0, 30_000.0)
    if len(np.unique(nm)) == len(nm):
        close(embed(X, wavelengths=nm, axis_unit="nm"), expected, 1e-3)


@given(data=st.data())
def test_spectra_on_their_own_grids(data: st.DataObject) -> None:
    blocks = data.draw(st.lists(tables(n_rows=1), min_size=1, max_size=4))
    pairs = [data.draw(axes(block.shape[1])) for block in blocks]
    nm = [{"nm": axis, "cm-1": 1e7 / axis, "um": 1e3 * axis}[unit].clip(200.0, 30_000.0) for axis, unit in pairs]
    if any(len(np.unique(axis)) < len(axis) for axis in nm):
        return
    embedder = SpectralEmbedder(SMALL, adapt=False, align=False, axis_unit="nm")
    together = embedder.fit([block[0] for block in blocks], wavelengths=nm).transform(
        [block[0] for block in blocks], wavelengths=nm
    )
    assert np.isfinite(together).all()
    for i, (block, axis) in enumerate(zip(blocks, nm, strict=True)):
        close(embed(block, wavelengths=axis, axis_unit="nm"), together[i : i + 1], 1e-3)


@given(case=spoiled())
def test_invalid_inputs_are_refused(case: tuple) -> None:
    X, parameters = case
    # scikit-learn requires a TypeError for objects that are not numbers.
    with pytest.raises((ValueError, TypeError), match=r"^[^\n]+$"):
        embed(X, **parameters)


def close(Z: np.ndarray, expected: np.ndarray, tolerance: float = 1e-4) -> None:
    """Assert that embeddings agree by the norm of their difference."""
    np.testing.assert_array_less(
        np.linalg.norm(Z - expected, axis=1), tolerance * (1e-6 + np.linalg.norm(expected, axis=1))
    )
