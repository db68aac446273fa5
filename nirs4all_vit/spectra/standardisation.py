"""Spectra of a second instrument as the first would have measured them, from samples measured on both."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ..errors import SpectralInputError, needed_by
from .alignment import Alignment
from .data import Spectra, to_nanometres
from .signal import check_values

METHODS = ("ds", "pds", "sst")


class InstrumentStandardiser(TransformerMixin, BaseEstimator):
    """Turn spectra of a second instrument into spectra of the first, by transfer standards measured on both.

    Direct standardisation (DS), piecewise direct standardisation (PDS) [1]_ and spectral space transformation (SST) [2]_ of chemotools,
    on the axis of the first instrument. The result goes into whatever was calibrated there.

    Parameters
    ----------
    method : {"pds", "ds", "sst"}, default="pds"
    window_length : int, default=5
        Points of the second instrument that predict one of the first, for PDS; a quarter of the axis at most.
    n_components : int or None, default=None
        Components of the regressions of PDS (2 by default) or of SST (4); at most one less than there are standards.
    wavelengths, source_wavelengths : array-like of shape (n_wavelengths,), default=None
        Axes of the second and of the first instrument, in nm, cm-1 or um by their range. None where both have the same.

    Attributes
    ----------
    wavelengths_ : ndarray of shape (n_wavelengths,), float64, or None
        Axis of the spectra that `transform` returns, in nm, ascending; None where none was given.

    References
    ----------
    .. [1] Wang, Y. et al. (1991). Multivariate instrument standardization. Analytical Chemistry 63.
    .. [2] Du, W. et al. (2011). Maintaining the predictive abilities of multivariate calibration models by spectral space
       transformation. Analytica Chimica Acta 690.

    Examples
    --------
    >>> standardiser = InstrumentStandardiser(wavelengths=nm_b, source_wavelengths=nm_a)  # doctest: +SKIP
    >>> standardiser.fit(standards_b, X_source=standards_a)  # doctest: +SKIP
    >>> model.predict(standardiser.transform(X_b))  # doctest: +SKIP
    """

    def __init__(
        self,
        method: str = "pds",
        *,
        window_length: int = 5,
        n_components: int | None = None,
        wavelengths: Any = None,
        source_wavelengths: Any = None,
    ) -> None:
        self.method = method
        self.window_length = window_length
        self.n_components = n_components
        self.wavelengths = wavelengths
        self.source_wavelengths = source_wavelengths

    def fit(self, X: Any, y: Any = None, *, X_source: Any) -> Self:  # noqa: ARG002
        """Learn how the instruments differ.

        Parameters
        ----------
        X : array-like of shape (n_standards, n_wavelengths)
            Transfer standards on the second instrument.
        y : ignored
        X_source : array-like of shape (n_standards, n_source_wavelengths)
            The same samples, row by row, on the first.

        Raises
        ------
        ValueError
            An unknown method, or fewer than two standards.
        SpectralInputError
            Different numbers of standards.
        MissingPackageError
            chemotools is not installed.
        """
        if self.method not in METHODS:
            raise ValueError(f"method={self.method!r} is not known; use one of {', '.join(METHODS)}.")
        source = self._spectra(X_source, self.source_wavelengths)
        if len(source) != len(X):
            raise SpectralInputError(f"{len(X)} standards on the second instrument, {len(source)} on the first.")
        if len(source) < 2:
            raise ValueError(f"{len(source)} standard is too few; give two or more.")
        self._alignment, _ = Alignment.fit([source])
        self.wavelengths_ = None if self.source_wavelengths is None else self._alignment.wavelengths
        self._step = self._chosen(len(source), source.values.shape[1])
        self._step.fit(self._aligned(X), X_source=source.values)
        return self

    def transform(self, X: Any) -> NDArray[np.float64]:
        """Return spectra as the first instrument would have measured them, (n_samples, n_source_wavelengths)."""
        check_is_fitted(self, "_alignment")
        return np.asarray(self._step.transform(self._aligned(X)))

    def _chosen(self, n_standards: int, n_wavelengths: int) -> Any:
        with needed_by("instrument standardisation", "nirs4all-vit[transfer]"):
            from chemotools.adaptation import (
                DirectStandardization,
                PiecewiseDirectStandardization,
                SpectralSpaceTransform,
            )
        if self.method == "ds":
            return DirectStandardization()
        n_components = min(self.n_components or {"pds": 2, "sst": 4}[self.method], n_standards - 1)
        if self.method == "sst":
            return SpectralSpaceTransform(n_components=n_components)
        window = max(1, min(self.window_length, n_wavelengths // 4))
        return PiecewiseDirectStandardization(window_length=window, n_components=n_components, scale=False)

    def _spectra(self, X: Any, axis: Any) -> Spectra:
        values = np.asarray(X, dtype=np.float64)
        if values.ndim != 2:
            raise SpectralInputError(f"X must be 2-D (spectra x wavelengths), got shape {values.shape}.")
        nm = np.arange(1.0, values.shape[1] + 1.0) if axis is None else to_nanometres(axis)
        spectra = Spectra.on_grid(values, nm)
        check_values(spectra.values, spectra.wavelengths)
        return spectra

    def _aligned(self, X: Any) -> NDArray[np.float64]:
        axis = self.source_wavelengths if self.wavelengths is None else self.wavelengths
        return self._alignment.align([self._spectra(X, axis)])[0].values
