"""Instrument standardisation with transfer standards measured on both instruments."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ..errors import SpectralAxisError, SpectralInputError, needed_by
from ..fitting import all_or_nothing
from .alignment import Alignment
from .data import Spectra
from .resolver import as_table, check_spectra, given_axis

METHODS = ("ds", "pds", "sst")


#: Largest share of the axis that may be imputed.
_MOST_FILLED = 0.5


class InstrumentStandardiser(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Map spectra of a second instrument to the first, with transfer standards measured on both.

    The methods are direct standardisation (DS), piecewise direct standardisation (PDS) [1]_ and
    spectral space transformation (SST) [2]_ of chemotools, on the axis of the first instrument.
    Models calibrated on the first instrument accept the result.

    Parameters
    ----------
    method : {"pds", "ds", "sst"}, default="pds"
        Method of standardisation.
    window_length : int, default=5
        Points of the second instrument that predict one point of the first, for PDS; a quarter of
        the axis at most.
    n_components : int or None, default=None
        Number of components of the regressions of PDS (None: 2) or of SST (None: 4); at most the
        number of standards minus one.
    wavelengths, source_wavelengths : array-like of shape (n_wavelengths,), default=None
        Axes of the second and of the first instrument, in nm, cm-1 or um (detected by range). None
        uses numeric column names. If only one axis is known, it serves for both instruments; if
        none is known, both instruments must have the same axis.

    Attributes
    ----------
    wavelengths_ : ndarray of shape (n_wavelengths,), float64, or None
        Axis of the spectra that `transform` returns, in nm, ascending; None if the axes are
        unknown.

    References
    ----------
    .. [1] Wang, Y. et al. (1991). Multivariate instrument standardization. Analytical Chemistry 63.
    .. [2] Du, W. et al. (2011). Maintaining the predictive abilities of multivariate calibration
       models by spectral space transformation. Analytica Chimica Acta 690.

    Examples
    --------
    >>> standardiser = InstrumentStandardiser(  # doctest: +SKIP
    ...     wavelengths=nm_b, source_wavelengths=nm_a
    ... )
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

    @all_or_nothing
    def fit(self, X: Any, y: Any = None, *, X_source: Any) -> Self:  # noqa: ARG002
        """Fit the transfer from the second instrument to the first.

        Parameters
        ----------
        X : array-like of shape (n_standards, n_wavelengths)
            Transfer standards on the second instrument.
        y : ignored
        X_source : array-like of shape (n_standards, n_source_wavelengths)
            The same samples, row by row, on the first instrument.

        Raises
        ------
        ValueError
            Unknown method, `n_components` below 1, or fewer than two standards.
        SpectralInputError
            Different numbers of standards, or invalid spectra.
        SpectralAxisError
            Invalid axes, or axes with too little overlap.
        MissingPackageError
            chemotools is not installed.
        """
        if self.method not in METHODS:
            raise ValueError(f"method={self.method!r} is not known; use one of {', '.join(METHODS)}.")
        if self.n_components is not None and self.n_components < 1:
            raise ValueError(f"n_components={self.n_components!r} must be a positive integer or None.")
        own, first = self._axis(X, self.wavelengths), self._axis(X_source, self.source_wavelengths)
        self._axes = own if own is not None else first, first if first is not None else own
        source = self._spectra(X_source, self._axes[1])
        if len(source) != len(X):
            raise SpectralInputError(f"{len(X)} standards on the second instrument, {len(source)} on the first.")
        if len(source) < 2:
            raise ValueError(f"{len(source)} standard is too few; give two or more.")
        self._alignment, (source,) = Alignment.fit([source])
        self.wavelengths_ = None if self._axes[1] is None else self._alignment.wavelengths
        self._n_features_out = source.wavelengths.size
        self._step = self._chosen(len(source), source.values.shape[1])
        self._step.fit(self._aligned(X), X_source=source.values)
        return self

    def transform(self, X: Any) -> NDArray[np.float64]:
        """Map spectra to the first instrument.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_wavelengths)
            Spectra of the second instrument.

        Returns
        -------
        ndarray of shape (n_samples, n_source_wavelengths), float64
            Spectra on the axis `wavelengths_`.

        Raises
        ------
        SpectralInputError
            Invalid spectra.
        SpectralAxisError
            More than half of the first instrument's axis would have to be imputed.
        """
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

    @staticmethod
    def _axis(X: Any, given: Any) -> NDArray[np.float64] | None:
        return given_axis((given,), getattr(X, "columns", None), "auto")

    @staticmethod
    def _spectra(X: Any, axis: NDArray[np.float64] | None) -> Spectra:
        values = as_table(X).astype(np.float64)
        nm = np.arange(1.0, values.shape[1] + 1.0) if axis is None else axis
        check_spectra(values, nm)
        return Spectra.on_grid(values, nm)

    def _aligned(self, X: Any) -> NDArray[np.float64]:
        axis = self._axis(X, self.wavelengths)
        spectra = self._spectra(X, self._axes[0] if axis is None else axis)
        aligned, filled = self._alignment.align([spectra])
        if filled.max() > _MOST_FILLED:
            fitted = self._alignment.wavelengths
            raise SpectralAxisError(
                f"row {int(np.argmax(filled))} covers {spectra.wavelengths[0]:g} to {spectra.wavelengths[-1]:g} nm, "
                f"the first instrument {fitted[0]:g} to {fitted[-1]:g} nm: {filled.max():.0%} of it would have to be "
                "filled in. Cut both to the range that they share."
            )
        return aligned.values
