"""Objectives of pretraining, all label-free, and what each computes its loss from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..encoder import SpectralPerceiver
from ..encoder.decoder import MaskedSpectrumDecoder
from ..encoder.tokens import packed, take_tokens
from .augmentation import block_mask
from .config import (
    SMALLEST_EPISODE,
    BaselineConsistencyConfig,
    ContrastiveConfig,
    DatasetAdversaryConfig,
    EpisodicCalibrationConfig,
    MaskedModelingConfig,
)
from .data.batch import Draw, SpectralBatch
from .data.dataset import SpectralDataset
from .data.multi import MultiSpectralDataset
from .data.synthetic import SyntheticSpectralDataset
from .episodic_ridge import EpisodicRidge
from .tasks import corrupt, make_tasks


@dataclass(frozen=True)
class Source:
    """What an objective prepares its inputs from, on the CPU, possibly in a worker.

    A batch of clean spectra, the randomness of this micro-batch and objective, the stream that the batch comes from
    (for second views), and the recipe's augmentation, ``augment(batch, draw)``.
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


class MaskedModeling(nn.Module):
    """Predict what masked blocks of a spectrum hold from its visible points: points, or the contents of patches.

    The loss is the squared error on masked tokens only, weighted, if so configured, by how much the
    batch varies there.

    References
    ----------
    He, K. et al. (2022). Masked Autoencoders Are Scalable Vision Learners. CVPR.
    """

    def __init__(self, settings: MaskedModelingConfig, encoder: SpectralPerceiver) -> None:
        super().__init__()
        self.settings = settings
        self.decoder = MaskedSpectrumDecoder(encoder)

    @staticmethod
    def prepare(settings: MaskedModelingConfig, source: Source) -> Inputs:
        """Augment and mask."""
        batch = source.augment(source.batch, source.draw)
        mask = block_mask(batch.wavelengths, len(batch), source.draw, settings.ratio, settings.block, batch.valid)
        return Inputs([batch], {"mask": mask})

    def forward(self, encoder: SpectralPerceiver, inputs: Inputs) -> Tensor:
        """Return the loss."""
        batch, mask = inputs.views[0], inputs.tensors["mask"]
        grid = batch.grid()
        visible = ~mask if batch.valid is None else ~mask & batch.valid
        latents = inputs.encode(encoder, visible=visible)
        tokenizer = encoder.tokenizer
        chosen, there = packed(tokenizer.hidden(grid, visible))
        with torch.no_grad():
            target = tokenizer.target(tokenizer.content(encoder.normalisation(batch.spectra, grid)[0], grid))
            weight = there.float().unsqueeze(-1).expand(-1, -1, target.shape[-1])
            if self.settings.variance_weights:
                weight = weight * _variation(target, batch.valid)[chosen]
            target = take_tokens(target, chosen)
        # What is not hidden is not decoded.
        predicted = self.decoder(encoder, latents[:, 1:], grid, chosen).float()
        return ((predicted - target).square() * weight).sum() / weight.sum().clamp_min(1e-6)


def _variation(target: Tensor, valid: Tensor | None) -> Tensor:
    """Standard deviation over the batch of each number, relative to its mean over all: (N, n_target)."""
    if valid is not None:
        return torch.ones_like(target[0])  # padded rows share no grid to compare them on
    deviation = target.std(dim=0)
    return (deviation / deviation.mean().clamp_min(1e-6)).clamp(0.1, 10.0)


class BaselineConsistency(nn.Module):
    """Bring z(x) close to z(x - AsLS(x)), by two passes through the encoder.

    The loss is the squared distance between the two over the sum of their squared distances from the mean of all. It lies between 0
    and 2, is 1 where the two have nothing in common, and does not depend on the scale of the embeddings.
    """

    def __init__(self, settings: BaselineConsistencyConfig, encoder: SpectralPerceiver) -> None:  # noqa: ARG002
        super().__init__()
        self.settings = settings

    @staticmethod
    def prepare(settings: BaselineConsistencyConfig, source: Source) -> Inputs | None:  # noqa: ARG004
        """Subtract the cached baseline; None where fewer than two spectra of the batch have one."""
        batch = source.batch
        if batch.baseline is None:
            return None
        has_baseline = ~batch.baseline.isnan().any(dim=1)
        if has_baseline.sum() < 2:
            return None
        batch = batch if has_baseline.all() else batch.take(has_baseline)
        assert batch.baseline is not None
        return Inputs([batch, dataclasses.replace(batch, spectra=batch.spectra - batch.baseline)])

    def forward(self, encoder: SpectralPerceiver, inputs: Inputs) -> Tensor:
        """Return the loss."""
        with_baseline, without = (inputs.encode(encoder, view).flatten(1).float() for view in (0, 1))
        middle = (with_baseline.mean(dim=0) + without.mean(dim=0)) / 2
        distance = (with_baseline - without).square().sum()
        spread = (with_baseline - middle).square().sum() + (without - middle).square().sum()
        return distance / spread.clamp_min(1e-8)


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
    partner = _partner(dataset, data.datasets, settings.pairs, source.draw)
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
    dataset: SpectralDataset, datasets: list[SpectralDataset], pairs: list[list[str]], draw: Draw
) -> SpectralDataset | None:
    if isinstance(dataset, SyntheticSpectralDataset):
        return dataset.paired()
    for names in pairs:
        if dataset.name in names:
            others = [d for d in datasets if d.name in names and d is not dataset]
            return others[draw.integer(0, len(others) - 1)] if others else None
    return None


