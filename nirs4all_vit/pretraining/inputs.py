"""Inputs of the objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from ..encoder import SpectralPerceiver
from .data.batch import Draw, SpectralBatch
from .data.dataset import SpectralDataset


class Stream(Protocol):
    """Stream of micro-batches."""

    datasets: list[SpectralDataset]

    def measured_by(self, batch: SpectralBatch, partners: Sequence[SpectralDataset | None]) -> SpectralBatch:
        """Return the same samples, measured by the partner of each episode if it has one."""
        ...


@dataclass(frozen=True)
class Source:
    """Source from which an objective prepares its inputs, on the CPU or on the training device.

    `batch` holds clean spectra, `draw` the random draws of this micro-batch and objective, `data`
    the stream of the batch (for second views), and `augment` the augmentation of the recipe, called
    as ``augment(batch, draw)``.
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
        Spectra that are encoded.
    tensors : dict of str to Tensor
        Masks, targets and the like.
    counts : tuple of int
        Number of consecutive episodes calibrated on each read-out.
    metadata : list (by view) of list of dict, or None
        Available metadata of each spectrum, if the encoder has metadata fields.
    progress : float
        Completed share of the run, 0 to 1.
    """

    views: list[SpectralBatch]
    tensors: dict[str, Tensor] = field(default_factory=dict)
    metadata: Sequence[Sequence[Mapping[str, Any]]] | None = None
    progress: float = 0.0
    counts: tuple[int, ...] = ()

    def encode(
        self, encoder: SpectralPerceiver, view: int = 0, visible: Tensor | None = None, n_visible: int | None = None
    ) -> Tensor:
        """Return the latents of a view, computed from at most `n_visible` visible points."""
        batch = self.views[view]
        metadata = None if self.metadata is None else self.metadata[view]
        return encoder.encode(batch.spectra, batch.grid(), visible=visible, n_visible=n_visible, metadata=metadata)

    def episodes(self, first: int, last: int) -> Inputs:
        """Return the views of the episodes from `first` to before `last`."""
        size = len(self.views[0]) // self.views[0].n_episodes
        metadata = None if self.metadata is None else [rows[first * size : last * size] for rows in self.metadata]
        return Inputs([view.episodes(first, last) for view in self.views], metadata=metadata)

    def embed(self, encoder: SpectralPerceiver, readout: str, view: int = 0) -> Tensor:
        """Return a read-out of a view."""
        batch = self.views[view]
        metadata = None if self.metadata is None else self.metadata[view]
        return encoder(batch.spectra, batch.grid(), readout=readout, metadata=metadata)
