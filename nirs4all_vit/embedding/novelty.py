"""Hotelling's T2 and Q residuals of embedded spectra and of signal statistics."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from ..encoder.checkpoint import Checkpoint
from ..errors import SpectralInputError
from ..spectra.data import Spectra, take_rows
from ..spectra.resolver import caller_level
from ..spectra.signal import living_rows
from .folds import shuffled_folds
from .inference import embed, resolve_device

#: Number of signal statistics: level, size, minimum, maximum, largest kink and longest flat run.
N_SIGNAL = 6
#: Neighbours count as equal below this difference relative to the largest value (rounding of float32 and units).
_EQUAL = 1e-6
#: Flat runs below this share of the range are ignored.
_SHORTEST = 1e-3
_LARGEST = 1e100
#: Maximum number of calibration spectra; more do not improve the limits.
_MOST = 1000
_N_FOLDS = 5
#: Batch size, in spectra.
_ROWS = 2000
#: Smallest number of samples, and samples per component, so that no component describes a single sample.
_FEWEST, _PER_COMPONENT = 10, 3
#: Weight of the signal statistics relative to the embedding.
_WEIGHT = 0.1


@dataclass(frozen=True, eq=False)
class NoveltyLimits:
    """Principal components of a calibration set, with limits of T2 and Q.

    Attributes
    ----------
    pca : sklearn.decomposition.PCA
        Principal components of the weighted features.
    weights : ndarray of shape (n_columns + 6,), float32
        Weights of the embedding columns and the signal statistics.
    t2_limit, q_limit : float
        Quantiles of T2 and Q of calibration spectra held out in five folds.
    """

    pca: PCA
    weights: NDArray[np.float32]
    t2_limit: float
    q_limit: float
    held_out: NDArray[np.float64]
    """T2 and Q of calibration spectra held out, (2, n_held_out)."""
    rows: NDArray[np.intp]
    """Rows of these spectra in the calibration set, (n_held_out,)."""

    @classmethod
    def fit(
        cls,
        checkpoint: Checkpoint,
        blocks: list[Spectra],
        device: str,
        *,
        codes: NDArray[np.intp] | None = None,
        n_components: int = 10,
        confidence: float = 0.95,
    ) -> Self:
        """Fit components and limits to calibration spectra.

        Parameters
        ----------
        checkpoint : Checkpoint
            Checkpoint of the encoder.
        blocks : list of Spectra
            Spectra of ten samples or more.
        device : str
            Torch device, or ``"auto"``.
        codes : ndarray of shape (n_spectra,), optional
            Physical sample of each spectrum; replicates are held out together.
        n_components : int
            Maximum number of components, capped at a third of the samples of a fold.
        confidence : float
            Expected share of similar spectra within both limits.

        Raises
        ------
        ValueError
            There are too few samples.
        """
        codes = np.arange(sum(map(len, blocks))) if codes is None else codes
        looked = np.arange(len(codes))
        living = living_rows(blocks)
        # Spectra without signal are excluded, so that they do not widen the limits.
        if len(living) < len(codes) and len(np.unique(codes[living])) >= _FEWEST:
            looked, blocks, codes = living, take_rows(blocks, living), codes[living]
        if len(codes) > _MOST:
            some = np.sort(np.random.default_rng(0).choice(len(codes), _MOST, replace=False))
            looked, blocks, codes = looked[some], take_rows(blocks, some), codes[some]
        n_samples = len(np.unique(codes))
        if n_samples < _FEWEST:
            raise ValueError(f"n_samples={n_samples}: at least {_FEWEST} samples are needed for outlier limits.")
        n = max(1, min(n_components, (n_samples - -(-n_samples // _N_FOLDS)) // _PER_COMPONENT))
        Z = novelty_features(checkpoint, blocks, resolve_device(device))
        n_embedded = Z.shape[1] - N_SIGNAL
        size = float(np.sqrt(np.square(Z[:, :n_embedded], dtype=np.float64).sum(axis=1).mean()))
        weights = np.r_[np.ones(n_embedded), np.full(N_SIGNAL, _WEIGHT * (size or 1.0))].astype(np.float32)
        Z = Z * weights
        held_out = np.empty((2, len(Z)))
        for inside, outside in shuffled_folds(_N_FOLDS, len(Z), codes).split(Z, groups=codes):
            held_out[:, outside] = _t2_and_q(_components(Z[inside], n), Z[outside])
        # Each of the two limits may reject half of the allowed share.
        share = (1.0 + confidence) / 2
        limits = (np.quantile(part, share, method="weibull") for part in held_out)
        t2_limit, q_limit = (max(float(limit), 1e-300) for limit in limits)
        return cls(_components(Z, n), weights, t2_limit, q_limit, held_out, looked)

    def measure(self, checkpoint: Checkpoint, blocks: list[Spectra], device: str) -> NDArray[np.float64]:
        """Return T2 and Q, (2, n_spectra)."""
        parts = []
        for block in blocks:
            for start in range(0, len(block), _ROWS):
                some = [Spectra(block.values[start : start + _ROWS], block.wavelengths)]
                features = novelty_features(checkpoint, some, resolve_device(device)) * self.weights
                parts.append(_t2_and_q(self.pca, features))
        return np.concatenate(parts, axis=1)

    def scores(self, measured: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return minus the logarithm of the larger of T2 and Q relative to their limits, (n_spectra,)."""
        limits = np.array([[self.t2_limit], [self.q_limit]])
        return -np.log(np.maximum(measured / limits, 1e-12)).max(axis=0)


