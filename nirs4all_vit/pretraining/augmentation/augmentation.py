"""Augmentations by name, each on some of the spectra."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from ..data.batch import Draw, SpectralBatch
from .operators import (
    BaselineDrift,
    GaussianNoise,
    HeteroscedasticNoise,
    MSCScatter,
    MultiplicativeScatter,
    Nirs4allOperator,
    WavelengthShift,
)

#: Augmentations by the name that a recipe gives them; the first six run in torch.
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

_TRIAL = SpectralBatch(
    torch.linspace(0.1, 1.0, 64).repeat(2, 1), torch.linspace(1000, 1630, 64, dtype=torch.float64), 0.1
)


class Augmentation:
    """A sequence of augmentations, each applied to a random share of the spectra.

    Parameters
    ----------
    steps : mapping of str to mapping
        By name, in order: ``probability`` (default 1, drawn per spectrum) and the parameters of the
        augmentation.

    Raises
    ------
    ValueError
        An unknown name or parameter, or a probability outside of 0 to 1.

    Examples
    --------
    >>> augment = Augmentation({"baseline_drift": {"probability": 0.5, "degree": 2}, "wavelength_shift": {}})
    """

    def __init__(self, steps: Mapping[str, Mapping[str, Any]]) -> None:
        self.steps: list[tuple[Any, float]] = []
        for name, settings in steps.items():
            if name not in AUGMENTATIONS:
                raise ValueError(f"no augmentation {name!r}; there are: {', '.join(AUGMENTATIONS)}.")
            if not isinstance(settings or {}, Mapping):
                raise ValueError(f"{name}: settings must be a mapping such as {{probability: 0.5}}, got {settings!r}.")
            parameters = dict(settings or {})
            probability = parameters.pop("probability", 1.0)
            if not isinstance(probability, (int, float)) or not 0 <= probability <= 1:
                raise ValueError(f"{name}: probability={probability} must lie between 0 and 1.")
            if "random_state" in parameters:
                raise ValueError(f"{name}: random_state is drawn for each batch; the run's seed decides it.")
            try:
                operator = AUGMENTATIONS[name](**parameters)
                operator(_TRIAL.spectra, _TRIAL, Draw.seeded(0))  # a value of the wrong kind shows now, not in the run
            except (TypeError, ValueError, IndexError) as error:
                raise ValueError(f"{name}: {error}") from error
            self.steps.append((operator, probability))

    def __call__(self, batch: SpectralBatch, draw: Draw) -> SpectralBatch:
        """Return the batch with augmented spectra; everything else, the baseline too, stays."""
        spectra = batch.spectra
        for operator, probability in self.steps:
            selected = draw.uniform(len(spectra), 1) < probability
            if isinstance(operator, Nirs4allOperator):
                # Work per spectrum: only for those that were drawn.
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
