"""Tasks on the whole range: amounts of added bands, and functionals of the clean spectrum.

Functions process B episodes of S spectra with L points at once, with separate draws for every
episode.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from ..data.batch import Draw, SpectralBatch

#: Largest number of bands of an analyte or a functional.
_MAX_BANDS = 6
#: Variance added to each direction before whitening, relative to the mean variance.
_ROUNDING = 1e-8


def gaussian_bands(axes: Tensor, draw: Draw, n_bands: int, narrow: float = 6.0, wide: float = 90.0) -> Tensor:
    """Return Gaussian bands (B, n_bands, L) of random centre and width on axes (B, L).

    `narrow` and `wide` bound the width, the standard deviation of the band in nm.
    """
    axis = axes.float().unsqueeze(1)
    low, high = axis[..., :1], axis[..., -1:]
    centre = low + (high - low) * draw.uniform(len(axes), n_bands, 1)
    # At least the spacing of the grid, at most half of the range.
    step = (high - low) / max(axes.shape[1] - 1, 1)
    width = draw.log_uniform(len(axes), n_bands, 1, low=narrow, high=wide)
    width = torch.maximum(torch.minimum(width, torch.maximum((high - low) / 2, step)), step)
    return (-0.5 * ((axis - centre) / width).square()).exp()


def snv(spectra: Tensor) -> Tensor:
    """Return the SNV of each spectrum (Barnes et al., 1989, Appl. Spectrosc. 43, 772)."""
    centred = spectra - spectra.mean(dim=-1, keepdim=True)
    return centred / centred.std(dim=-1, keepdim=True).clamp_min(1e-8)


def random_view(spectra: Tensor, draw: Draw) -> Tensor:
    """Return spectra (B, S, L), first derivative or SNV, each for a third of the episodes.

    The derivative is a smoothed difference.
    """
    gap = max(1, min(5, spectra.shape[-1] // 8))
    derivative = torch.nn.functional.pad(spectra[..., gap:] - spectra[..., :-gap], (0, gap))
    kind = draw.uniform(len(spectra), 1, 1) * 3
    return torch.where(kind < 1, spectra, torch.where(kind < 2, snv(spectra), derivative))


def standardise(columns: Tensor) -> Tensor:
    """Centre and scale columns (..., S, n) over the spectra; constant columns become zeros."""
    centred = columns - columns.mean(dim=-2, keepdim=True)
    deviation = centred.std(dim=-2, keepdim=True)
    return torch.where(deviation > 1e-9, centred / deviation.clamp_min(1e-9), torch.zeros_like(centred))


def check_count(name: str, value: int) -> None:
    """Raise ValueError if a count is not a positive integer."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name}={value!r} must be a positive integer.")


def corrupt(batch: SpectralBatch, draw: Draw, probability: float = 0.6) -> SpectralBatch:
    """Corrupt a share of the episodes with gain, degree-4 baseline drift and white noise.

    Drift and noise are relative to the typical standard deviation of the dataset.
    """
    x = batch.by_episode(batch.spectra)
    n, size, length = x.shape
    gain = (draw.log_uniform(n, 1, 1, low=0.005, high=0.15) * draw.normal(n, size, 1)).exp()
    axis = torch.linspace(-1.0, 1.0, length, device=x.device)
    powers = torch.stack([axis**k for k in range(5)])
    drift = draw.normal(n, size, 5) * draw.log_uniform(n, 1, 1, low=0.02, high=1.0) @ powers
    noise = draw.normal(n, size, length) * draw.log_uniform(n, 1, 1, low=1e-4, high=3e-2)
    corrupted = x * gain + batch.deviations * (drift + noise)
    x = torch.where(draw.whether(probability, n, 1, 1), corrupted, x)
    return dataclasses.replace(batch, spectra=x.flatten(0, 1))


def spike(
    batch: SpectralBatch, draw: Draw, n_analytes: int, low: float, high: float, fewest: int | None = None
) -> tuple[Tensor, Tensor]:
    """Add analytes in random amounts; return spectra (B, S, L) and amounts (B, S, n_analytes).

    Each analyte has 1 to 6 Gaussian bands (6 to 90 nm). Its strength is log-uniform between `low`
    and `high` times the standard deviation of the dataset. An episode has `fewest` to `n_analytes`
    analytes (default: all); the amounts of the others are 0.
    """
    x = batch.by_episode(batch.spectra)
    n, size, _ = x.shape
    bands = gaussian_bands(batch.axes, draw, n_analytes * _MAX_BANDS).unflatten(1, (n_analytes, _MAX_BANDS))
    heights = draw.uniform(n, n_analytes, _MAX_BANDS, low=0.2, high=1.0) * _first_few(draw, n, n_analytes, fewest=1)
    profiles = torch.einsum("bak,bakl->bal", heights, bands)
    profiles = profiles / profiles.abs().amax(dim=-1, keepdim=True).clamp_min(1e-8)
    strength = draw.log_uniform(n, n_analytes, 1, low=low, high=high) * batch.deviations
    # Amounts are uniform or skewed, as concentrations are.
    amounts = draw.uniform(n, size, n_analytes)
    amounts = torch.where(draw.whether(0.5, n, 1, 1), amounts.square(), amounts)
    if fewest is not None:
        number = fewest + (draw.uniform(n, 1, 1) * (n_analytes - fewest + 1)).floor()
        amounts = amounts * (torch.arange(n_analytes, device=x.device) < number)
    return x + (amounts * 3.0) @ (profiles * strength), amounts


