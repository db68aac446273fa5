"""Whether values are spectra at all, and the same kind of signal as those of the calibration: unit, sign, order, fill values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import SpectralInputError
from .data import Spectra

#: What files hold where nothing was measured (deleted channels of OPUS and ASD files, of netCDF, of databases).
_FILL_VALUES = (-9999.0, -999.0, -99999.0, -32768.0, 9999.0, 99999.0)
#: No instrument gives more.
_LARGEST = 1e30
#: A value this many times larger than the next smaller one of its spectrum does not belong to it.
_JUMP = 1e3
#: A spectrum whose largest value is below this multiple of a typical one has no such value.
_SUSPICIOUS = 30.0
#: Of fewer points nothing is said about which one does not belong to the rest.
_SHORTEST = 10
#: Fewer calibration spectra do not tell what is usual.
_FEWEST = 5
#: How far beyond the calibration spectra a spectrum is another signal: factor of its size, share of negative points, level in
#: units of the range of levels and of the largest size. None of 95 banks' halves is flagged by the other half.
_SIZE, _NEGATIVE, _LEVEL, _LEVEL_SIZE = 4.0, 0.15, 1.0, 1.0
#: The same for the correlation with the mean spectrum: so many times as far from 1 as the lowest one, within bounds.
_CORRELATION, _CLOSEST, _FURTHEST = 2.0, 0.1, 0.5
#: Among this many spectra and more a few odd ones have to be so many times as far out.
_MANY, _FAR = 5, 3.0
#: A mean below this share of the standard deviation is zero: a centred spectrum.
_CENTRED = 1e-4
#: A spectrum smaller than this share of the others, and of another shape where that is known, is noise.
_DEAD, _DEAD_CORRELATION = 0.01, 0.5
#: Correlations from which a spectrum is said to be a derivative of the calibration's, and below which it is unlike it.
_ALIKE, _UNLIKE = 0.6, 0.5


def check_values(values: NDArray[Any], axis: NDArray[np.float64], first_row: int = 0) -> None:
    """Refuse infinities, fill values and spectra more than half of which is missing; NaN is a missing point.

    Parameters
    ----------
    values : ndarray of shape (n_spectra, n_wavelengths)
    axis : ndarray of shape (n_wavelengths,)
        In nm, in the order of the columns.
    first_row : int
        Number of the first row in messages.

    Raises
    ------
    SpectralInputError
        Names the first such value by row and wavelength.
    """
    magnitude = np.abs(values)
    peak = magnitude.max(axis=1)
    if not (peak <= _LARGEST).all():  # NaN, too
        _require_points(values, axis, first_row)
        magnitude = np.where(np.isnan(magnitude), 0.0, magnitude)
        peak = magnitude.max(axis=1)
    n = values.shape[1]
    typical = np.median(magnitude[:, :: max(1, n // 32)], axis=1)
    low = values.min(axis=1)
    suspects = np.flatnonzero((peak > _SUSPICIOUS * typical) | (low < -99.0) | (peak >= 9999.0))
    for row in suspects:
        column = _fill_value(values[row])
        if column is not None:
            raise SpectralInputError(
                f"X contains {values[row, column]:g} at row {row + first_row}, {axis[column]:g} nm, where the rest of the "
                "spectrum is orders of magnitude smaller or of the other sign: a fill value, not a measurement. Replace "
                "fill values by NaN (missing points are filled in), or drop such spectra.",
                int(row + first_row),
            )


def _require_points(values: NDArray[Any], axis: NDArray[np.float64], first_row: int) -> None:
    """Refuse infinities and rows more than half of which is missing."""
    missing = np.isnan(values)
    absurd = ~missing & ~(np.abs(values) <= _LARGEST)
    if absurd.any():
        row, column = np.argwhere(absurd)[0]
        value = values[row, column]
        kind = f"{value:g}" if np.isfinite(value) else "inf"
        raise SpectralInputError(
            f"X contains {kind} at row {row + first_row}, {axis[column]:g} nm, which no instrument gives; replace such points by NaN "
            "(missing points are filled in), or drop such spectra.",
            int(row + first_row),
        )
    share = missing.mean(axis=1)
    if (share > 0.5).any():
        row = int(np.argmax(share > 0.5))
        raise SpectralInputError(
            f"X contains NaN at row {row + first_row}: {share[row]:.0%} of its points are missing, more than half; drop such spectra.",
            row + first_row,
        )


def _fill_value(row: NDArray[Any]) -> int | None:
    """Return a point whose value does not belong to its spectrum, or None."""
    present = ~np.isnan(row)
    if np.count_nonzero(present) < _SHORTEST:
        return None
    size = np.abs(row[present].astype(np.float64))
    order = np.sort(size[size > 0])
    if len(order) > 1:
        upper = order[len(order) // 2 :]
        jumps = np.flatnonzero(upper[1:] > _JUMP * upper[:-1])
        if len(jumps):
            return int(np.flatnonzero(np.abs(np.where(present, row, 0.0)) >= upper[jumps[0] + 1])[0])
    rest = row[present]
    for value in _FILL_VALUES:
        columns = np.flatnonzero(row == value)
        # One that stands alone, or apart from all others in sign.
        others = rest[rest != value]
        if len(columns) and len(others) and (value < 0 <= others.min() or np.abs(others).max() < abs(value) / 10.0):
            return int(columns[0])
    return None


def constant_rows(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which rows have the same value at all wavelengths, (n,)."""
    if values.shape[1] < 2:
        return np.zeros(len(values), dtype=bool)
    # Missing points say nothing either way; no row lacks all.
    return np.asarray(np.fmax.reduce(values, axis=1) == np.fmin.reduce(values, axis=1))