def report_outliers(scores: NDArray[np.float64], on_outlier: str) -> None:
    """Warn of spectra with scores below 0, or raise `SpectralInputError` with ``on_outlier="raise"``."""
    strange = np.flatnonzero(~(scores >= 0))
    if not len(strange):
        return
    message = (
        f"{len(strange)} of {len(scores)} spectra are unlike those of the calibration set, first row {strange[0]}; "
        "check them before using their predictions. score_samples() gives their scores, SpectralNovelty their T2 and Q."
    )
    if on_outlier == "raise":
        raise SpectralInputError(message)
    warnings.warn(message, UserWarning, stacklevel=caller_level())


def novelty_features(checkpoint: Checkpoint, blocks: Sequence[Spectra], device: str) -> NDArray[np.float32]:
    """Return local contrast and six signal statistics of spectra, (n, n_columns + 6).

    Point-based encoders give ``compact`` instead of local contrast. The encoder normalises each spectrum and averages
    neighbouring points. The signal statistics detect differences in level and size, such as other units or modes, and
    single faulty channels.
    """
    readout = checkpoint.encoder.readouts()[0]
    # Metadata are omitted: only the spectra are compared.
    embedded = embed(checkpoint.encoder, [replace(b, metadata=None) for b in blocks], readout, device=device)
    return np.hstack([embedded, np.concatenate([signal_numbers(block.values) for block in blocks])])


def signal_numbers(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return logarithms of level, size, extremes, largest kink and longest flat run of spectra (n, L)."""
    # Squares of larger values would overflow; clipped values are still outliers.
    X = values.astype(np.float64).clip(-_LARGEST, _LARGEST)
    n_points = X.shape[1]
    deviation, kink = X.std(axis=1), np.zeros(len(X))
    if n_points > 2:
        # Relative to the median kink: sampling and noise increase both.
        kinks = np.abs(X[:, 1:-1] - (X[:, 2:] + X[:, :-2]) / 2)
        floor = 1e-7 * deviation + 1e-30
        kink = np.log((kinks.max(axis=1) + floor) / (np.median(kinks, axis=1) + floor))
    flat = np.log((_longest_flat(X) - 1) / n_points + _SHORTEST)
    columns = [_log(X.mean(axis=1)), np.log(deviation + 1e-12), _log(X.min(axis=1)), _log(X.max(axis=1)), kink, flat]
    return np.stack(columns, axis=1).astype(np.float32)


def _longest_flat(X: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the number of points of the longest run of equal neighbours, at least 1, (n,)."""
    edges = np.ones((len(X), X.shape[1] + 1), dtype=bool)
    edges[:, 1:-1] = np.abs(np.diff(X, axis=1)) > _EQUAL * np.abs(X).max(axis=1, keepdims=True)
    row, place = np.nonzero(edges)
    # Runs extend from one edge to the next; the first edge of a row ends no run.
    length = np.where(np.diff(row, prepend=-1) == 0, np.diff(place, prepend=0), 0)
    longest = np.ones(len(X), dtype=np.int64)
    np.maximum.at(longest, row, length)
    return longest


def _log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a signed logarithm, linear near zero; the transition is at 0.1 (absorbance units)."""
    return np.sign(values) * np.log1p(10.0 * np.abs(values))


def _components(Z: NDArray[np.float32], n: int) -> PCA:
    return PCA(n, svd_solver="randomized", random_state=0).fit(Z.astype(np.float64))


def _t2_and_q(pca: PCA, Z: NDArray[np.float32]) -> NDArray[np.float64]:
    centred = Z.astype(np.float64) - pca.mean_
    scores = centred @ pca.components_.T
    variance = np.maximum(pca.explained_variance_, 1e-12 * max(float(pca.explained_variance_.max()), 1e-300))
    residual = np.square(centred).sum(axis=1) - np.square(scores).sum(axis=1)
    return np.stack([(np.square(scores) / variance).sum(axis=1), residual.clip(min=0.0)])
