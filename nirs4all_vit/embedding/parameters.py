"""Validation of the parameters of `SpectralEmbedder`."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ..encoder.readouts import READOUTS


def check_parameters(embedder: Any) -> None:
    """Raise a ValueError that names the first invalid parameter of an embedder."""
    if embedder.readout not in READOUTS:
        raise ValueError(f"readout={embedder.readout!r} does not exist; use one of {', '.join(READOUTS)}.")
    size = embedder.batch_size
    if not isinstance(size, (int, np.integer)) or size < 1:
        raise ValueError(f"batch_size={size!r} must be a positive integer.")
    if embedder.on_outlier not in ("ignore", "warn", "raise"):
        raise ValueError(f"on_outlier={embedder.on_outlier!r} is not known; use 'ignore', 'warn' or 'raise'.")
    cache = embedder.cache
    if not isinstance(cache, bool) and not (isinstance(cache, (str, os.PathLike)) and str(cache)):
        raise ValueError(f"cache={cache!r} must be False, True (memory) or a folder.")
    if embedder.append_spectra and not embedder.align:
        raise ValueError("append_spectra=True needs align=True: spectra behind the embedding share one axis.")
    if not 0.0 <= embedder.max_filled <= 1.0:
        raise ValueError(f"max_filled={embedder.max_filled!r} must lie between 0 and 1.")
