"""Alignment of spectra to the calibration's wavelength axis, with imputation of missing points."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import SpectralAxisError
from .data import Spectra, spread_rows, take_rows

#: Upper limits of the model: calibration spectra used, components, bytes of the loadings.
_MAX_SPECTRA, _MAX_COMPONENTS, _MAX_BYTES = 300, 60, 2**19
#: Rounds of imputation and refitting if calibration spectra have missing points.
_ROUNDS = 3
#: Residuals of neighbouring points are correlated: this many points count as one observation
#: (research log, section 26).
_POINTS_PER_RESIDUAL = 30.0
#: Iterations of the estimate of a spectrum's own residual variance.
_ROUNDS_OF_NOISE = 12
#: Lower limit of the residual variance, as a share of the mean variance of a point (rounding).
_LEAST_RESIDUAL = 1e-7
#: Points of two axes coincide if they are closer than this share of a step.
_SAME = 1e-3
#: Neighbours further apart than this have a gap between them; in units of the fitted step or of the
#: adjacent steps, whichever is larger.
_GAP = 2.5
#: Neighbours further apart than this have a gap between them on any axis; in units of the fitted
#: step.
_WIDEST = 25.0
#: Axes with smaller steps than the first are averaged; between points further apart than the
#: second, values follow the model. In units of the fitted step.
_FINER, _COARSER = 0.67, 1.5
#: Share of calibration spectra that reach each end of the common axis, if axes differ.
_COVERED = 0.9
#: Axes whose alignment is cached.
_CACHED_PLANS = 8


class _Resampling(NamedTuple):
    """Linear resampling between two axes: weighted neighbours, or means over cells."""

    columns: NDArray[np.intp] | None
    weights: NDArray[np.float64] | None
    edges: NDArray[np.float64] | None


class _Model(NamedTuple):
    """Calibration model at the points of another axis, with components orthogonal there."""

    mean: NDArray[np.float64]
    """Mean at the new points (l,)."""
    components: NDArray[np.float64]
    """Components at the new points (k, l)."""
    squares: NDArray[np.float64]
    """Squared lengths of the components (k,)."""
    fitted: NDArray[np.float64]
    """Components at the fitted points (k, L)."""
    noise: float
    """Residual variance, which shrinks the scores."""

    def scores(self, deviation: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the conditional mean of the scores (k,).

        It is conditional on the deviations from the mean at the new points (l,).
        Scores of a spectrum with a larger residual than usual, as of another instrument, shrink
        more.
        """
        products = self.components @ deviation
        total = float(deviation @ deviation)
        noise = self.noise
        for _ in range(_ROUNDS_OF_NOISE):
            scores = products / (self.squares + noise)
            left = total - 2.0 * float(scores @ products) + float(np.square(scores) @ self.squares)
            noise = max(self.noise, left / len(deviation))
        return products / (self.squares + noise)


class _Plan(NamedTuple):
    """Precomputed alignment of spectra on one axis."""

    inside: NDArray[np.bool_]
    """Points of the new axis within the fitted range; all if values are only interpolated."""
    exact: tuple[NDArray[np.intp], NDArray[np.intp]]
    """Fitted points that coincide with points of the new axis, and the indices of the latter."""
    missing: NDArray[np.bool_]
    """Fitted points beyond the ends of the new axis or within its gaps."""
    resampling: _Resampling
    model: _Model | None
    """None if values are only interpolated."""