def _first_few(draw: Draw, *shape: int, fewest: int) -> Tensor:
    """Return booleans (*shape, 6), True for a random number of first bands, at least `fewest`."""
    number = fewest + (draw.uniform(*shape, 1) * (_MAX_BANDS - fewest + 1)).floor()
    return torch.arange(_MAX_BANDS, device=draw.device) < number


def physical_spike(batch: SpectralBatch, draw: Draw) -> Tensor:
    """Add one to four analytes with varying path length and up to 5 % stray light; (B, S, L)."""
    spectra, _ = spike(batch, draw, 4, low=0.1, high=3.0, fewest=1)
    path = 1.0 + 0.15 * draw.normal(*spectra.shape[:2], 1)
    stray = draw.log_uniform(len(spectra), 1, 1, low=1e-3, high=0.05)
    transmitted = torch.pow(10.0, -(spectra * path.clamp(0.5, 1.5)).clamp(-2.0, 6.0))
    return -torch.log10((transmitted + stray) / (1.0 + stray))


def band_contrasts(view: Tensor, axes: Tensor, draw: Draw, n_targets: int) -> Tensor:
    """Return contrasts (B, S, n_targets): differences between means over two random bands.

    `view` has the shape (B, S, L).
    """
    bands = gaussian_bands(axes, draw, 2 * n_targets, wide=60.0)
    means = view @ _unit_sum(bands).transpose(1, 2)
    return means[..., :n_targets] - means[..., n_targets:]


def _unit_sum(bands: Tensor) -> Tensor:
    return bands / bands.sum(dim=-1, keepdim=True).clamp_min(1e-8)


class LinearSpikes:
    """Predict the amounts of added analytes, eight by default.

    The task teaches weak bands and invariance to other variation.
    """

    def __init__(self, n_analytes: int = 8, low: float = 0.05, high: float = 1.0) -> None:
        check_count("n_analytes", n_analytes)
        if not 0 < low <= high:
            raise ValueError(f"low={low}, high={high} must be strengths, 0 < low <= high.")
        self.n_analytes, self.low, self.high = n_analytes, low, high

    def __call__(self, batch: SpectralBatch, draw: Draw) -> tuple[SpectralBatch, Tensor]:
        """Return the spiked episodes and targets (n, n_analytes)."""
        spectra, amounts = spike(batch, draw, self.n_analytes, self.low, self.high)
        return dataclasses.replace(batch, spectra=spectra.flatten(0, 1)), amounts.flatten(0, 1)


class LinearFunctionals:
    """Predict contrasts of random bands of the clean spectrum, its derivative or its SNV."""

    def __init__(self, n_targets: int = 8) -> None:
        check_count("n_targets", n_targets)
        self.n_targets = n_targets

    def __call__(self, batch: SpectralBatch, draw: Draw) -> tuple[SpectralBatch, Tensor]:
        """Return the episodes and targets (n, n_targets)."""
        view = random_view(batch.by_episode(batch.spectra), draw)
        return batch, band_contrasts(view, batch.axes, draw, self.n_targets).flatten(0, 1)


class NonlinearFunctionals:
    """Predict random smooth functions of a few band means.

    A target is a random network of ten tanh units plus a linear part, applied to two to six band
    means of the spectrum, its derivative or its SNV. In half of the episodes the means are
    whitened, so that small directions count. In half of the episodes analytes are added
    (`physical_spike`), so that the encoder is trained on large amplitudes and nonlinear responses.
    """

    def __init__(self, n_targets: int = 8, n_hidden: int = 10) -> None:
        check_count("n_targets", n_targets)
        check_count("n_hidden", n_hidden)
        self.n_targets, self.n_hidden = n_targets, n_hidden

    def __call__(self, batch: SpectralBatch, draw: Draw) -> tuple[SpectralBatch, Tensor]:
        """Return the episodes and targets (n, n_targets)."""
        x = batch.by_episode(batch.spectra)
        x = torch.where(draw.whether(0.5, len(x), 1, 1), physical_spike(batch, draw), x)
        view = random_view(x, draw)
        n, targets, hidden = len(x), self.n_targets, self.n_hidden
        bands = _unit_sum(gaussian_bands(batch.axes, draw, targets * _MAX_BANDS))
        means = standardise(view @ bands.transpose(1, 2)).unflatten(2, (targets, _MAX_BANDS)).transpose(1, 2)
        used = _first_few(draw, n, targets, fewest=2).unsqueeze(2)
        means = means * used
        means = torch.where(draw.whether(0.5, n, 1, 1, 1), _whitened(means), means) * used
        # Scale the sum over the bands to the variance of one term.
        means = means * used.sum(dim=-1, keepdim=True).rsqrt()
        units = torch.tanh(means @ draw.normal(n, targets, _MAX_BANDS, hidden) + draw.normal(n, targets, 1, hidden))
        out = units @ draw.normal(n, targets, hidden, 1) / hidden**0.5 + means @ draw.normal(n, targets, _MAX_BANDS, 1)
        answers = out.squeeze(-1).transpose(1, 2)
        return dataclasses.replace(batch, spectra=x.flatten(0, 1)), answers.flatten(0, 1)


def _whitened(columns: Tensor) -> Tensor:
    """Decorrelate and scale columns (..., S, n), without amplifying rounding errors.

    A Cholesky factor suffices, because the random weights of the columns are invariant under
    rotation.
    """
    x = columns.double()
    x = x - x.mean(dim=-2, keepdim=True)
    covariance = x.transpose(-2, -1) @ x / x.shape[-2]
    size = covariance.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[..., None, None].clamp_min(1e-12)
    eye = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    factor, _ = torch.linalg.cholesky_ex(covariance + _ROUNDING * size * eye)
    return torch.linalg.solve_triangular(factor, x.transpose(-2, -1), upper=False).transpose(-2, -1).float()
