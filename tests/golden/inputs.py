"""Spectra that embeddings are kept of, and which of their numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nirs4all_vit import SpectralEmbedder
from nirs4all_vit.encoder.readouts import READOUTS

FOLDER = Path(__file__).parent

#: Columns kept of a read-out, evenly spread over all.
N_COLUMNS = 500


def shared_grid() -> tuple[np.ndarray, np.ndarray]:
    """Return 4 spectra (4, 300) of bands over a baseline, in absorbance, and their axis in nm."""
    nm = np.linspace(1000.0, 2500.0, 300)
    return np.stack([_spectrum(nm, k) for k in range(4)]), nm


def blocks() -> list[tuple[np.ndarray, np.ndarray]]:
    """Return spectra and axes: a common grid, and short, long, visible, uneven and descending ones."""
    rng = np.random.default_rng(0)
    axes = [
        np.linspace(1550.0, 1950.0, 125),
        np.linspace(780.0, 2500.0, 2100),
        np.arange(400.0, 1100.0, 2.0),
        np.sort(rng.uniform(900.0, 1700.0, 200)),
        1e7 / np.arange(4000.0, 10000.0, 8.0),
    ]
    return [shared_grid(), *((_spectrum(nm, k + 4)[None], nm) for k, nm in enumerate(axes))]


def embeddings(checkpoint: str) -> dict[str, np.ndarray]:
    """Return by read-out what is kept of the embeddings of `blocks`, (9, at most 500) float32."""
    found = {}
    for readout in READOUTS:
        rows = []
        for X, nm in blocks():
            embedder = SpectralEmbedder(checkpoint, readout=readout, adapt=False, wavelengths=nm, axis_unit="nm")
            rows.append(embedder.fit_transform(X))
        Z = np.concatenate(rows)
        found[readout] = Z[:, np.unique(np.linspace(0, Z.shape[1] - 1, N_COLUMNS).astype(int))]
    return found


def _spectrum(nm: np.ndarray, k: int) -> np.ndarray:
    rng = np.random.default_rng(k)
    bands = [
        np.exp(-0.5 * ((nm - c) / w) ** 2)
        for c, w in zip(rng.uniform(400, 2500, 12), rng.uniform(15, 80, 12), strict=True)
    ]
    return (
        rng.uniform(0.05, 0.6, 12) @ np.stack(bands) + rng.uniform(0.1, 0.8) + (nm - 1500.0) / 1e4 * rng.uniform(-1, 1)
    )
