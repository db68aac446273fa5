"""What objectives compute their losses from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from ..encoder import SpectralPerceiver
from .data.batch import Draw, SpectralBatch
from .data.dataset import SpectralDataset


class Stream(Protocol):
    """Where micro-batches come from."""

    datasets: list[SpectralDataset]

    def measured_by(self, batch: SpectralBatch, partners: Sequence[SpectralDataset | None]) -> SpectralBatch:
        """Return the same samples, those of each episode by another instrument where it has a partner."""
        ...


@dataclass(frozen=True)
class Source:
    """What an objective prepares its inputs from: on the CPU, possibly in a worker, or on the device that trains.

    A batch of clean spectra, the randomness of this micro-batch and objective, the stream that the batch comes from
    (for second views), and the recipe's augmentation, ``augment(batch, draw)``.
    """

    batch: SpectralBatch
    draw: Draw
    data: Stream
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
    counts : tuple of int
        Episodes that each read-out is calibrated on, one after the other.
    metadata : list (by view) of list of dict, or None
        What is known of each spectrum, where the encoder takes it.
    progress : float
        Share of the run that is done, 0 to 1.
    """

    views: list[SpectralBatch]
    tensors: dict[str, Tensor] = field(default_factory=dict)
    metadata: Sequence[Sequence[Mapping[str, Any]]] | None = None
    progress: float = 0.0
    counts: tuple[int, ...] = ()

    def encode(
        self, encoder: SpectralPerceiver, view: int = 0, visible: Tensor | None = None, n_visible: int | None = None
    ) -> Tensor:
        """Return the latents that have read a view, of no more than `n_visible` points."""
        batch = self.views[view]
        metadata = None if self.metadata is None else self.metadata[view]
        return encoder.encode(batch.spectra, batch.grid(), visible=visible, n_visible=n_visible, metadata=metadata)

    def episodes(self, first: int, last: int) -> Inputs:
        """Return the views of some episodes."""
        size = len(self.views[0]) // self.views[0].n_episodes
        metadata = None if self.metadata is None else [rows[first * size : last * size] for rows in self.metadata]
        return Inputs([view.episodes(first, last) for view in self.views], metadata=metadata)

    def embed(self, encoder: SpectralPerceiver, readout: str, view: int = 0) -> Tensor:
        """Read a view out of the encoder."""
        batch = self.views[view]
        metadata = None if self.metadata is None else self.metadata[view]
        return encoder(batch.spectra, batch.grid(), readout=readout, metadata=metadata)
