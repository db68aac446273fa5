"""Embeddings of a second instrument, brought to those of the calibration by unlabelled spectra alone."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..spectra.data import spread_rows

#: Principal components of the calibration's embeddings within which a shift may be one of the samples, not of the instrument.
_N_COMPONENTS = 20
#: Calibration spectra that the components are made of, at most.
_MAX_SPECTRA = 300
#: Within a component, the variance of what samples may differ by, in units of the calibration's (research log, section 27).
_OF_THE_SAMPLES = 0.5
#: Spectra that the variance of a component counts as, before the second instrument's are looked at.
_PRIOR = 10.0
#: Fewer spectra do not tell the mean of an instrument.
FEWEST = 5
#: Squared shift beside the components, in units of what sampling alone gives, from which on there is another instrument; and the same
#: in units of what one half of the calibration has beside the components of the other (research log, section 27).
_SIGNIFICANT, _EXTRAPOLATED = 3.5, 0.7
#: Up to so many times these limits the difference may be one of the samples.
_DOUBTFUL = 3.0
#: Components along which the calibration is halved.
_N_HALVINGS = 3
_ROWS = 16


@dataclass(frozen=True, eq=False)
class CalibrationSpace:
    """Mean and principal components of the embeddings of calibration spectra.

    Attributes
    ----------
    mean : ndarray of shape (n_columns,), float32
    components : ndarray of shape (n_components, n_columns), float16
        Orthonormal up to the rounding.
    variances : ndarray of shape (n_components,), float64
        Of the scores.
    n_spectra : int
    extrapolation : float
        Largest significance (see `InstrumentShift`) of one half of the calibration beside the other, halved along its first components:
        what samples do that lie outside of a calibration.
    spectra : CalibrationSpace, or None
        The same of the spectra, where they stand behind the embeddings.
    """

    mean: NDArray[np.float32]
    components: NDArray[np.float16]
    variances: NDArray[np.float64]
    n_spectra: int
    extrapolation: float = 0.0
    spectra: CalibrationSpace | None = None

    @classmethod
    def fit(cls, embedded: NDArray[np.float32], width: int | None = None) -> Self:
        """Look at the embeddings (n, n_columns) of the calibration spectra, columns weighted; behind the first `width` stand spectra."""
        if width is not None and width < embedded.shape[1]:
            return replace(cls.fit(embedded[:, :width]), spectra=cls.fit(embedded[:, width:]))
        n, n_columns = embedded.shape
        mean = embedded.mean(axis=0, dtype=np.float64).astype(np.float32)
        rows = spread_rows(n, _MAX_SPECTRA)
        centred = embedded[rows] - mean
        kernel = (centred @ centred.T).astype(np.float64)
        squares, vectors = np.linalg.eigh(kernel)
        orders = [np.argsort(vectors[:, -1 - j], kind="stable") for j in range(min(_N_HALVINGS, len(rows) - 1))]
        halves = [half for order in orders for half in (order, order[::-1])] if len(rows) >= 4 * FEWEST else []
        extrapolation = max((_significance(kernel, half) for half in halves), default=0.0)
        squares, vectors = squares[::-1][:_N_COMPONENTS], vectors[:, ::-1][:, :_N_COMPONENTS]
        varied = squares > 1e-6 * max(float(squares[0]), 1e-300)
        components = (vectors[:, varied] / np.sqrt(squares[varied])).T @ centred
        variances = squares[varied] / max(len(rows) - 1, 1)
        return cls(mean, components.reshape(-1, n_columns).astype(np.float16), variances, n, extrapolation)


@dataclass(frozen=True, eq=False)
class InstrumentShift:
    """What is taken from embeddings of a second instrument.

    Attributes
    ----------
    shift : ndarray of shape (n_columns,), float32
        Difference of the instruments.
    components : ndarray of shape (n_components, n_columns), float32
        In which embeddings of the second instrument vary more than those of the calibration.
    centre, loss : ndarray of shape (n_components,), float32
        Mean score there, and the share of the distance from it that is taken.
    significance : float
        Squared difference beside the calibration's components, over what sampling alone gives.
    limit : float
        From which on it is one of instruments.
    spectra : InstrumentShift, or None
        The same of the spectra, where they stand behind the embeddings.
    """

    shift: NDArray[np.float32]
    components: NDArray[np.float32]
    centre: NDArray[np.float32]
    loss: NDArray[np.float32]
    significance: float
    limit: float = _SIGNIFICANT
    spectra: InstrumentShift | None = None

    @classmethod
    def fit(cls, space: CalibrationSpace, embedded: NDArray[np.float32]) -> Self:
        """Compare embeddings (n, n_columns) of a second instrument with those of the calibration.

        The samples are others than the calibration's, and perhaps of another population. What differs beside the calibration's
        components is the instrument. Within a component the difference is shrunk: what is not large beside the calibration's
        variance may be the samples'. Where scores vary more than the calibration's, their deviation is
        brought back to it.

        Parameters
        ----------
        space : CalibrationSpace
        embedded : ndarray of shape (n, n_columns)
            Five spectra or more.
        """
        if space.spectra is not None:
            width = len(space.mean)
            alone = replace(space, spectra=None)
            return replace(cls.fit(alone, embedded[:, :width]), spectra=cls.fit(space.spectra, embedded[:, width:]))
        Z = embedded.astype(np.float64)
        # Rounded to half precision they are orthonormal no more.
        basis = np.linalg.qr(space.components.astype(np.float64).T)[0].T
        n, mean = len(Z), Z.mean(axis=0)
        difference = mean - space.mean
        within = basis @ difference
        beside = difference - within @ basis
        centred = Z - mean
        scores = centred @ basis.T
        residual = float(np.square(centred - scores @ basis).sum()) / (n - 1)
        expected = residual * (1.0 / n + 1.0 / space.n_spectra)
        significance = float(np.square(beside).sum()) / max(expected, 1e-300)
        within *= np.square(within) / (np.square(within) + _OF_THE_SAMPLES * space.variances)
        shift = beside + within @ basis
        ratio = np.square(scores).sum(axis=0) / (n - 1) / space.variances
        ratio = (n * ratio + _PRIOR) / (n + _PRIOR)
        wide = ratio > 1.0
        centre = basis[wide] @ (mean - shift)
        return cls(
            shift.astype(np.float32),
            basis[wide].astype(np.float32),
            centre.astype(np.float32),
            (1.0 - ratio[wide] ** -0.5).astype(np.float32),
            significance,
            max(_SIGNIFICANT, _EXTRAPOLATED * space.extrapolation),
        )

    @property
    def is_significant(self) -> bool:
        """Tell whether the spectra are of another instrument than the calibration's, as far as they say it."""
        return self.significance > self.limit

    @property
    def is_doubtful(self) -> bool:
        """Tell whether samples unlike the calibration's might explain the difference, too."""
        return self.significance < _DOUBTFUL * self.limit

    def apply(self, embedded: NDArray[Any]) -> NDArray[Any]:
        """Take it from rows (n, n_columns), in place; returns them. A row's numbers do not depend on its company."""
        if self.spectra is not None:
            self.spectra.apply(embedded[:, len(self.shift) :])
        for start in range(0, len(embedded), _ROWS):
            rows = embedded[start : start + _ROWS, : len(self.shift)]
            rows -= self.shift
            self._damp(rows, self.centre)
        return embedded

    def transpose(self, weights: NDArray[Any]) -> NDArray[Any]:
        """Turn weights (n, n_columns) of the columns as `apply` gives them into weights of those it takes, in place; returns them."""
        self._damp(weights, 0.0)
        return weights

    def _damp(self, rows: NDArray[Any], centre: NDArray[np.float32] | float) -> None:
        excess = (np.einsum("ij,kj->ik", rows, self.components) - centre) * self.loss
        for k, component in enumerate(self.components):
            rows -= excess[:, k, None] * component


