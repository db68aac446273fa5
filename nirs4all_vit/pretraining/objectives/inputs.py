"""What an objective computes its loss from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ...encoder import SpectralPerceiver
from ..data.batch import SpectralBatch
from ..data.multi import MultiSpectralDataset
from ..draw import Draw


@dataclass(frozen=True)
class Source:
    """What an objective prepares its inputs from, on the CPU, possibly in a worker.

    Attributes
    ----------
    batch : SpectralBatch
        Clean spectra.
    draw : Draw
        Randomness of this micro-batch and objective.
    data : MultiSpectralDataset
        Where the batch comes from, for second views.
    augment : callable
        ``augment(batch, draw)``; the recipe's augmentation.
    """

    batch: SpectralBatch
    draw: Draw
    data: MultiSpectralDataset
    augment: Any


@dataclass(frozen=True)
class Inputs:
    """Prepared tensors of one objective.

    Attributes
    ----------
    views : list of SpectralBatch
        What the encoder is shown.
    tensors : dict of str to Tensor
        Masks, targets and the like.
    metadata : list (by view) of list of dict, or None
        What is known of each spectrum, where the encoder takes it.
    progress : float
        Share of the run that is done, 0 to 1.
    """

    views: list[SpectralBatch]
    tensors: dict[str, Tensor] = field(default_factory=dict)
    metadata: Sequence[Sequence[Mapping[str, Any]]] | None = None
    progress: float = 0.0

    def encode(self, encoder: SpectralPerceiver, view: int = 0, visible: Tensor | None = None) -> Tensor:
        """Return the latents that have read a view."""
        batch = self.views[view]
        metadata = None if self.metadata is None else self.metadata[view]
        return encoder.encode(batch.spectra, batch.grid(), visible=visible, metadata=metadata)

    def embed(self, encoder: SpectralPerceiver, readout: str, view: int = 0) -> Tensor:
        """Read a view out of the encoder."""
        batch = self.views[view]
        metadata = None if self.metadata is None else self.metadata[view]
        return encoder(batch.spectra, batch.grid(), readout=readout, metadata=metadata)
