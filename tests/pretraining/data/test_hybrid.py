"""Real spectra with simulated components."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from nirs4all_vit.pretraining.data import HybridSpectralDataset, SpectralDataset, hybrid_bank, synthetic_bank


def background(name: str = "real", family: str = "real", n: int = 40, noise: float = 1e-3) -> SpectralDataset:
    """Smooth spectra of three bands, with white noise."""
    generator = np.random.default_rng(len(name))
    nm = np.linspace(1000.0, 2000.0, 201)
    bands = np.stack([np.exp(-0.5 * ((nm - centre) / 60) ** 2) for centre in (1200, 1450, 1800)])
    X = 0.5 + generator.normal(1.0, 0.1, (n, 3)) @ bands + noise * generator.normal(size=(n, nm.size))
    about = {"family": family, "instrument": "A", "mode": "absorbance", "sample_type": "oil", "spectral_step": 5.0}
    return SpectralDataset(name, X.astype(np.float32), nm, about)


def test_seeds_decide_everything_and_nothing_is_made_before_it_is_read() -> None:
    real = background()
    first, again, other = (HybridSpectralDataset(real, 3, 20, seed) for seed in (0, 0, 1))
    assert "values" not in vars(first)
    assert first.shape == (20, 201)
    np.testing.assert_array_equal(first.values, again.values)
    assert not np.allclose(first.values, other.values)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(first)).values, first.values)
    for few in (1, 0):
        with pytest.raises(ValueError, match="both need 2"):
            HybridSpectralDataset(real, 0, few)
    with pytest.raises(ValueError, match="real with 1: both need 2"):
        HybridSpectralDataset(background(n=1), 0)


def test_the_first_view_is_on_the_grid_and_at_the_scale_of_the_real_spectra() -> None:
    real = background()
    for index in range(6):
        made = HybridSpectralDataset(real, index, 60)
        assert np.array_equal(made.wavelengths, real.wavelengths)
        assert made.absorbance().mean() == pytest.approx(real.absorbance().mean(), rel=0.1)
        assert 0.5 < made.deviation / real.deviation < 1.5


def test_components_are_in_the_spectra() -> None:
    """A regression on the spectra predicts the concentrations; without components it cannot."""
    made = HybridSpectralDataset(background(), 1, 200)
    assert 2 <= len(made.concentrations) <= 5
    C = np.stack(list(made.concentrations.values()), axis=1)
    np.testing.assert_allclose(C.mean(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(C.std(axis=0), 1.0)
    X = made.absorbance().astype(np.float64)

    def explained(X: np.ndarray) -> float:
        X = np.hstack([X, np.ones((len(X), 1))])
        train, test = np.arange(len(X)) < 120, np.arange(len(X)) >= 120
        kernel = X @ X.T
        dual = np.linalg.solve(kernel[np.ix_(train, train)] + 1e-6 * np.trace(kernel) * np.eye(120), C[train])
        return float(1 - np.square(kernel[np.ix_(test, train)] @ dual - C[test]).mean())

    with_components = explained(X)
    assert with_components > 0.5
    assert with_components > explained(X - made._added.astype(np.float64)) + 0.1


@pytest.mark.parametrize("noise", [1e-4, 3e-3])
def test_noise_is_that_of_the_real_spectra(noise: float) -> None:
    made = HybridSpectralDataset(background(noise=noise), 0, 200)
    assert np.median(made._noise) == pytest.approx(noise, rel=0.15)
    rough = np.diff(made.absorbance().astype(np.float64), 4, axis=1) / np.sqrt(70.0)
    # The fourth difference of smooth bands is small beside the noise.
    assert np.median(rough.std(axis=0)) == pytest.approx(noise, rel=0.2)


def test_views_are_the_same_samples_measured_again() -> None:
    first = HybridSpectralDataset(background(), 2, 40)
    other = first.paired()
    same = other.paired()
    assert first.paired() is other
    assert [d.view for d in (first, other, same)] == [0, 1, 2]
    assert other.name == "hybrid-0-2-real-view1"
    assert not np.array_equal(other.wavelengths, first.wavelengths)
    assert other.wavelengths[0] >= first.wavelengths[0]
    assert np.array_equal(same.wavelengths, first.wavelengths)
    assert not np.allclose(same.values, first.values)
    for view in (other, same):
        on_first = np.stack([np.interp(view.wavelengths, first.wavelengths, row) for row in first.absorbance()])
        a, b = (x - x.mean(axis=0) for x in (on_first, view.absorbance()))
        a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
        assert np.mean((a @ b.T).argmax(axis=1) == np.arange(40)) > 0.5  # by chance 1 in 40
    for name, values in first.concentrations.items():
        np.testing.assert_array_equal(values, same.concentrations[name])


def test_metadata_are_those_of_the_real_spectra() -> None:
    first = HybridSpectralDataset(background(), 0, 10)
    about, other = first.metadata.known(), first.paired().metadata.known()
    assert first.family == "synthetic"
    assert about["instrument"] == "A"
    assert about["sample_type"] == other["sample_type"] == "oil"
    assert "instrument" not in other
    assert first.metadata.source["spectral_step"] == pytest.approx(5.0)


def test_families_are_used_equally_often() -> None:
    real = [background("a"), background("bb"), background("ccc", "other"), background("dddd", n=1)]
    bank = hybrid_bank(real, 8, 10)
    assert [d.background.family for d in bank].count("other") == 4
    assert {d.index for d in bank} == set(range(8))
    with pytest.raises(ValueError, match="at least two spectra"):
        hybrid_bank([background(n=1)], 3)
    assert background().paired() is None
    assert synthetic_bank(1, 4)[0].paired() is not None
