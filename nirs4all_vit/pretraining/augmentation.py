"""Augmentation of spectra, and masks for masked modelling.

The most frequent augmentations are vectorised in torch and draw from the same distributions as the
nirs4all operators named in their docstrings; `Nirs4allOperator` runs the other operators of
nirs4all.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .data.batch import Draw, SpectralBatch


@dataclass(frozen=True)
class BaselineDrift:
    """Add a polynomial baseline (nirs4all's `PolynomialBaselineDrift`).

    Parameters
    ----------
    degree : int, default=3
        Degree of the polynomial; the wavelength range is scaled to -1 ... 1.
    coeff_ranges : sequence of (float, float), optional
        Bounds of each coefficient, from degree 0 on; by default plus or minus 0.1 / (k + 1).
    relative : bool, default=False
        Coefficients in units of the dataset's standard deviation instead of absorbance.
    """

    degree: int = 3
    coeff_ranges: Sequence[tuple[float, float]] | None = None
    relative: bool = False

    def __post_init__(self) -> None:
        if self.degree < 0 or (self.coeff_ranges is not None and len(self.coeff_ranges) != self.degree + 1):
            raise ValueError(f"degree={self.degree} needs {self.degree + 1} coeff_ranges and must be at least 0.")

    def __call__(self, spectra: Tensor, batch: SpectralBatch, draw: Draw) -> Tensor:
        """Return spectra of the same shape (n, L)."""
        low, high = batch.wavelengths[..., :1], batch.wavelengths[..., -1:]
        axis = (2 * (batch.wavelengths - low) / (high - low).clamp_min(1e-9) - 1).to(spectra.dtype)
        ranges = self.coeff_ranges or [(-0.1 / (k + 1), 0.1 / (k + 1)) for k in range(self.degree + 1)]
        drift = torch.zeros_like(spectra)
        for power, (lowest, highest) in enumerate(ranges):
            drift = drift + draw.uniform(len(spectra), 1, low=lowest, high=highest) * axis**power
        return spectra + (batch.deviation * drift if self.relative else drift)


@dataclass(frozen=True)
class MultiplicativeScatter:
    """Multiply each spectrum by a random gain around 1 (nirs4all's `MultiplicativeNoise`).

    `sigma_gain` is the standard deviation of the gain.
    """

    sigma_gain: float = 0.05

    def __call__(self, spectra: Tensor, batch: SpectralBatch, draw: Draw) -> Tensor:  # noqa: ARG002
        """Return spectra of the same shape (n, L)."""
        return spectra * (1 + self.sigma_gain * draw.normal(len(spectra), 1))


@dataclass(frozen=True)
class MSCScatter:
    """Add an offset and multiply by a slope, a + b x (nirs4all's `ScatterSimulationMSC`).

    `a_range` and `b_range` are the bounds of a and b, which multiplicative scatter correction
    removes.
    """

    a_range: tuple[float, float] = (-0.1, 0.1)
    b_range: tuple[float, float] = (0.9, 1.1)

    def __call__(self, spectra: Tensor, batch: SpectralBatch, draw: Draw) -> Tensor:  # noqa: ARG002
        """Return spectra of the same shape (n, L)."""
        offset = draw.uniform(len(spectra), 1, low=self.a_range[0], high=self.a_range[1])
        slope = draw.uniform(len(spectra), 1, low=self.b_range[0], high=self.b_range[1])
        return offset + slope * spectra


@dataclass(frozen=True)
class GaussianNoise:
    """Add white noise (nirs4all's `GaussianAdditiveNoise`).

    Its standard deviation is `sigma` times that of the spectrum over its points or, if `relative`,
    that of the dataset.
    """

    sigma: float = 0.01
    relative: bool = False

    def __call__(self, spectra: Tensor, batch: SpectralBatch, draw: Draw) -> Tensor:
        """Return spectra of the same shape (n, L)."""
        unit = batch.deviation if self.relative else _spread(spectra, batch.valid)
        return spectra + self.sigma * unit * draw.normal(*spectra.shape)


@dataclass(frozen=True)
class HeteroscedasticNoise:
    """Add noise that grows with absorbance (nirs4all's `HeteroscedasticNoiseAugmenter`).

    `noise_base` is its standard deviation at zero absorbance, `noise_signal_dep` the increase per
    absorbance unit.
    """

    noise_base: float = 0.001
    noise_signal_dep: float = 0.005

    def __call__(self, spectra: Tensor, batch: SpectralBatch, draw: Draw) -> Tensor:  # noqa: ARG002
        """Return spectra of the same shape (n, L)."""
        return spectra + (self.noise_base + self.noise_signal_dep * spectra.abs()) * draw.normal(*spectra.shape)


@dataclass(frozen=True)
class WavelengthShift:
    """Shift each spectrum along the axis by linear interpolation (nirs4all's `WavelengthShift`).

    `shift_range` gives the bounds of the shift in nm. Beyond the range, the value at its end is
    repeated.
    """

    shift_range: tuple[float, float] = (-2.0, 2.0)

    def __call__(self, spectra: Tensor, batch: SpectralBatch, draw: Draw) -> Tensor:
        """Return spectra of the same shape (n, L)."""
        shift = draw.uniform(len(spectra), 1, low=self.shift_range[0], high=self.shift_range[1]).double()
        axis = batch.wavelengths.expand(len(spectra), -1).contiguous()
        if axis.shape[1] < 2:
            return spectra
        query = (axis - shift).clamp(min=axis[:, :1], max=axis[:, -1:]).contiguous()
        right = torch.searchsorted(axis, query).clamp(1, axis.shape[1] - 1)
        left = right - 1
        near, far = axis.gather(1, left), axis.gather(1, right)
        # Padding repeats the last wavelength: in an interval of zero width, take the left end.
        weight = torch.where(far > near, (query - near) / (far - near).clamp_min(1e-12), 0.0).to(spectra.dtype)
        return torch.lerp(spectra.gather(1, left), spectra.gather(1, right), weight)


def _spread(spectra: Tensor, valid: Tensor | None) -> Tensor:
    """Return the standard deviation of each spectrum over its valid points, (n, 1)."""
    if valid is None:
        return spectra.std(dim=1, keepdim=True, correction=0)
    count = valid.sum(dim=1, keepdim=True).clamp_min(1)
    mean = (spectra * valid).sum(dim=1, keepdim=True) / count
    return (((spectra - mean) * valid).square().sum(dim=1, keepdim=True) / count).sqrt()


#: Parameters with which an operator varies between spectra; with its defaults it does not.
_VARYING_PARAMETERS: dict[str, dict[str, Any]] = {
    "InstrumentalBroadeningAugmenter": {"fwhm_range": (2.0, 12.0)},
    "TemperatureAugmenter": {"temperature_range": (-10.0, 10.0)},
}


class Nirs4allOperator:
    """Apply an operator of ``nirs4all.operators.augmentation``, given its class name, to a batch.

    Spectra on the same grid are processed together. The seed comes from the draws of the batch, so
    runs are reproducible. Raises ValueError for an unknown operator or parameter.
    """

    def __init__(self, class_name: str, **parameters: Any) -> None:
        from nirs4all.operators import augmentation

        operator_class = getattr(augmentation, class_name, None)
        if not inspect.isclass(operator_class):
            raise ValueError(
                f"nirs4all has no augmentation {class_name!r}; there are: {', '.join(augmentation.__all__)}."
            )
        self.parameters = _VARYING_PARAMETERS.get(class_name, {}) | parameters
        names = set(inspect.signature(operator_class).parameters)
        if set(self.parameters) - names:
            odd = sorted(set(self.parameters) - names)[0]
            raise ValueError(f"{class_name} has no parameter {odd!r}; it has: {', '.join(sorted(names))}.")
        self._class: Any = operator_class
        self._seeded = "random_state" in names

    def __call__(self, spectra: Tensor, batch: SpectralBatch, draw: Draw) -> Tensor:
        """Return spectra of the same shape (n, L)."""
        seed = draw.integer(0, 2**31 - 2)
        values, axis = spectra.double().cpu().numpy(), batch.wavelengths.cpu().numpy()
        if axis.ndim == 1:
            return torch.from_numpy(self._run(values, axis, seed)).to(spectra)
        out = values.copy()
        lengths = batch.valid.sum(dim=1).cpu().numpy() if batch.valid is not None else np.full(len(axis), axis.shape[1])
        grids, members = np.unique(axis, axis=0, return_inverse=True)
        for number, grid in enumerate(grids):
            rows = np.flatnonzero(members.ravel() == number)
            points = int(lengths[rows[0]])
            out[rows, :points] = self._run(values[rows, :points], grid[:points], seed + number)
        return torch.from_numpy(out).to(spectra)

    def _run(self, values: np.ndarray, axis: np.ndarray, seed: int) -> np.ndarray:
        operator = self._class(**self.parameters, **({"random_state": seed} if self._seeded else {}))
        axis_arguments = {"wavelengths": axis} if hasattr(operator, "_requires_wavelengths") else {}
        with np.errstate(over="ignore"):  # logistic edges of the temperature operator
            return np.asarray(operator.fit(values, **axis_arguments).transform(values, **axis_arguments))


#: Augmentations by their name in recipes; the first six run in torch.
AUGMENTATIONS: dict[str, Callable[..., Any]] = {
    "baseline_drift": BaselineDrift,
    "multiplicative_scatter": MultiplicativeScatter,
    "msc_scatter": MSCScatter,
    "gaussian_noise": GaussianNoise,
    "heteroscedastic_noise": HeteroscedasticNoise,
    "wavelength_shift": WavelengthShift,
} | {
    name: partial(Nirs4allOperator, class_name)
    for name, class_name in {
        "wavelength_stretch": "WavelengthStretch",
        "wavelength_warp": "LocalWavelengthWarp",
        "magnitude_warp": "SmoothMagnitudeWarp",
        "band_masking": "BandMasking",
        "channel_dropout": "ChannelDropout",
        "broadening": "InstrumentalBroadeningAugmenter",
        "edge_artifacts": "EdgeArtifactsAugmenter",
        "stray_light": "StrayLightAugmenter",
        "emsc_distortion": "EMSCDistortionAugmenter",
        "path_length": "PathLengthAugmenter",
        "temperature": "TemperatureAugmenter",
        "particle_size": "ParticleSizeAugmenter",
    }.items()
}

_TRIAL_BATCH = SpectralBatch(
    torch.linspace(0.1, 1.0, 64).repeat(2, 1), torch.linspace(1000, 1630, 64, dtype=torch.float64), 0.1
)


class Augmentation:
    """Sequence of augmentations, each applied to a random share of the spectra.

    Parameters
    ----------
    steps : mapping of str to mapping
        By name, in order: ``probability`` (default 1, per spectrum) and the parameters of the
        augmentation. A name is one of `AUGMENTATIONS` or a class of
        ``nirs4all.operators.augmentation``, for example ``PolynomialBaselineDrift``.

    Raises
    ------
    ValueError
        Unknown name or parameter, invalid value, or a probability outside 0 to 1.

    Examples
    --------
    >>> drift = {"probability": 0.5, "degree": 2}
    >>> augment = Augmentation({"baseline_drift": drift, "wavelength_shift": {}})
    """

    def __init__(self, steps: Mapping[str, Mapping[str, Any]]) -> None:
        self.steps: list[tuple[Any, float]] = []
        for name, settings in steps.items():
            # Names that begin with a capital are classes of nirs4all.
            make = partial(Nirs4allOperator, name) if name[:1].isupper() else AUGMENTATIONS.get(name)
            if make is None:
                raise ValueError(
                    f"no augmentation {name!r}; there are: {', '.join(AUGMENTATIONS)}, and the classes of "
                    "nirs4all.operators.augmentation."
                )
            if not isinstance(settings or {}, Mapping):
                raise ValueError(f"{name}: settings must be a mapping such as {{probability: 0.5}}, got {settings!r}.")
            parameters = dict(settings or {})
            probability = parameters.pop("probability", 1.0)
            if not isinstance(probability, (int, float)) or not 0 <= probability <= 1:
                raise ValueError(f"{name}: probability={probability} must be between 0 and 1.")
            if "random_state" in parameters:
                raise ValueError(f"{name}: random_state is drawn for each batch from the seed of the run; remove it.")
            try:
                operator = make(**parameters)
                # Trial run: report invalid values now instead of during training.
                operator(_TRIAL_BATCH.spectra, _TRIAL_BATCH, Draw.seeded(0))
            except (TypeError, ValueError, IndexError) as error:
                raise ValueError(f"{name}: {error}") from error
            self.steps.append((operator, probability))

    def __call__(self, batch: SpectralBatch, draw: Draw) -> SpectralBatch:
        """Return the batch with augmented spectra; the baseline and all other fields stay."""
        spectra = batch.spectra
        for operator, probability in self.steps:
            selected = draw.uniform(len(spectra), 1) < probability
            if isinstance(operator, Nirs4allOperator):
                # These operators are slow: process the selected spectra only.
                rows = selected[:, 0].nonzero()[:, 0]
                if len(rows):
                    spectra = spectra.index_copy(0, rows, operator(spectra[rows], _rows(batch, rows), draw))
            else:
                spectra = torch.where(selected, operator(spectra, batch, draw), spectra)
        if batch.valid is not None:
            spectra = spectra * batch.valid
        return dataclasses.replace(batch, spectra=spectra)


def _rows(batch: SpectralBatch, rows: torch.Tensor) -> SpectralBatch:
    def of(value: Any, ndim: int = 2) -> Any:
        return value[rows] if isinstance(value, torch.Tensor) and value.dim() == ndim else value

    return SpectralBatch(batch.spectra[rows], of(batch.wavelengths), of(batch.deviation), of(batch.valid))


def block_mask(
    wavelengths: Tensor,
    n_spectra: int,
    draw: Draw,
    ratio: tuple[float, float] = (0.6, 0.8),
    block: tuple[float, float] = (15.0, 150.0),
    valid: Tensor | None = None,
) -> Tensor:
    """Mask a share of each spectrum in contiguous wavelength blocks.

    The range of each spectrum is divided into blocks of equal width at a random offset. Blocks are
    masked in random order until the share drawn for the spectrum is reached, to within half a
    block. The share is measured in wavelength, not in points, so that it does not depend on the
    spacing of the grid.

    Parameters
    ----------
    wavelengths : Tensor of shape (L,) or (n_spectra, L)
        Wavelengths in nm, ascending.
    n_spectra : int
        Number of spectra.
    draw : Draw
        Source of randomness.
    ratio : (float, float), default=(0.6, 0.8)
        Bounds of the masked share, drawn per spectrum.
    block : (float, float), default=(15, 150)
        Bounds of the block width in nm, drawn log-uniformly per spectrum. The width is at least one
        point spacing and, with seven or more points, at most a sixth of the range.
    valid : bool Tensor of shape (n_spectra, L), optional
        False at padding, which is never masked.

    Returns
    -------
    bool Tensor of shape (n_spectra, L)
        True where masked. Every spectrum of two or more points has masked and visible points.

    Raises
    ------
    ValueError
        If not 0 < low <= high < 1 (`ratio`) or not 0 < low <= high (`block`).
    """
    check_bounds(ratio, block)
    axis = wavelengths.double().expand(n_spectra, -1)
    inside = torch.ones_like(axis, dtype=torch.bool) if valid is None else valid
    low, span = axis[:, :1], (axis[:, -1:] - axis[:, :1]).clamp_min(1e-9)
    n_points = inside.sum(dim=1, keepdim=True).clamp_min(2)
    width = draw.log_uniform(n_spectra, 1, low=block[0], high=block[1]).double()
    width = torch.minimum(torch.maximum(width, span / (n_points - 1)), span / torch.clamp(n_points - 1, max=6))
    offset = draw.uniform(n_spectra, 1).double() * width
    index = ((axis - low + offset) / width).long()
    # A block is at least one point wide. On a GPU, reading the exact number would force a
    # synchronisation.
    on_gpu_too = valid is None and wavelengths.dim() == 2
    n_blocks = axis.shape[1] + 1 if on_gpu_too else int(index.max()) + 1
    # Trapezoidal widths of the points, summed by block; padding has width 0.
    gaps = axis.diff(dim=1)
    edge = torch.zeros_like(axis[:, :1])
    share = (torch.cat([edge, gaps], 1) + torch.cat([gaps, edge], 1)) / (2 * span) * inside
    measure = axis.new_zeros(n_spectra, n_blocks).scatter_add_(1, index, share)
    filled = axis.new_zeros(n_spectra, n_blocks).scatter_add_(1, index, inside.double()) > 0
    order = (draw.uniform(n_spectra, n_blocks).double() + 2.0 * ~filled).argsort(dim=1)
    ordered = measure.gather(1, order)
    target = draw.uniform(n_spectra, 1, low=ratio[0], high=ratio[1]).double()
    count = (ordered.cumsum(dim=1) - ordered / 2 < target).sum(dim=1, keepdim=True)
    count = torch.minimum(count, filled.sum(dim=1, keepdim=True) - 1).clamp_min(1)
    rank = torch.empty_like(order).scatter_(
        1, order, torch.arange(n_blocks, device=order.device).expand_as(order).contiguous()
    )
    return (rank < count).gather(1, index) & inside


def check_bounds(ratio: tuple[float, float], block: tuple[float, float]) -> None:
    """Raise ValueError for invalid bounds of the masked share or block width."""
    if not 0 < ratio[0] <= ratio[1] < 1:
        raise ValueError(f"ratio={ratio} must be two shares, 0 < low <= high < 1.")
    if not 0 < block[0] <= block[1]:
        raise ValueError(f"block={block} must be two widths in nm, 0 < low <= high.")
