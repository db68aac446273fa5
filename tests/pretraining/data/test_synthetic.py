"""Synthetic datasets: many instruments, honest metadata, true pairs."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy.signal import savgol_filter

from nirs4all_vit.pretraining.data import SyntheticSpectralDataset, synthetic_bank


@pytest.fixture(scope="module")
def bank() -> list[SyntheticSpectralDataset]:
    return synthetic_bank(40, n_spectra=24)


def test_many_grids_instruments_and_modes(bank: list[SyntheticSpectralDataset]) -> None:
    assert len({d.wavelengths.tobytes() for d in bank}) == len(bank)
    assert len({d.metadata.categorical["instrument"] for d in bank}) >= 10
    assert {d.mode for d in bank} == {"absorbance", "reflectance", "transmittance"}
    assert {d.metadata.categorical["instrument_type"] for d in bank} == {"lab", "portable", "industrial"}
    points = [d.wavelengths.size for d in bank]
    assert min(points) < 150 < 1200 < max(points)
    steps = [np.diff(d.wavelengths) for d in bank]
    assert any(s.std() / s.mean() > 0.05 for s in steps)  # even in wavenumber
    assert all(d.family == "synthetic" for d in bank)


def test_signals_are_finite_and_differ_in_noise_and_spread(bank: list[SyntheticSpectralDataset]) -> None:
    for dataset in bank:
        assert dataset.values.shape == dataset.shape == (24, dataset.wavelengths.size)
        assert dataset.values.dtype == np.float32
        assert np.isfinite(dataset.values).all()
        assert dataset.deviation > 0
        if dataset.mode != "absorbance":
            assert 0 < dataset.values.min() <= dataset.values.max() <= 1
            assert np.median(dataset.values) < 2
    noise = [np.median(np.abs(np.diff(d.absorbance(), 2, axis=1))) for d in bank]
    spread = [d.deviation for d in bank]
    assert max(noise) > 10 * min(noise)
    assert max(spread) > 3 * min(spread)


def test_the_metadata_says_what_was_drawn(bank: list[SyntheticSpectralDataset]) -> None:
    for dataset in bank:
        known = dataset.metadata.known()
        assert known["spectral_start"] == dataset.wavelengths[0]
        assert known["spectral_stop"] == dataset.wavelengths[-1]
        assert known["spectral_step"] == pytest.approx(np.median(np.diff(dataset.wavelengths)))
        assert 5 <= known["temperature"] <= 40
        assert 15 <= known.get("particle_size", 15) <= 200
        assert "targets" not in dataset.metadata.source
    assert 5 < sum("particle_size" in d.metadata.known() for d in bank) < 35  # diffuse geometries only


def test_seeds_decide_everything_and_nothing_is_made_before_it_is_read() -> None:
    first, again, other = (SyntheticSpectralDataset(3, 10, seed) for seed in (0, 0, 1))
    assert "values" not in vars(first)
    np.testing.assert_array_equal(first.values, again.values)
    assert first.shape != other.shape or not np.array_equal(first.values, other.values)
    packed = pickle.dumps(first)
    assert len(packed) < 500
    np.testing.assert_array_equal(pickle.loads(packed).values, first.values)
    with pytest.raises(ValueError, match="n_spectra=1"):
        SyntheticSpectralDataset(0, 1)


def test_paired_views_share_their_samples() -> None:
    """Distances between samples agree across views far better than by chance, on another instrument too."""
    agreements = {1: [], 2: []}
    for index in range(16):
        base = SyntheticSpectralDataset(index, 40)
        view = base
        for number in (1, 2):
            view = view.paired()
            assert view.name == f"{base.name}-view{number}"
            assert view.view == number
            assert np.array_equal(view.wavelengths, base.wavelengths) == (number == 2)
            agreements[number].append(_agreement(base, view))
    assert np.median(agreements[1]) > 0.4
    assert np.median(agreements[2]) > 0.6
    # Rows that are shuffled agree by chance only.
    chance = [_agreement(base, view, np.random.default_rng(seed).permutation(40)) for seed in range(5)]
    assert np.abs(np.median(chance)) < 0.15


def _agreement(a: SyntheticSpectralDataset, b: SyntheticSpectralDataset, order: object = slice(None)) -> float:
    """Correlation of the distances between samples, on scatter-corrected derivatives."""
    return float(np.corrcoef(_distances(a), _distances(b, order))[0, 1])


def _distances(dataset: SyntheticSpectralDataset, order: object = slice(None)) -> np.ndarray:
    X = dataset.absorbance()[order]
    window = max(5, min(int(60 / np.median(np.diff(dataset.wavelengths))), X.shape[1] // 2)) | 1
    X = savgol_filter(X, window, 2, deriv=1, axis=1)
    X = X - X.mean(axis=1, keepdims=True)
    X = X / X.std(axis=1, keepdims=True)
    return np.linalg.norm(X[:, None] - X[None], axis=2)[np.triu_indices(len(X), 1)]