def dead_rows(blocks: Sequence[Spectra]) -> NDArray[np.bool_]:
    """Tell which calibration spectra hold no signal, (n_spectra,): constant ones, and noise at a hundredth of the usual size.

    Parameters
    ----------
    blocks : sequence of Spectra
        On a 1-D axis each; NaN where a point is missing.

    Returns
    -------
    ndarray of shape (n_spectra,), bool
        Noise is told from weak spectra by its shape where all spectra share one axis.
    """
    dead = np.concatenate([constant_rows(block.values) for block in blocks])
    if blocks[0].wavelengths.size < _FEWEST or np.count_nonzero(~dead) < _FEWEST:
        return dead
    # In units of the largest value, so that no square overflows or vanishes.
    unit = max(float(np.nanmax(np.abs(block.values))) for block in blocks) or 1.0
    scaled = [block.values.astype(np.float64) / unit for block in blocks]
    size = np.concatenate([np.nanstd(part, axis=1) for part in scaled])
    small = ~dead & (size < _DEAD * np.median(size[~dead]))
    if not small.any():
        return dead
    if len(blocks) > 1:
        return dead | small
    usual = np.nanmean(scaled[0][~(dead | small)], axis=0)
    for row in np.flatnonzero(small):
        both = ~np.isnan(scaled[0][row]) & ~np.isnan(usual)
        alike = np.corrcoef(scaled[0][row][both], usual[both])[0, 1] if usual[both].std() > 0 else 0.0
        dead[row] = not alike >= _DEAD_CORRELATION
    return dead


def living_rows(blocks: Sequence[Spectra]) -> NDArray[np.intp]:
    """Return the calibration spectra that statistics are made of: those that hold a signal, or all where fewer than two do."""
    alive = ~dead_rows(blocks)
    return np.flatnonzero(alive) if np.count_nonzero(alive) > 1 else np.arange(len(alive))


