"""Real spectra with simulated components, in paired views of simulated instruments."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import savgol_filter

from ...embedding.simulated_instrument import SimulatedInstrument
from .dataset import SpectralDataset
from .generated import GeneratedDataset

#: Range of the number of components, and of the share of the variance between spectra that they add
#: (both ends; logarithmic).
_N_COMPONENTS, _STRENGTH = (2, 5), (0.05, 0.7)
#: Largest correlation of a concentration with the variation of the background.
_CORRELATION = 0.8
#: Standard deviation of gain and offset between two scans of a sample: a share of 1, and of the
#: deviation between samples.
_RESCAN = (0.005, 0.05)
_MIN_POINTS = 60
#: Metadata of the real spectra that no view keeps, and those that another instrument does not.
_OF_THE_AXIS = ("spectral_start", "spectral_stop", "spectral_range", "spectral_step")
_OF_THE_INSTRUMENT = ("instrument", "manufacturer", "instrument_type")


class HybridSpectralDataset(GeneratedDataset):
    """Mixtures of real spectra of one dataset with simulated components, generated on first access.

    A spectrum is the mean, with random weights, of two real spectra, plus components from the
    library of nirs4all in random concentrations. Concentrations may correlate with the variation of
    the real spectra. Mixing averages the noise of the real spectra; the missing part is added, at
    the level that is measured between neighbouring wavelengths. The first view is on the grid of
    the real spectra.

    Parameters
    ----------
    background : SpectralDataset
        Real spectra, at least two.
    index : int
        Number of the dataset; each has its own components and instrument.
    n_spectra : int, default=256
        Number of spectra.
    seed : int, default=0
        Seed; with `index` and `view` it determines all random numbers.
    view : int, default=0
        Number of the view. Views have the same samples, row by row. Odd views are measured by a
        simulated instrument on part of the range and on another grid, even views are further scans
        by the first instrument.

    Raises
    ------
    ValueError
        Fewer than two spectra are asked for, or the background has fewer than two.

    See Also
    --------
    synthetic_bank : List of synthetic datasets.
    """

    def __init__(
        self, background: SpectralDataset, index: int, n_spectra: int = 256, seed: int = 0, view: int = 0
    ) -> None:
        if n_spectra < 2 or len(background) < 2:
            raise ValueError(f"n_spectra={n_spectra} and {background.name} with {len(background)}: both need 2.")
        self.background, self.index, self.n_spectra, self.seed, self.view = background, index, n_spectra, seed, view
        self.baseline, self.owner = None, None
        name = f"hybrid-{seed}-{index}-{background.name}" + (f"-view{view}" if view else "")
        axis = self._axis()
        self._set_axis(name, axis, self._describe(axis))

    @cached_property
    def values(self) -> NDArray[np.float32]:
        """Absorbance, (n_spectra, n_wavelengths), float32."""
        nm, generator = self.background.wavelengths, self._generator(3, self.view)
        X, shares = self._mixed
        X = X + self._added
        if self.view:
            gain, offset = (size * generator.normal(size=(len(X), 1)) for size in _RESCAN)
            X = X * (1.0 + gain) + offset * self.background.deviation
        if self.view % 2:
            contrast = float(np.median(X.std(axis=1)))
            X = SimulatedInstrument.draw(self._generator(2, self.view)).measure(X, nm, contrast)
        # A further scan has its own noise; of the first one, mixing has left a part.
        rest = np.ones((len(X), 1)) if self.view else np.sqrt(1.0 - np.square(shares).sum(axis=1, keepdims=True))
        X = X + rest * self._noise * generator.normal(size=X.shape)
        if self.view % 2:
            X = np.stack([np.interp(self.wavelengths, nm, row) for row in X])
        return X.astype(np.float32)

    @cached_property
    def concentrations(self) -> dict[str, NDArray[np.float64]]:
        """Concentrations (n_spectra,) by component, standardised; not used in pretraining."""
        return dict(zip(self._components, self._amounts.T, strict=True))

    def _of_view(self, view: int) -> HybridSpectralDataset:
        return HybridSpectralDataset(self.background, self.index, self.n_spectra, self.seed, view)

    @cached_property
    def _components(self) -> list[str]:
        from nirs4all.synthesis import available_components

        generator = self._generator(0, 0)
        number = generator.integers(_N_COMPONENTS[0], _N_COMPONENTS[1] + 1)
        return [str(c) for c in generator.choice(sorted(available_components()), number, replace=False)]

    @cached_property
    def _mixed(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Means of two real spectra each (n_spectra, n_wavelengths), and their weights (n_spectra, 2)."""
        generator = self._generator(0, 1)
        rows = np.stack([generator.permutation(len(self.background))[:2] for _ in range(self.n_spectra)])
        first = generator.uniform(0.5, 1.0, self.n_spectra)
        shares = np.stack([first, 1.0 - first], axis=1)
        used, place = np.unique(rows, return_inverse=True)
        real = self.background.absorbance(used).astype(np.float64)[place.reshape(rows.shape)]
        return np.einsum("nk,nkl->nl", shares, real), shares

    @cached_property
    def _amounts(self) -> NDArray[np.float64]:
        """Concentrations (n_spectra, n_components), standardised."""
        generator, (X, _) = self._generator(0, 2), self._mixed
        variation = X - X.mean(axis=0)
        amounts = []
        for _ in self._components:
            # A random direction among the spectra themselves: their larger variations count more.
            score = variation @ (variation.T @ generator.normal(size=len(X)))
            own = generator.normal(size=len(X)) * np.exp(generator.normal(0.0, 0.3))
            r = generator.uniform(-_CORRELATION, _CORRELATION)
            amounts.append(r * _standardised(score) + np.sqrt(1 - r**2) * _standardised(own))
        return _standardised(np.stack(amounts, axis=1))

    @cached_property
    def _added(self) -> NDArray[np.float64]:
        """Absorbance of the components (n_spectra, n_wavelengths), centred."""
        from nirs4all.synthesis import ComponentLibrary

        generator = self._generator(0, 3)
        library = ComponentLibrary.from_predefined(self._components, random_state=int(generator.integers(2**31)))
        bands = np.asarray(library.compute_all(self.background.wavelengths), dtype=np.float64)
        bands = bands / np.maximum(bands.std(axis=1, keepdims=True), 1e-12)
        weights = generator.dirichlet(np.ones(len(bands)))
        added = (self._amounts * weights) @ bands
        strength = np.exp(generator.uniform(*np.log(_STRENGTH)))
        spread = float(np.sqrt(added.var(axis=0).mean()))
        return added * (strength * self.background.deviation / max(spread, 1e-12))

    @cached_property
    def _noise(self) -> NDArray[np.float64]:
        """Standard deviation of the noise of the real spectra at each wavelength, (n_wavelengths,)."""
        X = self.background.absorbance(self.background.survey()).astype(np.float64)
        if X.shape[1] < 7:
            return np.zeros(X.shape[1])
        # A cubic through seven points leaves a part 1 - 1/3 of the variance of white noise.
        left = X - savgol_filter(X, 7, 3, axis=1)
        return np.median(np.abs(left), axis=0) * (1.4826 / np.sqrt(1 - 1 / 3))

    def _axis(self) -> NDArray[np.float64]:
        nm = self.background.wavelengths
        if self.view % 2 == 0:
            return nm
        generator = self._generator(1, self.view)
        width = max(int(nm.size * generator.uniform(0.6, 1.0)), min(_MIN_POINTS, nm.size))
        first = int(generator.integers(0, nm.size - width + 1))
        n_points = max(int(width / generator.uniform(1.0, 3.0)), min(_MIN_POINTS, width))
        return np.linspace(nm[first], nm[first + width - 1], n_points)

    def _describe(self, axis: NDArray[np.float64]) -> dict[str, Any]:
        about = {key: value for key, value in self.background.metadata.source.items() if key not in _OF_THE_AXIS}
        if self.view % 2:
            about = {key: value for key, value in about.items() if key not in _OF_THE_INSTRUMENT}
        return about | {
            "family": "synthetic",
            "mode": "absorbance",
            "spectral_range": [float(axis[0]), float(axis[-1])],
            "spectral_step": float(np.median(np.diff(axis))),
        }


