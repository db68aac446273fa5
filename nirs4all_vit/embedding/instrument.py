"""Unsupervised calibration transfer: adapts embeddings of a second instrument to the calibration."""

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

#: Number of principal components of the calibration embeddings in which a shift may come from the samples.
_N_COMPONENTS = 20
#: Maximum number of calibration spectra for the components.
_MAX_SPECTRA = 300
#: Prior variance of sample differences within a component, relative to the calibration's (research log, section 27).
_OF_THE_SAMPLES = 0.5
#: Prior weight of the calibration's variance of a component, in spectra.
_PRIOR = 10.0
#: Smallest number of spectra for estimating the mean of an instrument.
FEWEST = 5
#: Limits of the squared shift outside the components: relative to its expectation from sampling, and relative to the
#: shift of one half of the calibration outside the components of the other (research log, section 27).
_SIGNIFICANT, _EXTRAPOLATED = 3.5, 0.7
#: Up to this multiple of the limit the difference may come from the samples.
_DOUBTFUL = 3.0
#: Number of components along which the calibration is split into halves.
_N_HALVINGS = 3
_ROWS = 16


@dataclass(frozen=True, eq=False)
class CalibrationSpace:
    """Mean and principal components of the embeddings of calibration spectra.

    Attributes
    ----------
    mean : ndarray of shape (n_columns,), float32
    components : ndarray of shape (n_components, n_columns), float16
        Principal components, orthonormal up to rounding.
    variances : ndarray of shape (n_components,), float64
        Variances of the scores.
    n_spectra : int
        Number of calibration spectra.
    extrapolation : float
        Largest significance (see `InstrumentShift`) of one half of the calibration relative to the other, split along
        the first components. It measures the shift of samples outside the calibration range.
    spectra : CalibrationSpace, or None
        Space of the spectra, if they are appended to the embeddings.
    """

    mean: NDArray[np.float32]
    components: NDArray[np.float16]
    variances: NDArray[np.float64]
    n_spectra: int
    extrapolation: float = 0.0
    spectra: CalibrationSpace | None = None

    @classmethod
    def fit(cls, embedded: NDArray[np.float32], width: int | None = None) -> Self:
        """Fit the space to weighted embeddings (n, n_columns); columns from `width` on are spectra."""
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
    """Correction of the embeddings of a second instrument.

    Attributes
    ----------
    shift : ndarray of shape (n_columns,), float32
        Difference of the instruments.
    components : ndarray of shape (n_components, n_columns), float32
        Components with larger variance on the second instrument than in the calibration.
    centre, loss : ndarray of shape (n_components,), float32
        Mean score in each component, and the share removed of the distance from it.
    significance : float
        Squared difference outside the calibration's components, relative to its expectation from sampling.
    limit : float
        Significance above which the difference is attributed to the instrument.
    spectra : InstrumentShift, or None
        Correction of the spectra, if they are appended to the embeddings.
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

        The samples differ from the calibration samples and may come from another population. Differences outside the
        calibration's components are attributed to the instrument. Within a component the difference is shrunk,
        because differences that are small relative to the calibration's variance may come from the samples. Scores
        that vary more than in the calibration are scaled back to its standard deviation.

        Parameters
        ----------
        space : CalibrationSpace
            Space of the calibration embeddings.
        embedded : ndarray of shape (n, n_columns)
            Embeddings of five spectra or more.
        """
        if space.spectra is not None:
            width = len(space.mean)
            alone = replace(space, spectra=None)
            return replace(cls.fit(alone, embedded[:, :width]), spectra=cls.fit(space.spectra, embedded[:, width:]))
        Z = embedded.astype(np.float64)
        # Components stored in half precision are no longer exactly orthonormal.
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
        """Whether the difference exceeds the limit, which indicates another instrument."""
        return self.significance > self.limit

    @property
    def is_doubtful(self) -> bool:
        """Whether samples unlike the calibration's could also explain the difference."""
        return self.significance < _DOUBTFUL * self.limit

    def apply(self, embedded: NDArray[Any]) -> NDArray[Any]:
        """Correct rows (n, n_columns) in place and return them; rows do not affect each other."""
        if self.spectra is not None:
            self.spectra.apply(embedded[:, len(self.shift) :])
        for start in range(0, len(embedded), _ROWS):
            rows = embedded[start : start + _ROWS, : len(self.shift)]
            rows -= self.shift
            self._damp(rows, self.centre)
        return embedded

    def transpose(self, weights: NDArray[Any]) -> NDArray[Any]:
        """Convert weights (n, n_columns) on the output of `apply` to its input, in place; returns them."""
        self._damp(weights, 0.0)
        return weights

    def _damp(self, rows: NDArray[Any], centre: NDArray[np.float32] | float) -> None:
        excess = (np.einsum("ij,kj->ik", rows, self.components) - centre) * self.loss
        for k, component in enumerate(self.components):
            rows -= excess[:, k, None] * component


def _significance(kernel: NDArray[np.float64], order: NDArray[np.intp]) -> float:
    """Return the significance of the second half of `order` outside the components of the first half.

    `kernel` (n, n) holds the inner products of all rows.
    """
    a, b = order[: len(order) // 2], order[len(order) // 2 :]
    # All kernels are centred at the mean of the first half.
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
    """Spectra of a second instrument, and the shift computed for each fitted embedder."""

    X: Any
    wavelengths: Any
    shifts: dict[int, tuple[Any, InstrumentShift | None]] = field(default_factory=dict)


_SECOND_INSTRUMENT: ContextVar[_SecondInstrument | None] = ContextVar("second_instrument", default=None)


@contextmanager
def second_instrument(X: Any, *, wavelengths: Any = None) -> Iterator[None]:
    """Adapt every `SpectralEmbedder` used within the ``with`` block to a second instrument.

    Use it for models whose embedder is not accessible, such as ``nirs4all.predict`` on a ``.n4a`` file or a pipeline
    within a search. It applies to the current thread and process and ends with the block. The adaptation is that of
    `SpectralEmbedder.adapt_to`.

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
    """Return the shift in force for a fitted embedder, by `second_instrument` or else by its `adapt_to`."""
    current = _SECOND_INSTRUMENT.get()
    if current is None:
        return embedder.instrument_shift_
    # Every fit creates a new calibration space, so its identity is the key.
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
        A fitted pipeline with a `SpectralEmbedder`, a search over such pipelines, or an estimator that holds them as
        attributes or in lists.
    X, wavelengths : as in `SpectralEmbedder.adapt_to`

    Returns
    -------
    estimator
        Adapted copy; `model` is unchanged.

    Raises
    ------
    ValueError
        The model contains no fitted embedder, or there are too few spectra.
    """
    model = copy.deepcopy(model)
    embedders = list(_embedders(model, set()))
    if not embedders:
        raise ValueError(f"{type(model).__name__} holds no fitted SpectralEmbedder and cannot be adapted.")
    for embedder in embedders:
        embedder.adapt_to(X, wavelengths=wavelengths)
    return model


def _embedders(thing: Any, seen: set[int]) -> Iterator[Any]:
    """Yield the fitted embedders in an estimator at any depth."""
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
