"""Block masking as a nirs4all operator."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from nirs4all.operators.base import SpectraTransformerMixin
from numpy.typing import NDArray

from ..fitting import all_or_nothing
from ..pretraining.augmentation import block_mask, check_bounds
from ..pretraining.data.batch import Draw
from ..spectra.data import assumed_wavelengths


class MAEBlockMasker(SpectraTransformerMixin):
    """Mask a share of each spectrum in contiguous blocks, as in masked spectral modelling.

    The operator works in nirs4all's ``sample_augmentation`` or on its own.

    Parameters
    ----------
    mask_ratio : float or (float, float), default=0.7
        Masked share of the range, to within half a block. Two values are bounds of a share drawn per spectrum.
    min_block_size, max_block_size : int, default=5 and 50
        Bounds of the block width in points, drawn log-uniformly per spectrum and capped at a sixth of the range.
    block : (float, float), optional
        Bounds of the block width in nm, in place of those in points, so that masks do not depend on grid spacing.
    fill : {"mean", "zero", "nan"}, default="mean"
        Value of masked points; ``"mean"`` is the mean of the spectrum's visible points.
    random_state : int, optional
        Seed of the draws, reset by `fit`.

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
        mask_ratio: float | tuple[float, float] = 0.7,
        min_block_size: int = 5,
        max_block_size: int = 50,
        *,
        block: tuple[float, float] | None = None,
        fill: str = "mean",
        random_state: int | None = None,
    ) -> None:
        self.mask_ratio = mask_ratio
        self.min_block_size = min_block_size
        self.max_block_size = max_block_size
        self.block = block
        self.fill = fill
        self.random_state = random_state

    @all_or_nothing
    def fit(self, X: NDArray[Any], y: Any = None, **kwargs: Any) -> MAEBlockMasker:
        """Check the parameters, reset the seed and store the wavelengths, if given."""
        if self.fill not in ("mean", "zero", "nan"):
            raise ValueError(f"fill={self.fill!r}; use 'mean', 'zero' or 'nan'.")
        check_bounds(self._ratio(), self._block(np.arange(2.0)))
        self._seeds = np.random.default_rng(self.random_state)
        super().fit(X, y, **kwargs)
        return self

    def _transform_impl(self, X: NDArray[Any], wavelengths: NDArray[Any] | None) -> NDArray[Any]:
        X = np.asarray(X)
        axis = assumed_wavelengths(X.shape[1]) if wavelengths is None else np.asarray(wavelengths, dtype=np.float64)
        order = np.argsort(axis)
        seeds = getattr(self, "_seeds", None) or np.random.default_rng(self.random_state)
        draw = Draw.seeded(int(seeds.integers(2**62)))
        mask = block_mask(
            torch.from_numpy(axis[order].copy()), len(X), draw, self._ratio(), self._block(axis[order])
        ).numpy()
        self.mask_ = np.empty_like(mask)
        self.mask_[:, order] = mask
        visible = np.maximum((~self.mask_).sum(axis=1, keepdims=True), 1)
        fills = {
            "mean": np.where(self.mask_, 0, X).sum(axis=1, keepdims=True) / visible,
            "zero": np.zeros((len(X), 1)),
            "nan": np.full((len(X), 1), np.nan),
        }
        return np.where(self.mask_, fills[self.fill], X).astype(np.result_type(X.dtype, np.float32))

    def _ratio(self) -> tuple[float, float]:
        low, high = (
            self.mask_ratio if isinstance(self.mask_ratio, (tuple, list)) else (self.mask_ratio, self.mask_ratio)
        )
        return low, high

    def _block(self, axis: NDArray[Any]) -> tuple[float, float]:
        """Return bounds of the block width in nm, on an ascending axis."""
        if self.block is not None:
            return self.block
        step = float(np.median(np.diff(axis))) if len(axis) > 1 else 1.0
        return self.min_block_size * step, self.max_block_size * step
