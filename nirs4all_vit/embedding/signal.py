"""What tells strange spectra: the embedding, and what it is made to ignore."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..encoder.checkpoint import Checkpoint
from ..spectra.data import Spectra
from .inference import embed

#: Numbers on the signal: level, size, least and greatest value; the largest kink and the longest flat run.
N_SIGNAL = 6
#: Neighbours that differ by less than this share of the largest value are equal: what float32 and a change of units leave.
_EQUAL = 1e-6
#: Flat stretches below this share of the range are none.
_SHORTEST = 1e-3
_LARGEST = 1e100


def novelty_features(checkpoint: Checkpoint, blocks: Sequence[Spectra], device: str) -> NDArray[np.float32]:
    """Return local contrast (``compact`` of encoders of points), and six numbers on the signal itself, (n, n_columns + 6).

    The encoder normalises each spectrum and reads means of neighbouring points: level and size, by which units and
    modes differ, and single channels that are off are told here.
    """
    readout = checkpoint.encoder.readouts()[0]
    embedded = embed(checkpoint.encoder, blocks, readout, device=device)
    return np.hstack([embedded, np.concatenate([signal_numbers(block.values) for block in blocks])])


def signal_numbers(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return level, size, extremes, how much the largest kink stands out and how long the longest flat run is, of spectra (n, L), as logarithms."""
    # Squares of what is larger would overflow; it is strange enough.
    X = values.astype(np.float64).clip(-_LARGEST, _LARGEST)
    n_points = X.shape[1]
    deviation, kink = X.std(axis=1), np.zeros(len(X))
    if n_points > 2:
        # Relative to the usual one: sampling and noise make both larger.
        kinks = np.abs(X[:, 1:-1] - (X[:, 2:] + X[:, :-2]) / 2)
        floor = 1e-7 * deviation + 1e-30
        kink = np.log((kinks.max(axis=1) + floor) / (np.median(kinks, axis=1) + floor))
    flat = np.log((_longest_flat(X) - 1) / n_points + _SHORTEST)
    columns = [_log(X.mean(axis=1)), np.log(deviation + 1e-12), _log(X.min(axis=1)), _log(X.max(axis=1)), kink, flat]
    return np.stack(columns, axis=1).astype(np.float32)


def _longest_flat(X: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the number of points of the longest stretch whose neighbours are equal, 1 or more, (n,)."""
    edges = np.ones((len(X), X.shape[1] + 1), dtype=bool)
    edges[:, 1:-1] = np.abs(np.diff(X, axis=1)) > _EQUAL * np.abs(X).max(axis=1, keepdims=True)
    row, place = np.nonzero(edges)
    # From one edge to the next; the first edge of a row ends no stretch.
    length = np.where(np.diff(row, prepend=-1) == 0, np.diff(place, prepend=0), 0)
    longest = np.ones(len(X), dtype=np.int64)
    np.maximum.at(longest, row, length)
    return longest


def _log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Straight near zero, logarithmic far from it, with the sign; absorbances of 0.1 lie between."""
    return np.sign(values) * np.log1p(10.0 * np.abs(values))