def _significance(kernel: NDArray[np.float64], order: NDArray[np.intp]) -> float:
    """Return the significance of the second half of some rows beside the components of the first, from the kernel (n, n) of all."""
    a, b = order[: len(order) // 2], order[len(order) // 2 :]
    # Everything relative to the mean of the first half.
    within = kernel[np.ix_(a, a)]
    to_mean, own = kernel[:, a].mean(axis=1), float(within.mean())
    first = within - to_mean[a][:, None] - to_mean[a] + own
    across = kernel[np.ix_(b, a)] - to_mean[b][:, None] - to_mean[a] + own
    second = kernel[np.ix_(b, b)] - to_mean[b][:, None] - to_mean[b] + own
    squares, vectors = np.linalg.eigh(first)
    squares, vectors = squares[::-1][:_N_COMPONENTS], vectors[:, ::-1][:, :_N_COMPONENTS]
    varied = squares > 1e-6 * max(float(squares[0]), 1e-300)
    scores = across @ vectors[:, varied] / np.sqrt(squares[varied])
    mean = scores.mean(axis=0)
    beside = float(second.mean()) - float(mean @ mean)
    left = float(np.trace(second)) - len(b) * float(second.mean()) - float(np.square(scores - mean).sum())
    expected = max(left, 0.0) / (len(b) - 1) * (1.0 / len(b) + 1.0 / len(a))
    return beside / expected if expected > 0 else 0.0


@dataclass
class _SecondInstrument:
    """Spectra of a second instrument, and what they make of each fit of an embedder that meets them."""

    X: Any
    wavelengths: Any
    shifts: dict[int, tuple[Any, InstrumentShift | None]] = field(default_factory=dict)


_SECOND_INSTRUMENT: ContextVar[_SecondInstrument | None] = ContextVar("second_instrument", default=None)


@contextmanager
def second_instrument(X: Any, *, wavelengths: Any = None) -> Iterator[None]:
    """Adapt every `SpectralEmbedder` that transforms within the ``with`` block to a second instrument, and none afterwards.

    For models whose embedder is out of reach: ``nirs4all.predict`` of a ``.n4a`` file, or a pipeline within a search. It
    holds in this thread and process. The same as `SpectralEmbedder.adapt_to` otherwise.

    Parameters
    ----------
    X, wavelengths : as in `SpectralEmbedder.adapt_to`

    Examples
    --------
    >>> with second_instrument(X_portable, wavelengths=nm):  # doctest: +SKIP
    ...     nirs4all.predict("wheat.n4a", new_spectra)
    """
    current = _SecondInstrument(X, wavelengths)
    token = _SECOND_INSTRUMENT.set(current)
    try:
        yield
        if not current.shifts:
            warnings.warn(
                "no SpectralEmbedder transformed anything within second_instrument(): nothing was adapted.",
                UserWarning,
                stacklevel=3,
            )
    finally:
        _SECOND_INSTRUMENT.reset(token)


def shift_in_force(embedder: Any) -> InstrumentShift | None:
    """Return what a fitted embedder takes from embeddings: by `second_instrument`, else by its own `adapt_to`."""
    current = _SECOND_INSTRUMENT.get()
    if current is None:
        return embedder.instrument_shift_
    # A new fit makes a new one.
    space = embedder.calibration_space_
    if id(space) not in current.shifts:
        adapted = copy.copy(embedder).adapt_to(current.X, wavelengths=current.wavelengths)
        current.shifts[id(space)] = space, adapted.instrument_shift_
    return current.shifts[id(space)][1]


def adapt_to(model: Any, X: Any, *, wavelengths: Any = None) -> Any:
    """Return a copy of a fitted model whose embedders are adapted to a second instrument.

    Parameters
    ----------
    model : estimator
        A fitted pipeline with a `SpectralEmbedder` in it, a search over such pipelines, or anything that holds them as attributes
        or in lists.
    X, wavelengths : as in `SpectralEmbedder.adapt_to`

    Returns
    -------
    estimator
        `model` itself stays as it is.

    Raises
    ------
    ValueError
        There is no fitted embedder in the model, or too few spectra.
    """
    model = copy.deepcopy(model)
    embedders = list(_embedders(model, set()))
    if not embedders:
        raise ValueError(f"{type(model).__name__} holds no fitted SpectralEmbedder: what has none cannot be adapted.")
    for embedder in embedders:
        embedder.adapt_to(X, wavelengths=wavelengths)
    return model


def _embedders(thing: Any, seen: set[int]) -> Iterator[Any]:
    """Yield the fitted embedders in an estimator, however deep."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if hasattr(thing, "calibration_space_"):
        yield thing
    elif isinstance(thing, (list, tuple)):
        for part in thing:
            yield from _embedders(part, seen)
    elif hasattr(thing, "get_params"):
        for part in vars(thing).values():
            yield from _embedders(part, seen)
