"""Checks of spectral values: fill values, noise, and agreement with the calibration's signal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import SpectralInputError
from .data import Spectra

#: Fill values of OPUS, ASD and netCDF files and of databases.
_FILL_VALUES = (-9999.0, -999.0, -99999.0, -32768.0, 9999.0, 99999.0)
#: Largest absolute value of a measurement.
_LARGEST = 1e30
#: A value this many times larger than the next smaller one of its spectrum is a fill value.
_JUMP = 1e3
#: A spectrum is searched for fill values if its largest value exceeds this multiple of a typical
#: one, or if a value is below -99 or beyond 9,999.
_SUSPICIOUS = 30.0
#: Shorter spectra are not searched for fill values.
_SHORTEST = 10
#: Calibration spectra, and wavelengths, needed to characterise the signal.
_FEWEST = 5
#: Limits beyond the calibration spectra: factor of the size, share of negative points, level in
#: units of the range of levels and of the largest size. Of 95 data banks, no half is flagged by the
#: other half.
_SIZE, _NEGATIVE, _LEVEL, _LEVEL_SIZE = 4.0, 0.15, 1.0, 1.0
#: The same for the correlation with the mean spectrum: this many times the distance of the lowest
#: calibration correlation from 1, within the two bounds.
_CORRELATION, _CLOSEST, _FURTHEST = 2.0, 0.1, 0.5
#: From this many spectra on, limits for a minority are this many times wider.
_MANY, _FAR = 5, 3.0
#: A spectrum is centred if its mean is below this share of its standard deviation.
_CENTRED = 1e-4
#: A spectrum is noise if its size is below this share of the others' and its correlation with their
#: mean is below the second value; the size alone decides if axes differ.
_DEAD, _DEAD_CORRELATION = 0.01, 0.5
#: Correlation with a derivative of the mean spectrum that identifies a derivative, and correlation
#: with the mean spectrum itself below which spectra differ in shape.
_ALIKE, _UNLIKE = 0.6, 0.5


def check_values(values: NDArray[Any], axis: NDArray[np.float64], first_row: int = 0) -> None:
    """Refuse infinities, fill values and spectra with more than half of their points missing.

    Parameters
    ----------
    values : ndarray of shape (n_spectra, n_wavelengths)
        NaN marks a missing point.
    axis : ndarray of shape (n_wavelengths,)
        Wavelengths in nm, in the order of the columns.
    first_row : int
        Number of the first row in messages.

    Raises
    ------
    SpectralInputError
        The message names the first such value by row and wavelength.
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
                f"X contains {values[row, column]:g} at row {row + first_row}, {axis[column]:g} nm, where the rest of "
                "the spectrum is orders of magnitude smaller or of the other sign: a fill value, not a measurement. "
                "Replace fill values by NaN (missing points are filled in), or drop such spectra.",
                int(row + first_row),
            )


def _require_points(values: NDArray[Any], axis: NDArray[np.float64], first_row: int) -> None:
    """Refuse infinities and rows with more than half of their points missing."""
    missing = np.isnan(values)
    absurd = ~missing & ~(np.abs(values) <= _LARGEST)
    if absurd.any():
        row, column = np.argwhere(absurd)[0]
        value = values[row, column]
        kind = f"{value:g}" if np.isfinite(value) else "inf"
        raise SpectralInputError(
            f"X contains {kind} at row {row + first_row}, {axis[column]:g} nm, which no instrument gives; replace such "
            "points by NaN (missing points are filled in), or drop such spectra.",
            int(row + first_row),
        )
    share = missing.mean(axis=1)
    if (share > 0.5).any():
        row = int(np.argmax(share > 0.5))
        raise SpectralInputError(
            f"X contains NaN at row {row + first_row}: {share[row]:.0%} of its points are missing, more than half; "
            "drop such spectra.",
            row + first_row,
        )


def _fill_value(row: NDArray[Any]) -> int | None:
    """Return the index of the first fill value of a spectrum, or None."""
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
        # A usual fill value only counts if all other values differ from it in sign or magnitude.
        others = rest[rest != value]
        if len(columns) and len(others) and (value < 0 <= others.min() or np.abs(others).max() < abs(value) / 10.0):
            return int(columns[0])
    return None


