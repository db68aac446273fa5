"""Order and spacing of an axis: what tells it from a spectrum that was read as one, and a mistyped wavelength from its neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Jumps back of an axis of several sensors, or of names sorted as text, at most; and their size in typical steps, at least.
_MOST_JUMPS, _JUMP = 3, 2.0
#: An axis of fewer points has no typical step.
_FEWEST = 5
#: Points between which the sorted axis is compared, so that rounding does not count, and how much an even axis may vary.
_STRIDE, _EVEN = 5, 0.25
#: Neighbours on either side that a wavelength is compared with, and typical steps from all others at which it needs none.
_WINDOW, _FAR_OFF = 5, 100.0
#: A lone wavelength turns the axis three times; one whose columns are shuffled turns everywhere.
_MOST_TURNS = 60


def is_monotonic(axis: NDArray[np.float64]) -> bool:
    """Tell whether an axis ascends or descends throughout."""
    steps = np.diff(axis)
    return bool((steps > 0).all() or (steps < 0).all())


def is_ordered(axis: NDArray[np.float64]) -> bool:
    """Tell an axis, whatever the order of its columns, from a spectrum that was read as one.

    It ascends or descends, with a few jumps back where sensors overlap or names were sorted as text; or it is even, in nm or in cm-1,
    once it is sorted. A spectrum turns without a jump, and its sorted values lie at irregular distances.
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
    """Return the place of a lone wavelength that fits neither order nor spacing of the others; None where there is none.

    It is further from the others than they are from one another, or stands where the axis lacks a point.
    """
    if axis.size < 4:
        return None
    order = np.argsort(axis)
    for end in (int(order[-1]), int(order[0])):
        # An axis that is even in nm is not in cm-1, and the other way round.
        if _is_far_off(axis, end) and _is_far_off(1.0 / axis, end):
            return end
    steps = np.diff(axis)
    turns = np.flatnonzero(steps[1:] * steps[:-1] < 0) + 1
    if len(turns) > _MOST_TURNS:
        return None
    return next((place for place in map(int, turns) if _stands_alone(axis, place)), None)


def _is_far_off(axis: NDArray[np.float64], end: int) -> bool:
    """Tell whether the first or last wavelength lies further from the others than they extend."""
    rest = np.sort(np.delete(axis, end))
    gap = float(min(abs(axis[end] - rest[0]), abs(axis[end] - rest[-1])))
    return bool(gap > _FAR_OFF * np.median(np.diff(rest)) and gap > np.ptp(rest))


def _stands_alone(axis: NDArray[np.float64], place: int) -> bool:
    """Tell whether the neighbours on both sides go on evenly, but for a hole that this wavelength does not fill."""
    before, behind = axis[max(0, place - _WINDOW) : place], axis[place + 1 : place + 1 + _WINDOW]
    around = np.r_[np.diff(before), np.diff(behind)]
    step, hole = float(np.median(np.abs(around))), behind[0] - before[-1]
    even = (
        bool((around * hole > 0).all()) and np.abs(around).max() <= 3.0 * step and 1.4 * step <= abs(hole) <= 3.0 * step
    )
    nearest = float(np.partition(np.abs(axis - axis[place]), 1)[1])
    # At an end there are no more steps. What continues the sorted axis is in its place: names that were sorted as text.
    return len(around) >= _WINDOW - 1 and even and not 0.7 * step <= nearest <= 1.5 * step
