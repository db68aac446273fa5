"""A spectrometer that differs from the one that measured a spectrum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

#: Standard deviations of the wavelength error, in nm: constant, linear and quadratic over the range.
_WAVELENGTH_ERROR = (2.0, 1.0, 0.7)
#: Range of the additional spectral broadening, in nm (standard deviation of a Gaussian).
_BROADENING = (0.5, 10.0)
#: Cosines of the response, the slowest first, and the range of its size, as a share of the standard
#: deviation of a spectrum over its wavelengths.
_N_COSINES, _RESPONSE = 7, (0.01, 0.2)
#: Range of the stray light, as a share of the incident light, and standard deviation of the logarithm of
#: the path length.
_STRAY_LIGHT, _PATH_LENGTH = (1e-4, 0.02), 0.1


@dataclass(frozen=True)
class SimulatedInstrument:
    """Wavelength error, broadening, response, stray light and path length of a spectrometer.

    Attributes
    ----------
    wavelength_error : ndarray of shape (3,)
        Constant, linear and quadratic error over the range, in nm.
    broadening : float
        Standard deviation of the additional line broadening, in nm.
    response : ndarray of shape (7,)
        Coefficients of cosines over the range, as a share of the contrast of the spectra.
    stray_light : float
        Share of the incident light.
    path_length : float
        Factor on the absorbance.
    """

    wavelength_error: NDArray[np.float64]
    broadening: float
    response: NDArray[np.float64]
    stray_light: float
    path_length: float

    @classmethod
    def draw(cls, generator: np.random.Generator) -> Self:
        """Draw an instrument."""
        return cls(
            np.array(_WAVELENGTH_ERROR) * generator.normal(size=3),
            _log_uniform(generator, *_BROADENING),
            generator.normal(size=_N_COSINES) / (1.0 + np.arange(_N_COSINES)) * _log_uniform(generator, *_RESPONSE),
            _log_uniform(generator, *_STRAY_LIGHT),
            float(np.exp(_PATH_LENGTH * generator.normal())),
        )

    def measure(self, spectra: NDArray[Any], nm: NDArray[np.float64], contrast: float) -> NDArray[np.float64]:
        """Return spectra as this instrument would measure them, without noise.

        Parameters
        ----------
        spectra : ndarray of shape (n_spectra, n_wavelengths)
            Absorbance. Other signals are treated as if they were absorbance.
        nm : ndarray of shape (n_wavelengths,)
            Wavelengths in nm, ascending.
        contrast : float
            Typical standard deviation of a spectrum over its wavelengths, the unit of the response.

        Returns
        -------
        ndarray of shape (n_spectra, n_wavelengths)
        """
        place = (nm - nm[0]) / max(nm[-1] - nm[0], 1e-9)
        error = np.polynomial.polynomial.polyval(2.0 * place - 1.0, self.wavelength_error)
        values = np.stack([np.interp(nm + error, nm, row) for row in np.asarray(spectra, dtype=np.float64)])
        if len(nm) > 1:
            step = float(np.median(np.diff(nm)))
            values = gaussian_filter1d(values, self.broadening / step, axis=1, mode="nearest")
        transmitted = 10.0 ** -np.clip(values * self.path_length, -2.0, 6.0)
        response = self.response @ np.cos(np.pi * np.arange(len(self.response))[:, np.newaxis] * place)
        stray = self.stray_light
        return -np.log10((transmitted + stray) / (1.0 + stray)) + contrast * response


def _log_uniform(generator: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(generator.uniform(np.log(low), np.log(high))))