def constant_rows(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which rows have the same value at all wavelengths, (n,)."""
    if values.shape[1] < 2:
        return np.zeros(len(values), dtype=bool)
    # fmax and fmin ignore missing points; every row has at least one value.
    return np.asarray(np.fmax.reduce(values, axis=1) == np.fmin.reduce(values, axis=1))


def dead_rows(blocks: Sequence[Spectra]) -> NDArray[np.bool_]:
    """Return which calibration spectra hold no signal: constant spectra and noise.

    Spectra smaller than a hundredth of the median size count as noise. If all spectra share one
    axis, their correlation with the mean spectrum must also be below 0.5.

    Parameters
    ----------
    blocks : sequence of Spectra
        Each on a 1-D axis; NaN marks a missing point.

    Returns
    -------
    ndarray of shape (n_spectra,), bool
    """
    dead = np.concatenate([constant_rows(block.values) for block in blocks])
    if blocks[0].wavelengths.size < _FEWEST or np.count_nonzero(~dead) < _FEWEST:
        return dead
    # In units of the largest value, so that squares neither overflow nor underflow.
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
    """Return the indices of spectra with a signal, or of all if fewer than two have one."""
    alive = ~dead_rows(blocks)
    return np.flatnonzero(alive) if np.count_nonzero(alive) > 1 else np.arange(len(alive))


@dataclass(frozen=True, eq=False)
class SignalKind:
    """Ranges of level, size, sign and shape of the calibration spectra.

    Attributes
    ----------
    mean : ndarray of shape (n_wavelengths,), float64
        Mean spectrum.
    level, size : tuple of (float, float)
        Minimum and maximum of the mean (level) and standard deviation (size) of a spectrum.
        Constant spectra do not count for the minimum of `size`.
    negative : float
        Largest share of negative points in a spectrum.
    correlation : float
        Lowest correlation of a spectrum with the mean spectrum.
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
        """Characterise complete spectra (n, L).

        Returns None if there are fewer than 5 spectra or wavelengths, or if all spectra or their
        mean are constant.
        """
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
        """Return which complete spectra (n, L) are another kind of signal; constant ones never are.

        Limits are 3 times wider for a minority among 5 or more spectra: a change of unit affects a
        whole file, whereas samples vary individually.
        """
        odd = self._beyond(values, 1.0)
        if len(values) >= _MANY and odd.any() and odd.mean() < 0.5:
            odd[odd] = self._beyond(values[odd], _FAR)
        return odd

    def dead(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which complete spectra (n, L) are noise compared with the calibration spectra."""
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
        """Return the likely kind of strange spectra (n, L), or else their differences."""
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
            f"level {level:.3g} (calibration {self.level[0]:.3g} to {self.level[1]:.3g}), standard deviation "
            f"{size:.3g} ({self.size[0]:.3g} to {self.size[1]:.3g}), {negative:.0%} negative points "
            f"({self.negative:.0%}), correlation with the mean spectrum {correlation:.2f} "
            f"({self.correlation:.2f} and more)"
        )

    def _distance(self, spectrum: NDArray[np.float64]) -> float:
        """Return the distance of a spectrum (1, L) from the centre of the calibration spectra."""
        level, size, _, correlation = (float(v[0]) for v in _numbers(spectrum, self.mean))
        far = abs(level - sum(self.level) / 2) / (self.level[1] - self.level[0] + self.size[1])
        return far + abs(float(np.log(size / np.sqrt(self.size[0] * self.size[1])))) + 5.0 * (1.0 - correlation)


def _scaled(factor: float) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    return lambda x: x * factor


#: Conversions to the calibration's kind of signal, and the kind that each implies.
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
    (lambda x: -x, "the same signal with inverted sign"),
)


def _numbers(values: NDArray[Any], mean: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return level, size, share of negative points and correlation with `mean` of each row."""
    X = values.astype(np.float64)
    level = X.mean(axis=1)
    size = X.std(axis=1)
    negative = (X < 0).mean(axis=1)
    centred = mean - mean.mean()
    covariance = (X * centred).mean(axis=1)
    correlation = covariance / np.maximum(size * float(centred.std()), 1e-300)
    return level, size, negative, correlation