def _standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-12)


def hybrid_bank(
    backgrounds: Sequence[SpectralDataset], n_datasets: int = 64, n_spectra: int = 256, seed: int = 0
) -> list[HybridSpectralDataset]:
    """Return datasets that mix real spectra with simulated components.

    Parameters
    ----------
    backgrounds : sequence of SpectralDataset
        Real datasets of at least two spectra; families are used equally often.
    n_datasets : int, default=64
        Number of datasets.
    n_spectra : int, default=256
        Spectra per dataset.
    seed : int, default=0
        Seed of all datasets.

    Returns
    -------
    list of HybridSpectralDataset
        Spectra are generated on first access.

    Raises
    ------
    ValueError
        No background has two spectra.
    """
    families: dict[str, list[SpectralDataset]] = {}
    for dataset in backgrounds:
        if len(dataset) >= 2:
            families.setdefault(dataset.family, []).append(dataset)
    if not families:
        raise ValueError("hybrid_bank needs real datasets with at least two spectra.")
    generator = np.random.default_rng(seed)
    names = sorted(families)
    order = [names[i] for _ in range(-(-n_datasets // len(names))) for i in generator.permutation(len(names))]
    chosen = [families[name][generator.integers(len(families[name]))] for name in order[:n_datasets]]
    return [HybridSpectralDataset(dataset, index, n_spectra, seed) for index, dataset in enumerate(chosen)]
