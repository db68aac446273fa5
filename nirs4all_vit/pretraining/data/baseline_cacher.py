"""AsLS correction as a nirs4all operator with a disk cache."""

from __future__ import annotations

import hashlib
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from ...files import atomic_path, read_checked, write_checksum
from .asls import LAM, P, asls_baseline


class BaselineCacher(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Subtract or return the AsLS baseline, with a disk cache of blocks of spectra.

    Parameters
    ----------
    lam : float, default=1e6
        Smoothness.
    p : float, default=0.01
        Asymmetry, between 0 and 1.
    output : {"corrected", "baseline"}, default="corrected"
        Whether `transform` returns corrected spectra or baselines.
    cache : path, optional
        Folder of ``.npy`` files, one per array passed to `transform`. By default nothing is cached.

    Attributes
    ----------
    n_features_in_ : int
        Number of wavelengths.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "lam": [Interval(Real, 0, 1e12, closed="right")],
        "p": [Interval(Real, 0, 1, closed="neither")],
        "output": [StrOptions({"corrected", "baseline"})],
        "cache": [str, Path, None],
    }

    def __init__(self, lam: float = LAM, p: float = P, output: str = "corrected", cache: Any = None) -> None:
        self.lam = lam
        self.p = p
        self.output = output
        self.cache = cache

    def fit(self, X: ArrayLike, y: Any = None) -> BaselineCacher:  # noqa: ARG002
        """Validate parameters and spectra; nothing is estimated.

        Parameters
        ----------
        X : array-like of shape (n_spectra, n_wavelengths)
            Absorbance.
        y : ignored

        Returns
        -------
        BaselineCacher
        """
        self._validate_params()
        validate_data(self, X, dtype=[np.float64, np.float32])
        self._fitted = True
        return self

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """Return the corrected spectra or their baselines, (n_spectra, n_wavelengths), float64."""
        check_is_fitted(self)
        values: NDArray[Any] = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        baseline = self._baseline(np.ascontiguousarray(values, dtype=np.float64))
        return baseline if self.output == "baseline" else values - baseline

    def _baseline(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.cache is None:
            return asls_baseline(X, self.lam, self.p)
        key = hashlib.sha256(f"{X.shape}:{float(self.lam)!r}:{float(self.p)!r}".encode())
        key.update(X.data)
        path = Path(self.cache) / f"{key.hexdigest()}.npy"
        cached = read_checked(path)
        if cached is not None and cached.shape == X.shape and cached.dtype == X.dtype:
            return np.array(cached)
        baseline = asls_baseline(X, self.lam, self.p)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as target:
            np.save(target, baseline)
        write_checksum(path)
        return baseline

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_fitted")