@dataclass(frozen=True, eq=False)
class SignalKind:
    """What calibration spectra look like as a signal: level, size, sign and shape.

    Attributes
    ----------
    mean : ndarray of shape (n_wavelengths,), float64
        Mean spectrum.
    level, size : tuple of (float, float)
        Least and largest mean and standard deviation of a spectrum.
    negative : float
        Largest share of negative points.
    correlation : float
        Least correlation with the mean spectrum.
    centred : bool
        Whether any spectrum has a mean of zero.
    """

    mean: NDArray[np.float64]
    level: tuple[float, float]
    size: tuple[float, float]
    negative: float
    correlation: float
    centred: bool

    @classmethod
    def fit(cls, values: NDArray[Any]) -> Self | None:
        """Return what complete spectra (n, L) look like; None where too few of them say it."""
        if len(values) < _FEWEST or values.shape[1] < _FEWEST:
            return None
        mean = values.mean(axis=0, dtype=np.float64)
        level, size, negative, correlation = _numbers(values, mean)
        varied = size > 0
        if not varied.any() or not mean.std() > 0:
            return None
        return cls(
            mean,
            (float(level.min()), float(level.max())),
            (float(size[varied].min()), float(size.max())),
            float(negative.max()),
            float(correlation[varied].min()),
            bool((np.abs(level) <= _CENTRED * size).any()),
        )

    def strange(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which of complete spectra (n, L) are another kind of signal; constant ones are not judged.

        Where most of them are, or there are few, limits are narrow. A few odd ones among others of the usual kind have to be far
        out: a unit changes for a whole file, samples vary one by one.
        """
        odd = self._beyond(values, 1.0)
        if len(values) >= _MANY and odd.any() and odd.mean() < 0.5:
            odd[odd] = self._beyond(values[odd], _FAR)
        return odd

    def dead(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which of complete spectra (n, L) are noise beside those of the calibration."""
        small = np.asarray(values.std(axis=1, dtype=np.float64) < _DEAD * self.size[0])
        if small.any():
            correlation = _numbers(values[small], self.mean)[3]
            small[small] = correlation < _DEAD_CORRELATION
        return small

    def _beyond(self, values: NDArray[Any], factor: float) -> NDArray[np.bool_]:
        level, size, negative, correlation = _numbers(values, self.mean)
        span = max(self.level[1] - self.level[0], 0.0)
        margin = factor * (_LEVEL * span + _LEVEL_SIZE * self.size[1])
        odd = (size > factor * _SIZE * self.size[1]) | (size < self.size[0] / (factor * _SIZE))
        odd |= (level < self.level[0] - margin) | (level > self.level[1] + margin)
        odd |= negative > self.negative + factor * _NEGATIVE
        odd |= correlation < self.correlation - factor * np.clip(
            _CORRELATION * (1.0 - self.correlation), _CLOSEST, _FURTHEST
        )
        if not self.centred:
            odd |= np.abs(level) <= _CENTRED * size
        return odd & (size > 1e-9 * np.abs(level))

    def explanation(self, values: NDArray[Any]) -> str:
        """Say what strange spectra (n, L) may be, or else how they differ."""
        typical = values.mean(axis=0, dtype=np.float64)[np.newaxis]
        level, size, negative, correlation = (float(v[0]) for v in _numbers(typical, self.mean))
        if not self.centred and abs(level) <= 10.0 * _CENTRED * size and correlation > 0.5:
            return "they look centred or SNV-corrected"
        candidates = []
        for convert, meaning in _CONVERSIONS:
            with np.errstate(all="ignore"):
                converted = convert(typical)
                sound = bool(np.isfinite(converted).all() and converted.std() > 0 and not self.strange(converted)[0])
            if sound:
                candidates.append((self._distance(converted), meaning))
        if candidates:
            return f"they look like {min(candidates)[1]}"
        slope = np.gradient(self.mean)
        if abs(correlation) < _UNLIKE and abs(np.corrcoef(typical[0], slope)[0, 1]) > _ALIKE:
            return "they look like a first derivative"
        if np.corrcoef(typical[0], np.gradient(slope))[0, 1] > _ALIKE:
            return "they look like a second derivative"
        return (
            f"level {level:.3g} (calibration {self.level[0]:.3g} to {self.level[1]:.3g}), standard deviation {size:.3g} "
            f"({self.size[0]:.3g} to {self.size[1]:.3g}), {negative:.0%} negative points ({self.negative:.0%}), "
            f"correlation with the mean spectrum {correlation:.2f} ({self.correlation:.2f} and more)"
        )

    def _distance(self, spectrum: NDArray[np.float64]) -> float:
        """Return how far a spectrum (1, L) is from the middle of the calibration spectra: level, size and shape."""
        level, size, _, correlation = (float(v[0]) for v in _numbers(spectrum, self.mean))
        far = abs(level - sum(self.level) / 2) / (self.level[1] - self.level[0] + self.size[1])
        return far + abs(float(np.log(size / np.sqrt(self.size[0] * self.size[1])))) + 5.0 * (1.0 - correlation)


def _scaled(factor: float) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    return lambda x: x * factor


#: What brings a signal back to the calibration's kind, and what it is then.
_CONVERSIONS: tuple[tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], str], ...] = (
    (lambda x: -np.log10(x), "reflectance or transmittance, where the calibration has absorbance"),
    (lambda x: 2.0 - np.log10(x), "reflectance or transmittance in percent, where the calibration has absorbance"),
    (lambda x: 10.0**-x, "absorbance, where the calibration has reflectance or transmittance"),
    (lambda x: 100.0 * 10.0**-x, "absorbance, where the calibration has reflectance or transmittance in percent"),
    (_scaled(0.01), "the same signal in percent (a hundred times as large)"),
    (_scaled(100.0), "the same signal as a fraction, where the calibration has percent"),
    (_scaled(1e-3), "the same signal a thousand times as large"),
    (_scaled(1e3), "the same signal a thousandth as large"),
    (lambda x: x[:, ::-1], "the same signal on a reversed axis"),
    (lambda x: -x, "the same signal with its sign turned"),
)


def _numbers(values: NDArray[Any], mean: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return level, size, share of negative points and correlation with a mean spectrum of each row."""
    X = values.astype(np.float64)
    level = X.mean(axis=1)
    size = X.std(axis=1)
    negative = (X < 0).mean(axis=1)
    centred = mean - mean.mean()
    covariance = (X * centred).mean(axis=1)
    correlation = covariance / np.maximum(size * float(centred.std()), 1e-300)
    return level, size, negative, correlation
