"""Gradients through the frozen encoder."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..embedder import SpectralEmbedder
from ..spectra.data import Spectra

#: Spectra at a time: a gradient keeps what every layer computed.
_ROWS = 64


def input_gradients(embedder: SpectralEmbedder, block: Spectra, weights: NDArray[Any]) -> NDArray[np.float64]:
    """Return the gradient of a weighted sum of an embedding's columns with respect to the signal.

    Parameters
    ----------
    embedder : SpectralEmbedder
        Fitted.
    block : Spectra
        (n, L) on one axis.
    weights : ndarray of shape (n_columns,)
        Of the columns as `transform` returns them.

    Returns
    -------
    ndarray of shape (n, L)
    """
    import torch

    from ..encoder import Grid

    encoder: Any = embedder.encoder_
    # What takes weight from directions is symmetric: it acts on weights as on rows.
    weights = np.array(weights, dtype=np.float64)
    if embedder.robust:
        embedder.glsw_.apply(weights[np.newaxis])
    grid = Grid.from_wavelengths(torch.from_numpy(block.wavelengths))
    gradients = []
    for start in range(0, len(block), _ROWS):
        x = torch.from_numpy(np.array(block.values[start : start + _ROWS])).requires_grad_(True)
        embedded = encoder(x, grid, readout=embedder.readout)
        direction = torch.from_numpy(weights * embedder.column_weighting_.slope(embedded.detach().double().numpy()))
        (slope,) = torch.autograd.grad((embedded.double() * direction).sum(), x)
        gradients.append(slope.double().numpy())
    return np.concatenate(gradients)
