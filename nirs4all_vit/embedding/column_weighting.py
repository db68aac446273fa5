"""Unsupervised weighting and clipping of embedding columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..spectra.data import spread_rows

#: Floor of the standard deviations, as a share of their mean; smaller values are rounding errors.
FLOOR = 1e-3
#: Smallest number of spectra for clipping limits and uniquenesses; variances need fewer.
_FEWEST = 10
#: Clipping limit, in standard deviations. Results hardly depend on it between 4 and 8 (research log, section 19).
_LIMIT = 6.0
#: Exponent of the standard deviation that a column keeps, and exponent of the uniqueness in its factor. Results hardly
#: depend on them between a quarter and a half, and (in size) a half and one (research log, section 18).
_DEVIATION_POWER, _UNIQUE_POWER = 0.25, -0.75
#: Terms added to the uniqueness: a constant, and a constant divided by the number of spectra for its uncertainty.
_LEAST_UNIQUE, _UNCERTAIN = 0.03, 2.0
#: Maximum number of spectra for estimating the uniqueness.
_MAX_SPECTRA = 300
#: Block size in rows, small enough for a processor's cache.
_ROWS = 16


@dataclass(frozen=True, eq=False)
class ColumnWeighting:
    """Bounds and factor of each column of an embedding.

    Columns are winsorised (clipped at bounds estimated from the calibration spectra) and multiplied by a factor.

    Attributes
    ----------
    scale : ndarray of shape (n_columns,), float32
        Factors.
    lower, upper : ndarray of shape (n_columns,), float32, or None
        Bounds, in the units of the input embedding; None if columns are not clipped.
    """

    scale: NDArray[np.float32]
    lower: NDArray[np.float32] | None = None
    upper: NDArray[np.float32] | None = None

    @classmethod
    def none(cls, n_columns: int) -> Self:
        """Return a weighting that leaves columns unchanged."""
        return cls(np.ones(n_columns, dtype=np.float32))

    @classmethod
    def fit(cls, embedded: NDArray[np.float32]) -> Self:
        """Estimate each column's variance and uniqueness from the calibration spectra.

        - Columns are clipped at 6 standard deviations; larger values indicate unusual spectra, not analyte content.
        - Columns of low variance gain weight: the fourth root of each standard deviation remains.
        - Columns of high uniqueness lose weight. Uniqueness is the share of a column's variance that the other columns
          do not explain, as in factor analysis. It is estimated by a leave-one-out ridge on the whole embedding.

        With fewer than ten spectra columns are only divided by the root of their standard deviation. The summed
        variance is preserved (approximately beyond 300 spectra), so that suitable ridge penalties stay the same.

        Parameters
        ----------
        embedded : ndarray of shape (n_samples, n_columns)
            Embedded calibration spectra.

        Returns
        -------
        ColumnWeighting
            Weighting; leaves columns unchanged if none varies, as with a single spectrum.
        """
        n, n_columns = embedded.shape
        centre = embedded.mean(axis=0, dtype=np.float64)
        deviation = np.sqrt(_mean_square(embedded, centre))
        total = float(np.square(deviation).sum())
        if not total > 0:
            return cls.none(n_columns)
        floor = FLOOR * deviation.mean()
        usual = deviation + floor
        if n < _FEWEST:
            factor = usual**-0.5
            return cls((factor * np.sqrt(total / np.square(deviation * factor).sum())).astype(np.float32))
        lower, upper = ((centre + side * _LIMIT * usual).astype(np.float32) for side in (-1, 1))
        rows = spread_rows(n, _MAX_SPECTRA)
        # Columns are divided by the root of their standard deviation, which halves the effect of their size.
        within = cls((usual**-0.5).astype(np.float32), lower, upper).apply(embedded[rows])
        within -= within.mean(axis=0)
        unique, variance = _unique_share(within, floor * usual**-0.5)
        factor = usual ** (_DEVIATION_POWER - 1.0) * (_LEAST_UNIQUE + _UNCERTAIN / n + unique) ** _UNIQUE_POWER
        factor *= np.sqrt(total / (variance * usual * np.square(factor)).sum())
        return cls(factor.astype(np.float32), lower, upper)

    def apply(self, embedded: NDArray[np.float32]) -> NDArray[np.float32]:
        """Clip and scale rows (n, n_columns) in place and return them; rows do not affect each other."""
        for start in range(0, len(embedded), _ROWS):
            rows = embedded[start : start + _ROWS]
            if self.lower is not None and self.upper is not None:
                # Takes less than half the time of np.clip.
                np.maximum(rows, self.lower, out=rows)
                np.minimum(rows, self.upper, out=rows)
            rows *= self.scale
        return embedded

    def slope(self, embedded: NDArray[Any]) -> NDArray[np.float64]:
        """Return the derivative (n, n_columns) of the result of `apply` with respect to its input."""
        scale = np.broadcast_to(self.scale.astype(np.float64), embedded.shape)
        if self.lower is None or self.upper is None:
            return scale
        return scale * ((embedded > self.lower) & (embedded < self.upper))


def _unique_share(z: NDArray[Any], floor: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the uniqueness and the variance of each column, by a leave-one-out ridge on all columns.

    The penalty is the mean diagonal of the kernel: common components hold more than 1/n of the total variance.

    Parameters
    ----------
    z : ndarray of shape (n, n_columns)
        Columns without their mean.
    floor : ndarray of shape (n_columns,)
        Standard deviation of rounding errors, which count as unique.
    """
    kernel = (z @ z.T).astype(np.float64)
    penalty = kernel.diagonal().mean()
    squares, vectors = np.linalg.eigh(kernel)
    left = penalty / (np.clip(squares, 0.0, None) + penalty)
    leverage = np.square(vectors) @ (1.0 - left) + 1.0 / len(z)
    weights = (vectors * left) @ vectors.T / (1.0 - leverage).clip(1e-6)[:, np.newaxis]
    residual = weights.astype(z.dtype) @ z
    noise, left_over, variance = np.square(floor), _mean_square(residual), _mean_square(z)
    return ((left_over + noise) / (variance + noise)).clip(0.0, 4.0), variance


def _mean_square(z: NDArray[Any], centre: NDArray[np.float64] | float = 0.0) -> NDArray[np.float64]:
    """Return the mean squared deviation of each column from its centre."""
    blocks = (z[start : start + _ROWS] - centre for start in range(0, len(z), _ROWS))
    return np.asarray(sum(np.square(block, dtype=np.float64).sum(axis=0) for block in blocks) / len(z))
