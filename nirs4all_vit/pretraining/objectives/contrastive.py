"""Two views of one sample, told from all others."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...encoder import SpectralPerceiver
from ..config import ContrastiveConfig
from ..data.synthetic import SyntheticSpectralDataset
from .inputs import Inputs, Source

if TYPE_CHECKING:
    from ..data.batch import SpectralBatch
    from ..data.dataset import SpectralDataset


class Contrastive(nn.Module):
    """InfoNCE between two augmented views, or between two instruments, of each sample.

    The other samples of the batch are the negatives; in a one-grid batch they are of the same dataset,
    which makes them hard.

    References
    ----------
    van den Oord, A., Li, Y., Vinyals, O. (2018). Representation learning with contrastive predictive coding.
    """

    def __init__(self, settings: ContrastiveConfig, encoder: SpectralPerceiver) -> None:
        super().__init__()
        self.settings = settings
        inner = encoder.width("compact")
        self.projection = nn.Sequential(
            nn.LayerNorm(inner), nn.Linear(inner, 256), nn.GELU(), nn.Linear(256, settings.width)
        )

    @staticmethod
    def prepare(settings: ContrastiveConfig, source: Source) -> Inputs:
        """Make two views."""
        batch, draw = source.batch, source.draw
        second = batch
        if batch.valid is None and draw.chance(settings.p_paired):
            second = _paired(source, settings) or batch
        return Inputs([source.augment(batch, draw), source.augment(second, draw)])

    def forward(self, encoder: SpectralPerceiver, inputs: Inputs) -> Tensor:
        """Return the loss."""
        a, b = (F.normalize(self.projection(inputs.embed(encoder, "compact", view)).float(), dim=1) for view in (0, 1))
        similarity = a @ b.T / self.settings.temperature
        same = torch.arange(len(a), device=a.device)
        return (F.cross_entropy(similarity, same) + F.cross_entropy(similarity.T, same)) / 2


def _paired(source: Source, settings: ContrastiveConfig) -> SpectralBatch | None:
    """Return the same samples measured by another instrument, if there is one."""
    batch, data = source.batch, source.data
    if batch.datasets is None or batch.rows is None:
        return None
    dataset = data.datasets[int(batch.datasets[0])]
    partner = _partner(dataset, data.datasets, settings.pairs)
    if partner is None or len(partner) != len(dataset):
        return None
    spectra = torch.from_numpy(np.ascontiguousarray(partner.absorbance(batch.rows.numpy())))
    axis = torch.from_numpy(partner.wavelengths.copy())
    # A partner that is drawn from has a number; a synthetic one, made for the occasion, none: nothing is told of it.
    numbers = [i for i, d in enumerate(data.datasets) if d is partner]
    datasets = torch.full_like(batch.datasets, numbers[0]) if numbers else None
    return dataclasses.replace(
        batch, spectra=spectra, wavelengths=axis, deviation=partner.deviation, baseline=None, datasets=datasets
    )


def _partner(
    dataset: SpectralDataset, datasets: list[SpectralDataset], pairs: list[list[str]]
) -> SpectralDataset | None:
    if isinstance(dataset, SyntheticSpectralDataset):
        return dataset.paired()
    for names in pairs:
        if dataset.name in names:
            others = [d for d in datasets if d.name in names and d is not dataset]
            return others[0] if others else None
    return None
