"""Fitting an embedding to what must not matter: baselines that drift, path lengths that vary, wavelengths that are off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..spectra.data import Spectra, spread_rows, take_rows

#: Spectra that are disturbed, at most; the directions that they move in are few and shared by a material.
_MAX_SPECTRA = 40
#: Drift and scatter as a share of a spectrum's own deviation and size, shift in nm; drift is a cubic.
_DRIFT, _SCATTER, _SHIFT, _DRIFT_DEGREE = 0.05, 0.05, 1.0, 3
#: How much a disturbance weighs against the variance between the calibration spectra. Errors of disturbed spectra fall up to
#: here and hardly further, those of undisturbed ones begin to rise beyond (research log, section 15).
_STRENGTH = 100.0
#: Directions that lose less than this share of their length are left alone.
_NEGLIGIBLE = 0.02
#: Rows at a time; they are summed one by one, so that a row's numbers do not depend on its company.
_ROWS = 256


@dataclass(frozen=True)
class GLSW:
    """Directions of an embedding that lose weight.

    Attributes
    ----------
    directions : ndarray of shape (n_directions, n_columns), float32
        Orthonormal.
    loss : ndarray of shape (n_directions,), float32
        Share of their length that is taken away.
    gain : float
        Factor of what is left: the calibration spectra vary as much as before, and the penalties that suit a ridge stay.
    """

    directions: NDArray[np.float32]
    loss: NDArray[np.float32]
    gain: float = 1.0

    def apply(self, embedded: NDArray[Any]) -> None:
        """Take it from rows (n, n_columns), in place."""
        for start in range(0, len(embedded) if len(self.loss) else 0, _ROWS):
            rows = embedded[start : start + _ROWS]
            scores = np.einsum("ij,kj->ik", rows, self.directions) * self.loss
            for k, direction in enumerate(self.directions):
                rows -= scores[:, k, None] * direction
            rows *= self.gain


def fit_glsw(
    blocks: Sequence[Spectra], embed: Callable[[list[Spectra]], NDArray[np.float32]], embedded: NDArray[np.float32]
) -> GLSW:
    """Return the directions in which an embedding follows drift, scatter and shift of a material's spectra.

    The covariance of what disturbances do to the embedding is added to the identity, and the embedding multiplied by
    the inverse root of the sum: generalised least squares weighting, in the embedding instead of the spectra. `blocks`
    are the calibration spectra, a 1-D grid per block, and `embedded` (n_spectra, n_columns) what `embed` makes of them;
    there are no directions where they do not vary.
    """
    few = take_rows(blocks, spread_rows(sum(map(len, blocks)), _MAX_SPECTRA))
    n = sum(map(len, few))
    raised, lowered = (
        embed([view for block in few for view in _disturbed(block, sign)]).astype(np.float64) for sign in (1.0, -1.0)
    )
    moved = (raised - lowered) / 2.0
    variance = float(embedded.var(axis=0, dtype=np.float64).sum())
    squares, mixed = np.linalg.eigh(moved @ moved.T)
    weight = _STRENGTH * np.clip(squares, 0.0, None) / n / variance if variance > 0 else np.zeros_like(squares)
    loss = 1.0 - 1.0 / np.sqrt(1.0 + weight)
    index = np.flatnonzero(loss > _NEGLIGIBLE)
    directions = ((mixed[:, index] / np.sqrt(squares[index])).T @ moved).astype(np.float32)
    lost = float(((1.0 - (1.0 - loss[index]) ** 2) * (embedded @ directions.T).var(axis=0, dtype=np.float64)).sum())
    gain = (variance / max(variance - lost, 1e-6 * variance)) ** 0.5 if len(index) else 1.0
    return GLSW(directions, loss[index].astype(np.float32), gain)


def _disturbed(block: Spectra, sign: float) -> Iterator[Spectra]:
    """Yield a block on one grid with each disturbance, upwards or downwards."""
    values, nm = block.values.astype(np.float64), block.wavelengths
    middle, half = (nm[0] + nm[-1]) / 2.0, (nm[-1] - nm[0]) / 2.0 or 1.0
    shapes = np.polynomial.legendre.legvander((nm - middle) / half, _DRIFT_DEGREE).T
    for shape in shapes / np.sqrt(np.square(shapes).mean(axis=1, keepdims=True)).clip(1e-12):
        yield _like(block, values + sign * _DRIFT * values.std(axis=1, keepdims=True) * shape)
    yield _like(block, values * (1.0 + _SCATTER) ** sign)
    yield _like(block, np.stack([np.interp(nm + sign * _SHIFT, nm, row) for row in values]))


def _like(block: Spectra, values: NDArray[np.float64]) -> Spectra:
    return replace(block, values=values.astype(block.values.dtype))
