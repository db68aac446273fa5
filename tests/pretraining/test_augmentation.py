"""Augmentations: the torch ones draw from nirs4all's distributions, the rest are nirs4all's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nirs4all.operators import augmentation as nirs4all_augmentation
from scipy.stats import ks_2samp

from nirs4all_vit.pretraining import augmentation as hot
from nirs4all_vit.pretraining.augmentation import AUGMENTATIONS, Augmentation, Nirs4allOperator
from nirs4all_vit.pretraining.data import MultiSpectralDataset, SpectralBatch, SpectralDataset
from nirs4all_vit.pretraining.data.batch import Draw
from tests.conftest import make_spectra

NM = np.linspace(1100.0, 2498.0, 180)


def batch(n: int = 40, nm: np.ndarray = NM) -> SpectralBatch:
    spectra = torch.from_numpy(make_spectra(nm, n)).float()
    return SpectralBatch(spectra, torch.from_numpy(nm.copy()), float(spectra.std(dim=0, correction=0).median()))


def mixed(n: int = 12) -> SpectralBatch:
    grids = np.linspace(1100, 2400, 100), np.linspace(1000, 1900, 70)
    sets = [SpectralDataset(f"s{i}", make_spectra(nm, 30, i).astype(np.float32), nm) for i, nm in enumerate(grids)]
    return MultiSpectralDataset(sets, n, layout="mixed", crop_probability=0, thin_probability=0)[0]


PAIRS = {
    "baseline_drift": (hot.BaselineDrift(degree=3), "PolynomialBaselineDrift", {"degree": 3}),
    "drift ranges": (
        hot.BaselineDrift(1, [(-0.2, 0.1), (0.0, 0.3)]),
        "PolynomialBaselineDrift",
        {"degree": 1, "coeff_ranges": [(-0.2, 0.1), (0.0, 0.3)]},
    ),
    "multiplicative_scatter": (hot.MultiplicativeScatter(0.07), "MultiplicativeNoise", {"sigma_gain": 0.07}),
    "msc_scatter": (
        hot.MSCScatter((-0.2, 0.1), (0.8, 1.1)),
        "ScatterSimulationMSC",
        {"a_range": (-0.2, 0.1), "b_range": (0.8, 1.1)},
    ),
    "gaussian_noise": (hot.GaussianNoise(0.03), "GaussianAdditiveNoise", {"sigma": 0.03}),
    "heteroscedastic_noise": (
        hot.HeteroscedasticNoise(0.002, 0.01),
        "HeteroscedasticNoiseAugmenter",
        {"noise_base": 0.002, "noise_signal_dep": 0.01},
    ),
    "wavelength_shift": (hot.WavelengthShift((-3.0, 5.0)), "WavelengthShift", {"shift_range": (-3.0, 5.0)}),
}


@pytest.mark.parametrize("name", list(PAIRS))
def test_hot_operators_match_nirs4all_in_distribution(name: str) -> None:
    """The same spectrum 3,000 times through each: equal means, spreads and laws, point by point and jointly."""
    ours, class_name, parameters = PAIRS[name]
    one = batch(1)
    many = SpectralBatch(one.spectra.expand(3000, -1).contiguous(), one.wavelengths, one.deviation)
    changed = (ours(many.spectra, many, Draw.seeded(0)) - many.spectra).double().numpy()
    operator = getattr(nirs4all_augmentation, class_name)(**parameters, random_state=1)
    X = many.spectra.double().numpy()
    known = {"wavelengths": NM} if hasattr(operator, "_requires_wavelengths") else {}
    reference = operator.fit(X, **known).transform(X, **known) - X
    spread = reference.std(axis=0)
    np.testing.assert_allclose(changed.mean(axis=0), reference.mean(axis=0), atol=6 * (spread.max() / 3000**0.5 + 1e-7))
    np.testing.assert_allclose(changed.std(axis=0), spread, rtol=0.12, atol=1e-6)
    for point in (0, 50, 90, 179):
        assert ks_2samp(changed[:, point], reference[:, point]).pvalue > 1e-4, point
    # Points move together as they do there: drift as a curve, noise each on its own.
    np.testing.assert_allclose(_correlations(changed), _correlations(reference), atol=0.12)


def _correlations(changes: np.ndarray) -> np.ndarray:
    return np.corrcoef(changes[:, [5, 50, 90, 130, 170]].T)


@pytest.mark.parametrize("name", list(AUGMENTATIONS))
@pytest.mark.parametrize("make", [batch, mixed, lambda: batch(6, np.linspace(1100, 1400, 16))])
def test_every_augmentation_runs_on_every_batch(name: str, make: object) -> None:
    before = make()
    augment = Augmentation({name: {}})
    after = augment(before, Draw.seeded(0))
    assert after.spectra.shape == before.spectra.shape
    assert after.spectra.dtype == torch.float32
    assert torch.isfinite(after.spectra).all()
    if name not in ("channel_dropout", "band_masking", "edge_artifacts", "particle_size"):  # may leave some alone
        assert not torch.equal(after.spectra, before.spectra)
    if before.valid is not None:
        assert (after.spectra[~before.valid] == 0).all()
    assert torch.equal(augment(before, Draw.seeded(0)).spectra, after.spectra)
    assert torch.equal(before.spectra, make().spectra)  # the input is not touched


def test_samples_draw_apart_with_the_probability_asked_for() -> None:
    many = batch(2000)
    for name in ("baseline_drift", "wavelength_shift", "magnitude_warp", "temperature"):
        after = Augmentation({name: {"probability": 0.3}})(many, Draw.seeded(0))
        share = (after.spectra != many.spectra).any(dim=1).float().mean()
        assert 0.25 < share < 0.35, name
    one = SpectralBatch(many.spectra[:1].expand(50, -1).contiguous(), many.wavelengths, many.deviation)
    for name in (
        "wavelength_stretch",
        "wavelength_warp",
        "broadening",
        "temperature",
        "path_length",
        "emsc_distortion",
    ):
        after = Augmentation({name: {}})(one, Draw.seeded(0))
        assert len({row.numpy().tobytes() for row in after.spectra}) > 40, name


def test_augmentations_follow_their_order_and_leave_the_rest() -> None:
    one = batch()
    steps = {
        "msc_scatter": {"a_range": (1.0, 1.0), "b_range": (1.0, 1.0)},
        "multiplicative_scatter": {"sigma_gain": 0.0},
    }
    after = Augmentation(steps)(one, Draw.seeded(0))
    torch.testing.assert_close(after.spectra, one.spectra + 1)
    assert after.wavelengths is one.wavelengths
    assert Augmentation({})(one, Draw.seeded(0)).spectra is one.spectra


def test_relative_strength_is_that_of_the_dataset() -> None:
    one = batch(3000)
    for scale in (1.0, 10.0):
        scaled = SpectralBatch(one.spectra, one.wavelengths, one.deviation * scale)
        noise = hot.GaussianNoise(0.1, relative=True)(scaled.spectra, scaled, Draw.seeded(0)) - scaled.spectra
        assert float(noise.std()) == pytest.approx(0.1 * one.deviation * scale, rel=0.02)
        drift = hot.BaselineDrift(0, [(-1, 1)], relative=True)(scaled.spectra, scaled, Draw.seeded(0)) - scaled.spectra
        assert float(drift.abs().max()) == pytest.approx(one.deviation * scale, rel=0.01)


def test_padding_does_not_change_a_spectrum() -> None:
    """A shift, a drift and a noise level are those of the spectrum alone."""
    nm = NM[:100]
    spectra = torch.from_numpy(make_spectra(nm, 9)).float()
    alone = SpectralBatch(spectra, torch.from_numpy(nm.copy()), 1.0)
    axis = torch.cat([alone.wavelengths, alone.wavelengths[-1:].expand(30)]).expand(9, -1)
    valid = torch.zeros(9, 130, dtype=torch.bool)
    valid[:, :100] = True
    padded = SpectralBatch(torch.nn.functional.pad(spectra, (0, 30)), axis, torch.ones(9, 1), valid)
    for operator in (hot.WavelengthShift((-9.0, 9.0)), hot.BaselineDrift(2), hot.MSCScatter()):
        expected = operator(alone.spectra, alone, Draw.seeded(0))
        torch.testing.assert_close(
            operator(padded.spectra, padded, Draw.seeded(0))[:, :100], expected, atol=1e-6, rtol=1e-5
        )
    torch.testing.assert_close(hot._spread(padded.spectra, valid), hot._spread(spectra, None))


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ({"magic": {}}, "no augmentation 'magic'; there are: baseline_drift"),
        ({"msc_scatter": {"probability": 2}}, r"msc_scatter: probability=2 must be between"),
        ({"msc_scatter": 0.5}, "msc_scatter: settings must be a mapping"),
        ({"msc_scatter": {"probability": "x"}}, "msc_scatter: probability=x must be between"),
        ({"gaussian_noise": {"sigma": "x"}}, "gaussian_noise: "),
        ({"wavelength_stretch": {"stretch_range": 3}}, "wavelength_stretch: "),
        ({"wavelength_stretch": {"random_state": 3}}, "wavelength_stretch: random_state is drawn"),
        ({"msc_scatter": {"strength": 2}}, "msc_scatter: .*unexpected keyword argument 'strength'"),
        ({"temperature": {"strength": 2}}, "temperature: TemperatureAugmenter has no parameter 'strength'; it has: "),
        ({"baseline_drift": {"degree": 2, "coeff_ranges": [(0, 1)]}}, "degree=2 needs 3 coeff_ranges"),
    ],
)
def test_impossible_settings(steps: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(steps)


def test_an_operator_that_nirs4all_does_not_have() -> None:
    with pytest.raises(ValueError, match="Magic: nirs4all has no augmentation 'Magic'"):
        Augmentation({"Magic": {}})
    with pytest.raises(ValueError, match="nirs4all has no augmentation 'Magic'; there are: GaussianAdditiveNoise"):
        Nirs4allOperator("Magic")


def test_operators_of_nirs4all_by_the_names_of_their_classes() -> None:
    """Its own class, and the torch version of it, draw from one distribution."""
    nm = torch.linspace(1000, 2000, 40, dtype=torch.float64)
    batch = SpectralBatch(torch.zeros(2000, 40), nm, 0.1)
    own = Augmentation({"PolynomialBaselineDrift": {"degree": 1, "coeff_ranges": [(-0.2, 0.2), (-0.1, 0.1)]}})
    ours = Augmentation({"baseline_drift": {"degree": 1, "coeff_ranges": [(-0.2, 0.2), (-0.1, 0.1)]}})
    a, b = (augment(batch, Draw.seeded(0)).spectra for augment in (own, ours))
    torch.testing.assert_close(a.std(dim=0), b.std(dim=0), rtol=0.06, atol=0.005)
    assert not torch.equal(a[0], a[1])
