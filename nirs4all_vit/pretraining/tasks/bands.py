"""Tasks over the whole range: amounts of hidden bands, functionals of the clean spectrum; and what corrupts it."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from ..data.batch import Draw, SpectralBatch


def gaussian_bands(wavelengths: Tensor, draw: Draw, n_bands: int, narrow: float = 6.0, wide: float = 90.0) -> Tensor:
    """Gaussian bands of random centre and width (standard deviation in nm): (n_bands, L)."""
    axis = wavelengths.float()
    low, high = float(axis[0]), float(axis[-1])
    centre = draw.uniform(n_bands, 1, low=low, high=high)
    # No narrower than the grid can hold, no wider than half of the range.
    step = (high - low) / max(len(axis) - 1, 1)
    width = draw.log_uniform(n_bands, 1, low=narrow, high=wide).clamp(max=max((high - low) / 2, step)).clamp_min(step)
    return (-0.5 * ((axis - centre) / width).square()).exp()


def snv(spectra: Tensor) -> Tensor:
    """Standard normal variate of each row (Barnes, Dhanoa and Lister, 1989, Appl. Spectrosc. 43, 772)."""
    centred = spectra - spectra.mean(dim=1, keepdim=True)
    return centred / centred.std(dim=1, keepdim=True).clamp_min(1e-8)


def random_view(spectra: Tensor, draw: Draw) -> Tensor:
    """The spectrum, its first derivative (by smoothed differences), or its SNV, a third of the time each."""
    kind = draw.integer(0, 2)
    if kind == 0:
        return spectra
    if kind == 1:
        return snv(spectra)
    gap = max(1, min(5, spectra.shape[1] // 8))
    derivative = spectra[:, gap:] - spectra[:, :-gap]
    return torch.nn.functional.pad(derivative, (0, gap))


def standardise(columns: Tensor) -> Tensor:
    """Centre and scale each column; constant columns become zeros."""
    centred = columns - columns.mean(dim=0)
    deviation = centred.std(dim=0)
    return torch.where(deviation > 1e-9, centred / deviation.clamp_min(1e-9), torch.zeros_like(centred))


def check_count(name: str, value: int) -> None:
    """Raise ValueError unless a number of things is a positive integer."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name}={value!r} must be a positive integer.")


def corrupt(spectra: Tensor, deviation: float, draw: Draw, probability: float = 0.6) -> Tensor:
    """Corrupt spectra (n, L) with gain, degree-4 baseline drift and white noise, in a share of the episodes.

    Drift and noise are sized in `deviation`, the typical one of the dataset.
    """
    if not draw.chance(probability):
        return spectra
    n, length = spectra.shape
    gain = (draw.log_uniform(1, low=0.005, high=0.15) * draw.normal(n, 1)).exp()
    axis = torch.linspace(-1.0, 1.0, length)
    powers = torch.stack([axis**k for k in range(5)])
    drift = draw.normal(n, 5) * draw.log_uniform(1, low=0.02, high=1.0) @ powers
    noise = draw.normal(n, length) * draw.log_uniform(1, low=1e-4, high=3e-2)
    return spectra * gain + deviation * (drift + noise)


