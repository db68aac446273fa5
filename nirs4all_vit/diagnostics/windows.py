"""The windows that the encoder's latents read through."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..embedder import SpectralEmbedder
from ..spectra.data import to_nanometres


def attention_windows(
    embedder: SpectralEmbedder, wavelengths: ArrayLike, axis_unit: str = "auto"
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what share of each window falls on each wavelength.

    The weights of the encoder's cross-attention depend on the wavelengths alone, not on the spectra: this is where each latent
    looks, whatever it is shown. Local contrast, which stands beside the latents, looks everywhere alike.

    Parameters
    ----------
    embedder : SpectralEmbedder
        Its checkpoint is asked; it need not be fitted.
    wavelengths : array-like of shape (n_wavelengths,)
        Axis of the spectra.
    axis_unit : {"auto", "nm", "cm-1", "um"}, default="auto"

    Returns
    -------
    wavelengths : ndarray of shape (n_wavelengths,)
        In nm, ascending.
    weights : ndarray of shape (n_latents, n_windows, n_wavelengths)
        Those of a window sum to its coverage: 1 where the spectrum reaches under it, fading to 0 beyond the spectrum's range.

    Raises
    ------
    ValueError
        The encoder's attention depends on the spectra, too (``attention="content"``).
    """
    import torch

    from ..encoder import Grid
    from ..encoder.checkpoint import load_checkpoint

    encoder: Any = load_checkpoint(embedder.checkpoint).encoder
    nm = np.sort(to_nanometres(wavelengths, axis_unit))
    windows = encoder.windows(Grid.from_wavelengths(torch.from_numpy(nm)), torch.float64)
    if windows is None:
        raise ValueError(f"the windows of {embedder.checkpoint} depend on the spectra; there are none to show.")
    weights = windows.weights.reshape(*windows.coverage.shape, -1) * windows.coverage.unsqueeze(-1)
    return nm, weights.numpy()
