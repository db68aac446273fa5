"""Synthetic spectra of many instruments and materials, in paired views, by nirs4all."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .generated import GeneratedDataset

#: Instrument types of the bank for nirs4all's instrument categories; others are ``lab``.
_TYPES = {"handheld": "portable", "embedded": "portable", "process": "industrial"}

#: Measurement modes of near-infrared instruments in the generator, which returns absorbance.
_MODES = ("transmittance", "reflectance", "transflectance", "interactance")

_MIN_POINTS, _MAX_POINTS = 60, 2200


class SyntheticSpectralDataset(GeneratedDataset):
    """Synthetic dataset: a material measured by an instrument, generated on first access.

    The material is one of nirs4all's product templates or a random mixture from its component
    library. An instrument archetype determines range, resolution, wavelength accuracy and detector
    noise. Grid, measurement mode, sample temperature, particle size, batch effects, edge artefacts
    and the strength of noise, baseline and scatter are random. The metadata contains material,
    instrument, mode, range, temperature and particle size.

    Parameters
    ----------
    index : int
        Number of the dataset; each has its own random material and instrument.
    n_spectra : int, default=256
        Number of spectra.
    seed : int, default=0
        Seed; with `index` and `view` it determines all random numbers.
    view : int, default=0
        Number of the view. Views have the same sample compositions, row by row. Odd views use
        another instrument and grid, even views the first instrument in another state.

    See Also
    --------
    synthetic_bank : List of synthetic datasets.
    """

    def __init__(self, index: int, n_spectra: int = 256, seed: int = 0, view: int = 0) -> None:
        if n_spectra < 2:
            raise ValueError(f"n_spectra={n_spectra} must be at least 2.")
        self.index, self.n_spectra, self.seed, self.view = index, n_spectra, seed, view
        self.baseline, self.owner = None, None
        first = _Instrument(self._generator(1, 0))
        self._instrument = _Instrument(self._generator(1, 1), first.archetype) if view % 2 else first
        self._state = _State(self._generator(2, view), self._instrument.mode)
        name = f"synthetic-{seed}-{index}" + (f"-view{view}" if view else "")
        self._set_axis(name, self._instrument.wavelengths, self._describe())

    @cached_property
    def values(self) -> NDArray[np.float32]:
        """Signal, (n_spectra, n_wavelengths), float32."""
        library, concentrations = self._material.mix(self.n_spectra)
        absorbance = self._state.measure(self._instrument, library, concentrations)
        if self._state.mode != "absorbance":
            # Offset the absorbance, so that reflectance and transmittance stay below 1.
            absorbance = 10.0 ** -(absorbance - absorbance.min() + 0.05)
        return absorbance.astype(np.float32)

    @cached_property
    def concentrations(self) -> dict[str, NDArray[np.float64]]:
        """Concentrations (n_spectra,) by component, for benchmarks; not used in pretraining."""
        library, concentrations = self._material.mix(self.n_spectra)
        return dict(zip(library.component_names, concentrations.T, strict=True))

    def _of_view(self, view: int) -> SyntheticSpectralDataset:
        return SyntheticSpectralDataset(self.index, self.n_spectra, self.seed, view)

    @cached_property
    def _material(self) -> _Material:
        return _Material(self._generator(0, 0))

    def _describe(self) -> dict[str, Any]:
        axis, state = self._instrument.wavelengths, self._state
        return {
            "family": "synthetic",
            "sample_type": self._material.name,
            "instrument": self._instrument.archetype,
            "instrument_type": self._instrument.kind,
            "mode": state.mode,
            "spectral_range": [float(axis[0]), float(axis[-1])],
            "spectral_step": float(np.median(np.diff(axis))),
            "temperature": state.temperature,
            "particle_size": state.particle_size,
        }

    def __getstate__(self) -> dict[str, Any]:
        # Spectra are generated again from the seeds.
        return {"args": (self.index, self.n_spectra, self.seed, self.view), "baseline": self.baseline}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(*state["args"])  # type: ignore[misc]
        self.baseline = state["baseline"]


def synthetic_bank(n_datasets: int = 64, n_spectra: int = 256, seed: int = 0) -> list[SyntheticSpectralDataset]:
    """Return synthetic datasets with random materials and instruments.

    Parameters
    ----------
    n_datasets : int, default=64
        Number of datasets.
    n_spectra : int, default=256
        Spectra per dataset.
    seed : int, default=0
        Seed of all datasets.

    Returns
    -------
    list of SyntheticSpectralDataset
        Spectra are generated on first access.
    """
    return [SyntheticSpectralDataset(index, n_spectra, seed) for index in range(n_datasets)]


class _Material:
    """Composition of the samples."""

    def __init__(self, generator: np.random.Generator) -> None:
        from nirs4all.synthesis import available_components, list_product_templates

        self._seed = int(generator.integers(2**31))
        self._template, self._components = None, None
        if generator.random() < 0.5:
            self._template = str(generator.choice(sorted(list_product_templates())))
            self.name = self._template
        else:
            components = sorted(available_components())
            self._components = [str(c) for c in generator.choice(components, generator.integers(3, 9), replace=False)]
            self.name = "mixture of " + ", ".join(self._components)

    def mix(self, n_spectra: int) -> tuple[Any, NDArray[np.float64]]:
        """Return the component library and the concentrations (n_spectra, n_components)."""
        from nirs4all.synthesis import ComponentLibrary, ProductGenerator

        if self._template is not None:
            # Only the concentrations are used; a small grid makes the call cheap.
            product = ProductGenerator(self._template, random_state=self._seed, wavelengths=np.linspace(1000, 2500, 8))
            # The return annotation holds only without return_concentrations.
            _, concentrations = product.generate(n_spectra, return_concentrations=True)  # type: ignore[misc]
            return product.library, concentrations
        generator = np.random.default_rng(self._seed)
        names = self._components or []
        typical = generator.dirichlet(np.full(len(names), 0.8))
        spread = np.exp(generator.uniform(np.log(5.0), np.log(200.0)))
        concentrations = generator.dirichlet(np.maximum(typical * spread, 0.05), size=n_spectra)
        return ComponentLibrary.from_predefined(names, random_state=self._seed), concentrations


class _Instrument:
    """Instrument: archetype, wavelength grid and measurement mode."""

    def __init__(self, generator: np.random.Generator, other_than: str = "") -> None:
        from nirs4all.synthesis import get_instrument_archetype, list_instrument_archetypes

        self.archetype = str(generator.choice(sorted(set(list_instrument_archetypes()) - {other_than})))
        archetype = get_instrument_archetype(self.archetype)
        self.kind = _TYPES.get(str(archetype.category.value), "lab")
        self.mode = str(generator.choice(_MODES))
        low, high = (float(limit) for limit in archetype.wavelength_range)
        low, high = max(low, 350.0), min(high, 2500.0)
        if generator.random() < 0.3:  # instruments are often used on part of their range
            low, high = np.sort(generator.uniform(low, high, 2)) if high - low > 1200 else (low, high)
            high = min(max(high, low + 200.0), 2500.0)
            low = min(low, high - 200.0)
        step = float(np.exp(generator.uniform(np.log(0.8), np.log(8.0))))
        n_points = int(np.clip((high - low) / step, _MIN_POINTS, _MAX_POINTS)) + 1
        # Fourier-transform instruments sample evenly in wavenumber.
        even = np.linspace(1e7 / high, 1e7 / low, n_points) if archetype.category.value == "ft_nir" else None
        self.wavelengths = np.linspace(low, high, n_points) if even is None else 1e7 / even[::-1]
        self.resolution, self.accuracy = float(archetype.spectral_resolution), float(archetype.wavelength_accuracy)
        # Constant wavelength error, of the size of the accuracy.
        self.true_wavelengths = self.wavelengths + self.accuracy * generator.normal()
        self._noise = float(archetype.photometric_noise)
        parts = archetype.multi_sensor.sensors if archetype.multi_sensor.enabled else []
        self._detectors = [(part.detector_type, *part.wavelength_range) for part in parts]
        self._detectors.insert(0, (archetype.detector_type, 0.0, np.inf))

    def noise(self, absorbance: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
        """Return detector noise (n_spectra, n_wavelengths) at the level of the archetype."""
        from nirs4all.synthesis import simulate_detector_effects

        noise = np.zeros_like(absorbance)
        # The additional detectors replace the first one within their ranges.
        for number, (detector, low, high) in enumerate(self._detectors):
            part = (self.wavelengths >= low) & (self.wavelengths <= high)
            if part.any():
                signal, axis = absorbance[:, part], self.wavelengths[part]
                noise[:, part] = simulate_detector_effects(signal, axis, detector, random_state=seed + number) - signal
        # The simulation gives the shape over the range, the archetype the level.
        return noise * (self._noise / max(float(np.median(noise.std(axis=0))), 1e-12))


class _State:
    """Conditions of a measurement: temperature, particle size, noise, baseline and scatter."""

    def __init__(self, generator: np.random.Generator, geometry: str) -> None:
        diffuse = geometry in ("reflectance", "interactance")
        self._seed = int(generator.integers(2**31))
        self._strength = {key: float(np.exp(generator.normal(0.0, 1.0))) for key in _NUISANCES}
        self._batches = int(generator.integers(2, 6)) if generator.random() < 0.3 else 1
        self._edges = generator.random() < 0.2
        self._spread = float(generator.uniform(0.0, 6.0))
        self.temperature = round(float(generator.uniform(5.0, 40.0)), 1)
        self.particle_size = round(float(np.exp(generator.uniform(np.log(15), np.log(200)))), 1) if diffuse else None
        raw = {"reflectance": "reflectance", "transmittance": "transmittance"}.get(geometry)
        self.mode = raw if raw is not None and generator.random() < 0.4 else "absorbance"

    def measure(
        self, instrument: _Instrument, library: Any, concentrations: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return absorbance (n_spectra, n_wavelengths)."""
        from nirs4all.synthesis import (
            COMPLEXITY_PARAMS,
            EdgeArtifactsConfig,
            EMSCConfig,
            EnvironmentalEffectsConfig,
            ParticleSizeConfig,
            ParticleSizeDistribution,
            ScatteringEffectsConfig,
            SyntheticNIRSGenerator,
            TemperatureConfig,
        )

        usual = COMPLEXITY_PARAMS["realistic"]
        nuisances = {key: usual[key] * self._strength[group] for group, keys in _NUISANCES.items() for key in keys}
        nuisances |= {
            "instrumental_fwhm": instrument.resolution,
            "shift_std": 0.2 * instrument.accuracy,
            "stretch_std": 1e-5,
            "noise_base": 0.0,
            "noise_signal_dep": 0.0,
            "artifact_prob": 0.0,
        }
        scattering = None
        if self.particle_size is not None:
            sizes = ParticleSizeDistribution(mean_size_um=self.particle_size, std_size_um=0.2 * self.particle_size)
            scatter = 0.05 * self._strength["scatter"]
            scattering = ScatteringEffectsConfig(
                particle_size=ParticleSizeConfig(distribution=sizes, size_effect_strength=0.1),
                emsc=EMSCConfig(multiplicative_scatter_std=min(scatter, 0.2), additive_scatter_std=min(scatter, 0.1)),
            )
        simulator = SyntheticNIRSGenerator(
            wavelengths=instrument.true_wavelengths,
            component_library=library,
            measurement_mode=instrument.mode,
            environmental_config=EnvironmentalEffectsConfig(
                temperature=TemperatureConfig(sample_temperature=self.temperature, temperature_variation=self._spread),
                enable_moisture=False,
            ),
            scattering_effects_config=scattering,
            edge_artifacts_config=EdgeArtifactsConfig() if self._edges else None,
            custom_params=nuisances,
            random_state=self._seed,
        )
        with np.errstate(over="ignore"):  # logistic edges of the temperature operator
            absorbance, _ = simulator.generate_from_concentrations(
                concentrations, include_batch_effects=self._batches > 1, n_batches=self._batches
            )
        noise = self._strength["noise"] * instrument.noise(absorbance, self._seed)
        return np.clip(absorbance + noise, -0.5, 5.0)


#: Parameters of the generator that share a random strength.
_NUISANCES: dict[str, tuple[str, ...]] = {
    "noise": (),
    "baseline": ("baseline_amplitude", "tilt_std", "global_slope_std", "scatter_beta_std"),
    "scatter": ("path_length_std", "scatter_alpha_std"),
}
