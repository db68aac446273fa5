"""Embedding with a checkpoint, with optional cache."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..encoder.checkpoint import Checkpoint
from ..spectra.data import Spectra
from .cache import embed_once


def encode(
    checkpoint: Checkpoint,
    blocks: Sequence[Spectra],
    readout: str,
    *,
    batch_size: int,
    device: str,
    cache: bool | str | os.PathLike[str] = False,
) -> NDArray[np.float32]:
    """Embed blocks of spectra with the encoder of a checkpoint, (n_spectra, n_columns).

    Parameters
    ----------
    checkpoint : Checkpoint
    blocks : sequence of Spectra
        Blocks with one 1-D grid each.
    readout, batch_size, device, cache : as in `SpectralEmbedder`
    """
    from .inference import embed, resolve_device

    device = resolve_device(device)
    run = partial(embed, checkpoint.encoder, readout=readout, batch_size=batch_size, device=device)
    if cache is False:
        return run(blocks)
    import torch

    from ..version import __version__

    # Rounding differs between devices and releases, and a cache folder may outlive a release.
    made_by = f"{checkpoint.sha256} {readout} {device.partition(':')[0]} {__version__} {torch.__version__}"
    return embed_once(blocks, made_by, checkpoint.encoder.width(readout), run, cache)
