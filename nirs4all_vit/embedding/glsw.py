"""Generalised least squares weighting (GLSW) against differences between instruments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..spectra.data import Spectra, spread_rows, take_rows
from .simulated_instrument import SimulatedInstrument

#: Maximum number of disturbed spectra; spectra of one material share the few directions of their response.
_MAX_SPECTRA = 40
#: Pairs of simulated instruments, and the weight of their mean squared difference relative to the variance
#: between calibration spectra. Higher weights increase errors on spectra of the same instrument (research
#: log, section 35).
N_PAIRS, STRENGTH = 16, 100.0
#: Drift (share of a spectrum's standard deviation), scatter (share of its size), shift (nm), degree of the
#: drift, and the weight of each of these disturbances (research log, section 15).
_DRIFT, _SCATTER, _SHIFT, _DRIFT_DEGREE, _DISTURBANCE_STRENGTH = 0.05, 0.05, 1.0, 3, 100.0
#: Maximum number of directions; they are stored in the model and take time in `apply`.
_MAX_DIRECTIONS = 128
#: Directions with a smaller loss are ignored.
_NEGLIGIBLE = 0.02
#: Block size in rows. Rows are summed one by one, so that results do not depend on the other rows.
_ROWS = 256


@dataclass(frozen=True)
class GLSW:
    """Down-weighted directions of an embedding.

    Attributes
    ----------
    directions : ndarray of shape (n_directions, n_columns), float32
        Orthonormal directions.
    loss : ndarray of shape (n_directions,), float32
        Share removed from the component along each direction.
    gain : float
        Factor applied afterwards. It restores the total variance of the calibration spectra, so that suitable ridge
        penalties stay the same.
    """

    directions: NDArray[np.float32]
    loss: NDArray[np.float32]
    gain: float = 1.0

    def apply(self, embedded: NDArray[Any]) -> None:
        """Down-weight the directions in rows (n, n_columns), in place."""
        for start in range(0, len(embedded) if len(self.loss) else 0, _ROWS):
            rows = embedded[start : start + _ROWS]
            scores = np.einsum("ij,kj->ik", rows, self.directions) * self.loss
            for k, direction in enumerate(self.directions):
                rows -= scores[:, k, None] * direction
            rows *= self.gain


def fit_glsw(
    blocks: Sequence[Spectra], embed: Callable[[list[Spectra]], NDArray[np.float32]], embedded: NDArray[np.float32]
) -> GLSW:
    """Estimate the directions in which the embedding of a material differs between instruments.

    The calibration spectra are disturbed (drift, scatter, wavelength shift), and measured on pairs of
    simulated instruments. The covariance of the differences between the embeddings is added to the
    identity, and the embedding is multiplied by the inverse square root of the sum. This is generalised
    least squares weighting, applied to the embedding instead of the spectra. `blocks` are the calibration
    spectra, with one 1-D grid each, and `embedded` (n_spectra, n_columns) is their result of `embed`. If
    the embeddings are constant, there are no directions.
    """
    few = take_rows(blocks, spread_rows(sum(map(len, blocks)), _MAX_SPECTRA))
    n = sum(map(len, few))
    generator = np.random.default_rng(0)
    pairs = [[SimulatedInstrument.draw(generator) for _ in range(2)] for _ in range(N_PAIRS)]
    contrast = _typical_contrast(few)
    first, second = (
        embed(
            [view for block in few for view in _disturbed(block, sign)]
            + [_measured(block, pair[k], contrast) for pair in pairs for block in few]
        )
        for k, sign in enumerate((1.0, -1.0))
    )
    moved = (first.astype(np.float64) - second) / 2.0
    weights = np.full(len(moved), STRENGTH / (n * N_PAIRS))
    weights[: -n * N_PAIRS] = _DISTURBANCE_STRENGTH / n
    moved *= np.sqrt(weights)[:, np.newaxis]
    variance = float(embedded.var(axis=0, dtype=np.float64).sum())
    squares, mixed = np.linalg.eigh(moved @ moved.T)
    weight = np.clip(squares, 0.0, None) / variance if variance > 0 else np.zeros_like(squares)
    loss = 1.0 - 1.0 / np.sqrt(1.0 + weight)
    index = np.flatnonzero(loss > _NEGLIGIBLE)[-_MAX_DIRECTIONS:]
    directions = ((mixed[:, index] / np.sqrt(squares[index])).T @ moved).astype(np.float32)
    lost = float(((1.0 - (1.0 - loss[index]) ** 2) * (embedded @ directions.T).var(axis=0, dtype=np.float64)).sum())
    gain = (variance / max(variance - lost, 1e-6 * variance)) ** 0.5 if len(index) else 1.0
    return GLSW(directions, loss[index].astype(np.float32), gain)


def _typical_contrast(blocks: Sequence[Spectra]) -> float:
    """Return the standard deviation of a spectrum over its wavelengths, averaged over spectra."""
    return float(np.concatenate([block.values.std(axis=1, dtype=np.float64) for block in blocks]).mean())


def _measured(block: Spectra, instrument: SimulatedInstrument, contrast: float) -> Spectra:
    return _like(block, instrument.measure(block.values, block.wavelengths, contrast))


def _disturbed(block: Spectra, sign: float) -> Iterator[Spectra]:
    """Yield a block on one grid with each disturbance, with positive or negative sign."""
    values, nm = block.values.astype(np.float64), block.wavelengths
    middle, half = (nm[0] + nm[-1]) / 2.0, (nm[-1] - nm[0]) / 2.0 or 1.0
    shapes = np.polynomial.legendre.legvander((nm - middle) / half, _DRIFT_DEGREE).T
    for shape in shapes / np.sqrt(np.square(shapes).mean(axis=1, keepdims=True)).clip(1e-12):
        yield _like(block, values + sign * _DRIFT * values.std(axis=1, keepdims=True) * shape)
    yield _like(block, values * (1.0 + _SCATTER) ** sign)
    yield _like(block, np.stack([np.interp(nm + sign * _SHIFT, nm, row) for row in values]))


def _like(block: Spectra, values: NDArray[np.float64]) -> Spectra:
    return replace(block, values=values.astype(block.values.dtype))
