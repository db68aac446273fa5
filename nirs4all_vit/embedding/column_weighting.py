"""Fitting an embedding to a material without labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..spectra.data import spread_rows

#: Deviations below this share of the mean one count as this: they are rounding.
FLOOR = 1e-3
#: Fewer spectra than this tell how columns vary, but neither what is far out nor what columns share.
_FEWEST = 10
#: Deviations from its mean that a column keeps within. Between four and eight they hardly matter (research log, section 19).
_LIMIT = 6.0
#: Deviation to this power is left of a column, and its unique share counts by the other. Between a quarter and a half, and
#: a half and one, they hardly matter (research log, section 18).
_DEVIATION_POWER, _UNIQUE_POWER = 0.25, -0.75
#: Least unique share that counts, and how much more where it is told by few spectra, over their number.
_LEAST_UNIQUE, _UNCERTAIN = 0.03, 2.0
#: Spectra that the unique share is told by, at most.
_MAX_SPECTRA = 300
#: Rows at a time: few enough to stay in a processor's cache.
_ROWS = 16


@dataclass(frozen=True, eq=False)
class ColumnWeighting:
    """What is done to the columns of an embedding, one by one.

    A column is winsorised, that is kept within bounds that the calibration spectra set, and multiplied by a factor.

    Attributes
    ----------
    scale : ndarray of shape (n_columns,), float32
        Factors.
    lower, upper : ndarray of shape (n_columns,), float32, or None
        Bounds, in the units of the embedding as it comes; None where there are none.
    """

    scale: NDArray[np.float32]
    lower: NDArray[np.float32] | None = None
    upper: NDArray[np.float32] | None = None

    @classmethod
    def none(cls, n_columns: int) -> Self:
        """Return what leaves columns as they are."""
        return cls(np.ones(n_columns, dtype=np.float32))

    @classmethod
    def fit(cls, embedded: NDArray[np.float32]) -> Self:
        """Look at how the columns of calibration spectra vary, and at what they have in common.

        - Beyond six deviations a column says that a spectrum is odd, not how much of the analyte it holds: it goes no further.
        - What varies little in this material counts for more: of a column's deviation the fourth root is left.
        - What no other column confirms counts for less. The share of a column's variance that the others do not explain
          (the uniqueness of factor analysis) is taken from a ridge on the whole embedding, each spectrum predicted by the others.

        With fewer than ten spectra columns are divided by the root of their deviation, and that is all. The summed
        variance stays as it was (about, beyond 300 spectra), and with it the penalties that suit a ridge.

        Parameters
        ----------
        embedded : ndarray of shape (n_samples, n_columns)
            Embedded calibration spectra.

        Returns
        -------
        ColumnWeighting
            One that changes nothing where nothing varies, as with a single spectrum.
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
        # In units of the root of a column's deviation: a column counts half for its size.
        within = cls((usual**-0.5).astype(np.float32), lower, upper).apply(embedded[rows])
        within -= within.mean(axis=0)
        unique, variance = _unique_share(within, floor * usual**-0.5)
        factor = usual ** (_DEVIATION_POWER - 1.0) * (_LEAST_UNIQUE + _UNCERTAIN / n + unique) ** _UNIQUE_POWER
        factor *= np.sqrt(total / (variance * usual * np.square(factor)).sum())
        return cls(factor.astype(np.float32), lower, upper)

    def apply(self, embedded: NDArray[np.float32]) -> NDArray[np.float32]:
        """Do it to rows (n, n_columns), in place; returns them. A row's numbers do not depend on its company."""
        for start in range(0, len(embedded), _ROWS):
            rows = embedded[start : start + _ROWS]
            if self.lower is not None and self.upper is not None:
                # In less than half the time of np.clip.
                np.maximum(rows, self.lower, out=rows)
                np.minimum(rows, self.upper, out=rows)
            rows *= self.scale
        return embedded

    def slope(self, embedded: NDArray[Any]) -> NDArray[np.float64]:
        """Return the derivative (n, n_columns) of what `apply` gives with respect to rows as they came."""
        scale = np.broadcast_to(self.scale.astype(np.float64), embedded.shape)
        if self.lower is None or self.upper is None:
            return scale
        return scale * ((embedded > self.lower) & (embedded < self.upper))


def _unique_share(z: NDArray[Any], floor: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the share of each column's variance that a ridge on all columns leaves, every row predicted by the others, and the variance.

    The penalty is the mean diagonal of the kernel: what counts as common varies by more than one n-th of the whole.

    Parameters
    ----------
    z : ndarray of shape (n, n_columns)
        Columns without their mean.
    floor : ndarray of shape (n_columns,)
        Deviation that is rounding, of which nothing is common.
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
    """Return the mean over rows of the squared distance of each column from its centre."""
    blocks = (z[start : start + _ROWS] - centre for start in range(0, len(z), _ROWS))
    return np.asarray(sum(np.square(block, dtype=np.float64).sum(axis=0) for block in blocks) / len(z))
