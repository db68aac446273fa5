"""Order and spacing of a wavelength axis: mistyped wavelengths, spectra read as an axis."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Reversals of an axis, where sensors overlap or names were sorted as text: largest number, and
#: least size in typical steps.
_MOST_JUMPS, _JUMP = 3, 2.0
#: Points needed for a typical step.
_FEWEST = 5
#: The evenness of a sorted axis is judged over strides of this many points, so that rounding does
#: not matter; strides may differ by this share from their median.
_STRIDE, _EVEN = 5, 0.25
#: Neighbours on either side that a wavelength is compared with; distance from all others, in
#: typical steps, beyond which an end is an error.
_WINDOW, _FAR_OFF = 5, 100.0
#: Axes that change direction more often are shuffled; a mistyped wavelength adds three changes at
#: most.
_MOST_TURNS = 60


def is_monotonic(axis: NDArray[np.float64]) -> bool:
    """Return whether an axis ascends or descends strictly."""
    steps = np.diff(axis)
    return bool((steps > 0).all() or (steps < 0).all())


def is_ordered(axis: NDArray[np.float64]) -> bool:
    """Return whether values (nm) are a wavelength axis in any column order, not a spectrum.

    An axis ascends or descends, with up to three reversals where sensors overlap or names were
    sorted as text; or its sorted values are evenly spaced in nm or in cm-1. A spectrum changes
    direction in small steps, and its sorted values are unevenly spaced.
    """
    if is_monotonic(axis):
        return True
    if axis.size < _FEWEST:
        return False
    steps = np.diff(axis)
    rising = np.count_nonzero(steps > 0) >= len(steps) / 2
    jumps = np.abs(steps[steps < 0 if rising else steps > 0])
    if len(jumps) <= _MOST_JUMPS and (jumps >= _JUMP * np.median(np.abs(steps))).all():
        return True
    return _is_even(axis) or _is_even(1e7 / axis)


def _is_even(axis: NDArray[np.float64]) -> bool:
    strides = np.diff(np.sort(axis)[::_STRIDE])
    return bool(strides.size > 2 and (np.abs(strides - np.median(strides)) <= _EVEN * np.median(strides)).all())


def mistyped(axis: NDArray[np.float64]) -> int | None:
    """Return the index of a mistyped wavelength, or None.

    A mistyped wavelength is further from the others than their range, or out of order at a place
    where the axis has a gap.
    """
    if axis.size < 4:
        return None
    order = np.argsort(axis)
    for end in (int(order[-1]), int(order[0])):
        # An axis that is even in nm is uneven in cm-1, and vice versa.
        if _is_far_off(axis, end) and _is_far_off(1.0 / axis, end):
            return end
    steps = np.diff(axis)
    turns = np.flatnonzero(steps[1:] * steps[:-1] < 0) + 1
    if len(turns) > _MOST_TURNS:
        return None
    return next((place for place in map(int, turns) if _stands_alone(axis, place)), None)


def _is_far_off(axis: NDArray[np.float64], end: int) -> bool:
    """Return whether an end of the axis is further from the other points than their range."""
    rest = np.sort(np.delete(axis, end))
    gap = float(min(abs(axis[end] - rest[0]), abs(axis[end] - rest[-1])))
    return bool(gap > _FAR_OFF * np.median(np.diff(rest)) and gap > np.ptp(rest))


def _stands_alone(axis: NDArray[np.float64], place: int) -> bool:
    """Return whether neighbours are even but for a gap that this wavelength does not fill."""
    before, behind = axis[max(0, place - _WINDOW) : place], axis[place + 1 : place + 1 + _WINDOW]
    around = np.r_[np.diff(before), np.diff(behind)]
    step, hole = float(np.median(np.abs(around))), behind[0] - before[-1]
    even = (
        bool((around * hole > 0).all()) and np.abs(around).max() <= 3.0 * step and 1.4 * step <= abs(hole) <= 3.0 * step
    )
    nearest = float(np.partition(np.abs(axis - axis[place]), 1)[1])
    # Fewer steps remain at an end. A value that continues the sorted axis is correct, as where
    # names were sorted as text.
    return len(around) >= _WINDOW - 1 and even and not 0.7 * step <= nearest <= 1.5 * step