@dataclass(eq=False)
class Alignment:
    """Wavelength axis and a low-rank Gaussian model of the calibration spectra on it.

    Attributes
    ----------
    wavelengths : ndarray of shape (n_wavelengths,), float64
        The fitted axis in nm, ascending.
    mean : ndarray of shape (n_wavelengths,), float64
        Mean of the calibration spectra.
    loadings : ndarray of shape (n_components, n_wavelengths), float32
        Principal components, each times the standard deviation of its scores.
    residual : float
        Residual variance at one point.
    dropped : ndarray of float64
        Wavelengths, in nm, that are missing in more than half of the calibration spectra; they are
        not on the axis.
    """

    wavelengths: NDArray[np.float64]
    mean: NDArray[np.float64]
    loadings: NDArray[np.float32]
    residual: float
    dropped: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    _plans: OrderedDict[bytes, _Plan] = field(default_factory=OrderedDict, repr=False)

    def __post_init__(self) -> None:
        self._step, self._steps = _typical_step(self.wavelengths), _steps(self.wavelengths)

    @classmethod
    def fit(cls, blocks: Sequence[Spectra]) -> tuple[Self, list[Spectra]]:
        """Fit the model to calibration spectra, and return them on the common axis.

        Spectra that share an axis stay on it. Spectra on different axes are aligned to the axis of
        a typical spectrum; nine in ten spectra reach each of its ends. Missing points are imputed.

        Parameters
        ----------
        blocks : sequence of Spectra
            Each on a 1-D axis in nm, ascending; NaN marks a missing point.

        Returns
        -------
        alignment : Alignment
        blocks : list of Spectra
            One block; the values are unchanged if axes agree and no point is missing.

        Raises
        ------
        SpectralAxisError
            The axes have no range in common.
        """
        axis = blocks[0].wavelengths
        shared = all(block.wavelengths is axis or np.array_equal(block.wavelengths, axis) for block in blocks)
        dropped = np.empty(0)
        if shared:
            values = blocks[0].values if len(blocks) == 1 else np.concatenate([block.values for block in blocks])
            missing = np.isnan(values)
            if not missing.any():
                return cls._of(axis, values), [Spectra(values, axis)]
            sparse = missing.mean(axis=0) > 0.5
            blocks = [Spectra(values, axis)]
            axis, dropped = axis[~sparse], axis[sparse]
        else:
            axis = _common_axis(blocks)
        # The first round interpolates missing points linearly; each later one uses the model of the
        # round before.
        alignment = cls(axis, np.zeros(axis.size), np.empty((0, axis.size), dtype=np.float32), 1.0)
        aligned, filled = alignment.align(blocks)
        alignment = cls._of(axis, aligned.values)
        rows = np.flatnonzero(filled)
        if len(rows):
            incomplete = take_rows(blocks, rows)
            for _ in range(_ROUNDS):
                aligned.values[rows] = alignment.align(incomplete)[0].values
                alignment = cls._of(axis, aligned.values)
        alignment.dropped = dropped
        return alignment, [aligned]

    @classmethod
    def _of(cls, axis: NDArray[np.float64], values: NDArray[Any]) -> Self:
        """Return the model of complete spectra (n, L)."""
        n, n_points = values.shape
        rows = spread_rows(n, _MAX_SPECTRA)
        mean = values.mean(axis=0, dtype=np.float64)
        centred = values[rows].astype(np.float64) - mean
        most = min(_MAX_COMPONENTS, _MAX_BYTES // (4 * n_points), len(rows) - 2, n_points - 1)
        variance = float(np.square(centred).mean())
        if most < 1 or not variance > 0:
            return cls(axis, mean, np.empty((0, n_points), dtype=np.float32), 1.0)
        # In units of the largest deviation, so that squares neither overflow nor underflow.
        unit = float(np.abs(centred).max())
        squares, vectors = np.linalg.eigh((centred / unit) @ (centred / unit).T)
        squares, vectors = squares[::-1][:most], vectors[:, ::-1][:, :most]
        squares, vectors = squares[squares > 1e-12 * squares[0]], vectors[:, squares > 1e-12 * squares[0]]
        freedom = max(len(rows) - 1, 1)
        loadings = vectors.T @ centred / np.sqrt(freedom)
        explained = float(squares.sum()) * unit**2 / freedom / n_points
        total = variance * len(rows) / freedom
        residual = max(total - explained, _LEAST_RESIDUAL * total)
        return cls(axis, mean, loadings.astype(np.float32), residual)

    def __getstate__(self) -> dict[str, Any]:
        # The cache and the attributes derived from the axis are not pickled.
        return {name: value for name, value in self.__dict__.items() if name not in ("_plans", "_step", "_steps")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _plans=OrderedDict())
        self.__post_init__()

    def align(self, blocks: Sequence[Spectra]) -> tuple[Spectra, NDArray[np.float64]]:
        """Align spectra to the fitted axis.

        Complete spectra on the fitted axis are returned unchanged. Values are averaged over the
        cells of the fitted axis if the new axis is finer, else interpolated. Missing points are the
        conditional mean of the model given the measured points, without a step between the two.
        Each row depends on its own spectrum only.

        Parameters
        ----------
        blocks : sequence of Spectra
            Each on a 1-D axis in nm, ascending; NaN marks a missing point.

        Returns
        -------
        spectra : Spectra
            All rows, in order.
        filled : ndarray of shape (n_spectra,), float64
            Share of the fitted axis that was imputed, beyond the ends and in gaps.
        """
        parts = [self._align(block) for block in blocks]
        values = parts[0][0] if len(parts) == 1 else np.concatenate([part for part, _ in parts])
        return Spectra(values, self.wavelengths), np.concatenate([filled for _, filled in parts])

    def _align(self, block: Spectra) -> tuple[NDArray[Any], NDArray[np.float64]]:
        values, nm = block.values, block.wavelengths
        missing = np.isnan(values)
        if not missing.any():
            if self.is_on_axis(nm):
                return values, np.zeros(len(values))
            return self._rows(values, nm)
        aligned = np.empty((len(values), self.wavelengths.size), dtype=values.dtype)
        filled = np.empty(len(values))
        # Rows with the same missing points are aligned together.
        patterns, member = np.unique(missing, axis=0, return_inverse=True)
        for k, pattern in enumerate(patterns):
            rows = np.flatnonzero(member.ravel() == k)
            aligned[rows], filled[rows] = self._rows(values[np.ix_(rows, ~pattern)], nm[~pattern])
        return aligned, filled

    def is_on_axis(self, nm: NDArray[np.float64]) -> bool:
        """Return whether an axis equals the fitted one up to a thousandth of a step."""
        axis = self.wavelengths
        if nm is axis or np.array_equal(nm, axis):
            return True
        return nm.size == axis.size and bool((np.abs(nm - axis) <= _SAME * self._steps).all())

    def _rows(self, values: NDArray[Any], nm: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Align complete spectra (n, l) on one axis; return (n, L) and the imputed shares (n,)."""
        plan = self._plan(nm)
        x = values[:, plan.inside].astype(np.float64)
        model = plan.model
        if model is None:
            out = _resampled(x, nm[plan.inside], plan.resampling)
        else:
            out = np.empty((len(values), self.wavelengths.size))
            places = nm[plan.inside]
            for row, observed in zip(out, x, strict=True):
                deviation = observed - model.mean
                # Row by row: rounding in a matrix product depends on its number of rows.
                scores = model.scores(deviation)
                deviation -= scores @ model.components
                residual = _resampled(deviation[np.newaxis], places, plan.resampling)[0]
                residual[plan.missing] = np.interp(self.wavelengths[plan.missing], places, deviation)
                row[:] = self.mean + scores @ model.fitted + residual
        out = out.astype(values.dtype)
        fitted, new = plan.exact
        out[:, fitted] = values[:, new]
        return out, np.full(len(values), plan.missing.mean())

    def _plan(self, nm: NDArray[np.float64]) -> _Plan:
        key = nm.tobytes()
        plan = self._plans.pop(key, None)
        if plan is None:
            plan = self._new_plan(nm)
        self._plans[key] = plan
        while len(self._plans) > _CACHED_PLANS:
            self._plans.popitem(last=False)
        return plan

    def _widest(self, nm: NDArray[np.float64], behind: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return, for each fitted point, the least distance of its new neighbours that is a gap."""
        if nm.size < 3:
            return np.full(self.wavelengths.size, _GAP * self._step)
        steps = np.diff(nm)
        # The steps in nm of an even axis in cm-1 vary severalfold, but slowly.
        beside = np.maximum(np.r_[steps[1], steps[:-1]], np.r_[steps[1:], steps[-2]])
        return np.minimum(_GAP * np.maximum(beside, self._step), _WIDEST * self._step)[behind - 1]

    def _new_plan(self, nm: NDArray[np.float64]) -> _Plan:
        axis = self.wavelengths
        near, exact = _nearest(axis, nm, _SAME * self._steps)
        step, own_step = self._step, _typical_step(nm) if nm.size > 1 else np.inf
        # Neighbours of each fitted point on the new axis.
        behind = np.searchsorted(nm, axis).clip(1, max(nm.size - 1, 1)) if nm.size > 1 else np.zeros(axis.size, int)
        width = (nm[behind] - nm[behind - 1]) if nm.size > 1 else np.full(axis.size, np.inf)
        outside = (axis < nm[0]) | (axis > nm[-1])
        missing = ~exact & (outside | (width > self._widest(nm, behind)))
        finer = own_step < _FINER * step
        pairs = (np.flatnonzero(exact & (not finer)), near[exact & (not finer)])
        between = ~exact & (width > _COARSER * self._steps)
        everywhere = np.ones(nm.size, dtype=bool)
        if nm[-1] < axis[0] or nm[0] > axis[-1]:
            raise SpectralAxisError(
                f"the spectra cover {nm[0]:g} to {nm[-1]:g} nm, the calibration {axis[0]:g} to {axis[-1]:g} nm: they "
                "have no wavelength in common. Check the axis and its unit."
            )
        margin = self._step * _SAME
        inside = (nm >= axis[0] - margin) & (nm <= axis[-1] + margin)
        if not (finer or (missing | between).any()) or np.count_nonzero(inside) < 2:
            return _Plan(everywhere, pairs, missing, _resampling(axis, nm, finer), None)
        places = nm[inside]
        at_places = _resampling(places, axis, finer=False)
        loadings = _resampled(self.loadings.astype(np.float64), axis, at_places)
        squares, rotation = np.linalg.eigh(loadings @ loadings.T)
        model = _Model(
            _resampled(self.mean[np.newaxis], axis, at_places)[0],
            rotation.T @ loadings,
            np.asarray(squares, dtype=np.float64).clip(0.0),
            rotation.T @ self.loadings,
            self.residual * _POINTS_PER_RESIDUAL,
        )
        return _Plan(inside, pairs, missing, _resampling(axis, places, finer), model)


def fill_missing(values: NDArray[Any], wavelengths: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return spectra (n, L) with their NaN imputed, and their axis.

    `wavelengths` (L,) are in nm, ascending. Wavelengths missing in more than half of the spectra
    are left out.
    """
    alignment, (filled,) = Alignment.fit([Spectra(values, wavelengths)])
    return filled.values, alignment.wavelengths


def whole_blocks(blocks: Sequence[Spectra]) -> list[Spectra]:
    """Return blocks without NaN; each row with missing points becomes a block on its own axis."""
    whole: list[Spectra] = []
    for block in blocks:
        missing = np.isnan(block.values)
        if not missing.any():
            whole.append(block)
            continue
        for row, absent in zip(block.values, missing, strict=True):
            whole.append(Spectra(row[np.newaxis, ~absent], block.wavelengths[~absent]))
    return whole


def _common_axis(blocks: Sequence[Spectra]) -> NDArray[np.float64]:
    """Return the axis of a typical spectrum, cut at the ends that nine in ten spectra reach."""
    axes = [block.wavelengths for block in blocks]
    weights = np.array([len(block) for block in blocks])
    ends = np.array([(axis[0], axis[-1]) for axis in axes])
    low = _weighted_quantile(ends[:, 0], weights, _COVERED)
    high = _weighted_quantile(ends[:, 1], weights, 1.0 - _COVERED)
    if low > high:
        raise SpectralAxisError(
            f"the spectra have no range in common: nine in ten begin by {low:g} nm, and one in ten ends by {high:g} "
            "nm. Fit on spectra of one kind, or set align=False to embed each on its own range."
        )
    # The axis with the median number of points in the range; among equals, the closest to both
    # ends.
    counts = np.array([np.count_nonzero((axis >= low) & (axis <= high)) for axis in axes])
    middle = _weighted_quantile(counts, weights, 0.5)
    short = np.abs(ends - [low, high]).sum(axis=1)
    best = min(range(len(axes)), key=lambda i: (counts[i] == 0, abs(counts[i] - middle), short[i]))
    axis = axes[best]
    return axis[(axis >= low) & (axis <= high)]


def _weighted_quantile(values: NDArray[Any], weights: NDArray[np.intp], share: float) -> float:
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, share * reached[-1] - 1e-9).clip(0, len(order) - 1)])


def _typical_step(axis: NDArray[np.float64]) -> float:
    return float(np.median(np.diff(axis))) if axis.size > 1 else 1.0


def _steps(axis: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance from each point to its nearest neighbour."""
    if axis.size == 1:
        return np.ones(1)
    gaps = np.diff(axis)
    return np.minimum(np.r_[gaps[0], gaps], np.r_[gaps, gaps[-1]])


def _nearest(
    axis: NDArray[np.float64], nm: NDArray[np.float64], tolerance: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return the point of another axis nearest to each point, and whether both coincide."""
    behind = np.searchsorted(nm, axis).clip(0, nm.size - 1)
    before = (behind - 1).clip(0)
    near = np.where(np.abs(nm[before] - axis) < np.abs(nm[behind] - axis), before, behind)
    return near, np.abs(nm[near] - axis) <= tolerance


def _resampling(to: NDArray[np.float64], nm: NDArray[np.float64], finer: bool) -> _Resampling:
    """Return the resampling from `nm` to `to`: cubic, or means over cells if `finer`."""
    if finer and to.size > 1:
        middles = (to[1:] + to[:-1]) / 2
        edges = np.r_[to[0] - (middles[0] - to[0]), middles, to[-1] + (to[-1] - middles[-1])]
        return _Resampling(None, None, edges.clip(nm[0], nm[-1]))
    if nm.size < 4:
        return _straight(to, nm)
    first = (np.searchsorted(nm, to, side="right") - 2).clip(0, nm.size - 4)
    # No extrapolation: the last value holds beyond the ends.
    place = to.clip(nm[0], nm[-1])
    a, b, c, d = (nm[first + k] for k in range(4))
    ab, bc, cd = b - a, c - b, d - c
    ta, tb, tc, td = place - a, place - b, place - c, place - d
    weights = np.stack(
        [
            tb * tc * td / (-ab * (ab + bc) * (ab + bc + cd)),
            ta * tc * td / (ab * bc * (bc + cd)),
            ta * tb * td / (-(ab + bc) * bc * cd),
            ta * tb * tc / ((ab + bc + cd) * (bc + cd) * cd),
        ],
        axis=1,
    )
    index = first[:, np.newaxis] + np.arange(4)
    # A cubic oscillates if its four points are uneven, as beside a gap: linear there.
    uneven = np.maximum(np.maximum(ab, bc), cd) > _GAP * np.minimum(np.minimum(ab, bc), cd)
    if uneven.any():
        line = _straight(to[uneven], nm)
        assert line.columns is not None
        index[uneven, :2], index[uneven, 2:] = line.columns, line.columns
        weights[uneven, :2], weights[uneven, 2:] = line.weights, 0.0
    return _Resampling(index, weights, None)


def _straight(to: NDArray[np.float64], nm: NDArray[np.float64]) -> _Resampling:
    if nm.size == 1:
        return _Resampling(np.zeros((to.size, 1), dtype=np.intp), np.ones((to.size, 1)), None)
    left = (np.searchsorted(nm, to, side="right") - 1).clip(0, nm.size - 2)
    share = ((to - nm[left]) / (nm[left + 1] - nm[left])).clip(0.0, 1.0)
    return _Resampling(np.stack([left, left + 1], axis=1), np.stack([1.0 - share, share], axis=1), None)


def _resampled(x: NDArray[np.float64], nm: NDArray[np.float64], how: _Resampling) -> NDArray[np.float64]:
    """Resample rows (n, l); return (n, L)."""
    if how.edges is None:
        assert how.columns is not None
        assert how.weights is not None
        out = x[:, how.columns[:, 0]] * how.weights[:, 0]
        for j in range(1, how.columns.shape[1]):
            out += x[:, how.columns[:, j]] * how.weights[:, j]
        return out
    # Cell means of the piecewise linear spectrum: differences of its integral.
    gap = np.diff(nm)
    area = np.zeros(x.shape)
    np.cumsum((x[:, 1:] + x[:, :-1]) * (gap / 2), axis=1, out=area[:, 1:])
    edges = how.edges
    left = (np.searchsorted(nm, edges, side="right") - 1).clip(0, nm.size - 2)
    offset = edges - nm[left]
    slope = (x[:, left + 1] - x[:, left]) / gap[left]
    integral = area[:, left] + offset * (x[:, left] + offset * slope / 2)
    width = np.diff(edges)
    covered = width > 0
    out = np.diff(integral, axis=1)
    out[:, covered] /= width[covered]
    if not covered.all():
        # Cells beyond the ends take the end value.
        ends = np.where((edges[1:] + edges[:-1])[~covered] / 2 <= nm[0], 0, nm.size - 1)
        out[:, ~covered] = x[:, ends]
    return out
