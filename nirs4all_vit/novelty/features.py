"""What tells strange spectra: the embedding, and what it is made to ignore."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..checkpoint import Checkpoint
from ..inference import embed
from ..spectra import Spectra

#: Columns beside the embedding.
N_SIGNAL = 5


def novelty_features(checkpoint: Checkpoint, blocks: Sequence[Spectra], device: str) -> NDArray[np.float32]:
    """Return local contrast (``compact`` of encoders without), and five numbers on the signal itself, (n, n_columns + 5).

    The encoder normalises each spectrum and reads means of neighbouring points: level and size, by which units and
    modes differ, and single channels that are off are told here.
    """
    readout = "contrast" if checkpoint.encoder.contrast is not None else "compact"
    embedded = embed(checkpoint.encoder, blocks, readout, device=device)
    return np.hstack([embedded, np.concatenate([_signal(block.values) for block in blocks])])


def _signal(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return level, size, extremes, and how much the largest kink stands out, of spectra (n, L), as logarithms."""
    X = values.astype(np.float64)
    deviation, kink = X.std(axis=1), np.zeros(len(X))
    if X.shape[1] > 2:
        # Relative to the usual one: sampling and noise make both larger.
        kinks = np.abs(X[:, 1:-1] - (X[:, 2:] + X[:, :-2]) / 2)
        floor = 1e-7 * deviation + 1e-30
        kink = np.log((kinks.max(axis=1) + floor) / (np.median(kinks, axis=1) + floor))
    columns = [_log(X.mean(axis=1)), np.log(deviation + 1e-12), _log(X.min(axis=1)), _log(X.max(axis=1)), kink]
    return np.stack(columns, axis=1).astype(np.float32)


def _log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Straight near zero, logarithmic far from it, with the sign; absorbances of 0.1 lie between."""
    return np.sign(values) * np.log1p(10.0 * np.abs(values))
