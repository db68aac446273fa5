"""Block masking as a nirs4all operator."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from nirs4all.operators.base import SpectraTransformerMixin
from numpy.typing import NDArray

from ...spectra.data import assumed_wavelengths
from ..draw import Draw
from .masking import block_mask, check_bounds


class MAEBlockMasker(SpectraTransformerMixin):
    """Mask 60 to 80 % of each spectrum, to within half a block, in contiguous blocks of nanometres.

    The corruption of masked spectral modelling, for nirs4all's ``sample_augmentation`` or on its own.

    Parameters
    ----------
    ratio : (float, float), default=(0.6, 0.8)
        Bounds of the masked share of the range, drawn per spectrum.
    block : (float, float), default=(15, 150)
        Bounds of the block width in nm.
    fill : {"mean", "zero", "nan"}, default="mean"
        What masked points become; the mean is that of the spectrum's visible points.
    random_state : int, optional
        Seed of the draws after a fit.

    Attributes
    ----------
    mask_ : ndarray of bool, shape (n_spectra, n_wavelengths)
        The mask of the last transform, True where masked.

    Notes
    -----
    Without wavelengths, an even grid from 1,000 to 2,500 nm is assumed.
    """

    _requires_wavelengths = "optional"

    def __init__(
        self,
        ratio: tuple[float, float] = (0.6, 0.8),
        block: tuple[float, float] = (15.0, 150.0),
        fill: str = "mean",
        random_state: int | None = None,
    ) -> None:
        self.ratio = ratio
        self.block = block
        self.fill = fill
        self.random_state = random_state

    def fit(self, X: NDArray[Any], y: Any = None, **kwargs: Any) -> MAEBlockMasker:
        """Take the seed, and the wavelengths if there are any."""
        if self.fill not in ("mean", "zero", "nan"):
            raise ValueError(f"fill={self.fill!r}; use 'mean', 'zero' or 'nan'.")
        check_bounds(self.ratio, self.block)
        self._seeds = np.random.default_rng(self.random_state)
        super().fit(X, y, **kwargs)
        return self

    def _transform_impl(self, X: NDArray[Any], wavelengths: NDArray[Any] | None) -> NDArray[Any]:
        X = np.asarray(X)
        axis = assumed_wavelengths(X.shape[1]) if wavelengths is None else np.asarray(wavelengths, dtype=np.float64)
        order = np.argsort(axis)
        seeds = getattr(self, "_seeds", None) or np.random.default_rng(self.random_state)
        draw = Draw.seeded(int(seeds.integers(2**62)))
        mask = block_mask(torch.from_numpy(axis[order].copy()), len(X), draw, self.ratio, self.block).numpy()
        self.mask_ = np.empty_like(mask)
        self.mask_[:, order] = mask
        visible = np.maximum((~self.mask_).sum(axis=1, keepdims=True), 1)
        fills = {
            "mean": np.where(self.mask_, 0, X).sum(axis=1, keepdims=True) / visible,
            "zero": np.zeros((len(X), 1)),
            "nan": np.full((len(X), 1), np.nan),
        }
        return np.where(self.mask_, fills[self.fill], X).astype(np.result_type(X.dtype, np.float32))