def spike(episode: SpectralBatch, draw: Draw, n_analytes: int, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Add hidden analytes in random amounts; returns spectra (n, L) and amounts (n, n_analytes).

    Each analyte is 1 to 6 Gaussian bands (6 to 90 nm); its strength is log-uniform between `low` and `high` times the
    dataset's own deviation.
    """
    n = len(episode.spectra)
    profiles = []
    for _ in range(n_analytes):
        n_bands = draw.integer(1, 6)
        bands = gaussian_bands(episode.wavelengths, draw, n_bands)
        profile = draw.uniform(1, n_bands, low=0.2, high=1.0) @ bands
        profiles.append(profile / profile.abs().max().clamp_min(1e-8))
    strength = draw.log_uniform(n_analytes, 1, low=low, high=high) * episode.deviation
    # Amounts are even or skewed, as concentrations are.
    amounts = draw.uniform(n, n_analytes)
    if draw.chance(0.5):
        amounts = amounts.square()
    return episode.spectra + (amounts * 3.0) @ (torch.cat(profiles) * strength), amounts


def physical_spike(episode: SpectralBatch, draw: Draw) -> Tensor:
    """Add analytes as an instrument would see them: path length varies, stray light up to 5 %."""
    spectra, _ = spike(episode, draw, draw.integer(1, 4), low=0.1, high=3.0)
    path = 1.0 + 0.15 * draw.normal(len(spectra), 1)
    stray = float(draw.log_uniform(1, low=1e-3, high=0.05))
    transmitted = torch.pow(10.0, -(spectra * path.clamp(0.5, 1.5)).clamp(-2.0, 6.0))
    return -torch.log10((transmitted + stray) / (1.0 + stray))


class LinearSpikes:
    """Predict the amounts of eight hidden analytes.

    Teaches faint bands and invariance to everything that moves around them.
    """

    def __init__(self, n_analytes: int = 8, low: float = 0.05, high: float = 1.0) -> None:
        check_count("n_analytes", n_analytes)
        if not 0 < low <= high:
            raise ValueError(f"low={low}, high={high} must be strengths, 0 < low <= high.")
        self.n_analytes, self.low, self.high = n_analytes, low, high

    def __call__(self, episode: SpectralBatch, draw: Draw) -> tuple[SpectralBatch, Tensor]:
        """Return the spiked episode and targets (n, n_analytes)."""
        spectra, amounts = spike(episode, draw, self.n_analytes, self.low, self.high)
        return dataclasses.replace(episode, spectra=spectra), amounts


class LinearFunctionals:
    """Predict contrasts of random bands of the clean spectrum, its derivative or its SNV."""

    def __init__(self, n_targets: int = 8) -> None:
        check_count("n_targets", n_targets)
        self.n_targets = n_targets

    def __call__(self, episode: SpectralBatch, draw: Draw) -> tuple[SpectralBatch, Tensor]:
        """Return the episode and targets (n, n_targets)."""
        view = random_view(episode.spectra, draw)
        bands = gaussian_bands(episode.wavelengths, draw, 2 * self.n_targets, wide=60.0)
        bands = bands / bands.sum(dim=1, keepdim=True).clamp_min(1e-8)
        means = view @ bands.T
        return episode, means[:, : self.n_targets] - means[:, self.n_targets :]


class NonlinearFunctionals:
    """Predict random smooth functions of a few band means.

    Two to six band means of the spectrum, its derivative or its SNV pass through a random network of
    ten tanh units beside a linear part. Half of the time the means are whitened first, so that small
    directions count; half of the time the spectra carry a physical spike, so that the encoder meets
    large amplitudes and nonlinear responses.
    """

    def __init__(self, n_targets: int = 8, n_hidden: int = 10) -> None:
        check_count("n_targets", n_targets)
        check_count("n_hidden", n_hidden)
        self.n_targets, self.n_hidden = n_targets, n_hidden

    def __call__(self, episode: SpectralBatch, draw: Draw) -> tuple[SpectralBatch, Tensor]:
        """Return the episode and targets (n, n_targets)."""
        spectra = physical_spike(episode, draw) if draw.chance(0.5) else episode.spectra
        view = random_view(spectra, draw)
        whiten = draw.chance(0.5)
        targets = []
        for _ in range(self.n_targets):
            n_bands = draw.integer(2, 6)
            bands = gaussian_bands(episode.wavelengths, draw, n_bands)
            means = standardise(view @ (bands / bands.sum(dim=1, keepdim=True).clamp_min(1e-8)).T)
            if whiten:
                means = _whiten(means)
            hidden = torch.tanh(means @ draw.normal(n_bands, self.n_hidden) / n_bands**0.5 + draw.normal(self.n_hidden))
            nonlinear = hidden @ draw.normal(self.n_hidden, 1) / self.n_hidden**0.5
            targets.append(nonlinear + means @ draw.normal(n_bands, 1) / n_bands**0.5)
        return dataclasses.replace(episode, spectra=spectra), torch.cat(targets, dim=1)


def _whiten(columns: Tensor) -> Tensor:
    """Decorrelate and scale columns, leaving out directions that are rounding only."""
    u, s, _ = torch.linalg.svd(columns - columns.mean(dim=0), full_matrices=False)
    keep = (s > 1e-4 * s[0].clamp_min(1e-12)).to(u.dtype)
    return u * keep * len(columns) ** 0.5