class DatasetAdversary(nn.Module):
    """Classify the dataset from the mean latent; the encoder receives the reversed gradient.

    The factor of the reversal grows from 0 to `reversal` by a logistic schedule, so that the
    classifier learns first.

    References
    ----------
    Ganin, Y. and Lempitsky, V. (2015). Unsupervised domain adaptation by backpropagation. ICML.
    """

    def __init__(self, settings: DatasetAdversaryConfig, encoder: SpectralPerceiver, n_datasets: int) -> None:
        super().__init__()
        self.settings = settings
        width = encoder.config.d_model
        self.classifier = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, n_datasets))

    @staticmethod
    def prepare(settings: DatasetAdversaryConfig, source: Source) -> Inputs:  # noqa: ARG004
        """Augment; the dataset's number is the class."""
        batch = source.augment(source.batch, source.draw)
        return Inputs([batch], {"datasets": batch.datasets})

    def forward(self, encoder: SpectralPerceiver, inputs: Inputs) -> Tensor:
        """Return the classifier's loss."""
        factor = self.settings.reversal * (2.0 / (1.0 + math.exp(-10.0 * inputs.progress)) - 1.0)
        z = inputs.embed(encoder, "mean")
        return F.cross_entropy(self.classifier(_Reversal.apply(z, factor)).float(), inputs.tensors["datasets"])


class _Reversal(torch.autograd.Function):
    """Identity forwards, minus `factor` times the gradient backwards."""

    @staticmethod
    def forward(context: Any, z: Tensor, factor: float) -> Tensor:
        context.factor = factor
        return z.view_as(z)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -context.factor * gradient, None


class EpisodicCalibration(nn.Module):
    """A ridge fitted on part of an episode's embeddings must predict known answers for the rest.

    An episode is a batch of one dataset; a task generator, drawn by its share, makes the answers without
    any label; the spectra may be corrupted, the answers carry noise. Each episode is calibrated on one read-out.

    Attributes
    ----------
    penalties : dict of str to list of float
        Per read-out, the mean log penalty that leave-one-out chose in each episode.
    """

    def __init__(self, settings: EpisodicCalibrationConfig, encoder: SpectralPerceiver) -> None:  # noqa: ARG002
        super().__init__()
        self.settings = settings
        self.ridge = EpisodicRidge()
        self.penalties: dict[str, list[float]] = {name: [] for name in settings.readouts}

    @staticmethod
    def prepare(settings: EpisodicCalibrationConfig, source: Source) -> Inputs | None:
        """Make a task; None where its answers do not vary over the episode."""
        draw = source.draw
        tasks = list(make_tasks(settings.tasks).values())
        shares = torch.tensor([share for _, share in tasks]).cumsum(0)
        task = tasks[int((draw.uniform(1) > shares[:-1]).sum())][0]
        batch, targets = task(source.batch, draw)
        batch = dataclasses.replace(batch, spectra=corrupt(batch.spectra, batch.deviation, draw, settings.corruption))
        deviation = targets.std(dim=0, keepdim=True)
        if settings.noise > 0:
            noise = draw.log_uniform(1, low=0.02 * settings.noise, high=settings.noise)
            targets = targets + noise * deviation * draw.normal(*targets.shape)
        targets = targets[:, deviation[0] > 1e-9]
        if targets.shape[1] == 0 or len(batch) < SMALLEST_EPISODE:
            return None
        n_support = int(float(draw.uniform(1, low=0.35, high=0.8)) * len(batch))
        n_support = min(max(n_support, 6), len(batch) - 3)
        shares = torch.tensor(list(settings.readouts.values())).cumsum(0)
        readout = int((draw.uniform(1) * shares[-1] > shares[:-1]).sum())
        return Inputs(
            [batch], {"targets": targets, "n_support": torch.tensor(n_support), "readout": torch.tensor(readout)}
        )

    def forward(self, encoder: SpectralPerceiver, inputs: Inputs) -> Tensor:
        """Return the loss on the read-out of this episode."""
        name = list(self.settings.readouts)[int(inputs.tensors["readout"])]
        targets, n_support = inputs.tensors["targets"], int(inputs.tensors["n_support"])
        loss, penalties = self.ridge(inputs.embed(encoder, name), targets, n_support)
        if self.training:
            self.penalties[name].append(float(penalties.log().mean()))
        return loss


#: Objectives by the name of their settings.
OBJECTIVES: dict[str, Any] = {
    "masked_modeling": MaskedModeling,
    "baseline_consistency": BaselineConsistency,
    "contrastive": Contrastive,
    "dataset_adversary": DatasetAdversary,
    "episodic_calibration": EpisodicCalibration,
}
