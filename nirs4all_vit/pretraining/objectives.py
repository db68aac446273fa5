"""Pretraining objectives; none uses labels."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

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
from .episodic_ridge import Answers, episodic_ridge
from .inputs import Inputs, Source
from .tasks import corrupt, make_tasks


class MaskedModeling(nn.Module):
    """Predict masked blocks of a spectrum (points or patch contents) from its visible points.

    The loss is the squared error on masked tokens only, optionally weighted by the standard
    deviation of each token over the spectra of the episode.

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
        """Augment and mask the spectra."""
        batch = source.augment(source.batch, source.draw)
        mask = block_mask(batch.wavelengths, len(batch), source.draw, settings.ratio, settings.block, batch.valid)
        return Inputs([batch], {"mask": mask})

    def forward(self, encoder: SpectralPerceiver, inputs: Inputs) -> Tensor:
        """Return the loss."""
        batch, mask = inputs.views[0], inputs.tensors["mask"]
        grid, tokenizer = batch.grid(), encoder.tokenizer
        visible = ~mask if batch.valid is None else ~mask & batch.valid
        # On a GPU, use an upper bound of the number of visible tokens: the exact one would need a
        # synchronisation.
        low, high = self.settings.ratio
        n_visible = _share(mask.shape[1], 1 - low) if batch.same_length else None
        latents = inputs.encode(encoder, visible=visible, n_visible=n_visible)
        hidden = tokenizer.hidden(grid, visible)
        chosen, there = packed(hidden, _share(hidden.shape[1], high) if batch.same_length else None)
        with torch.no_grad():
            target = tokenizer.target(tokenizer.content(encoder.normalisation(batch.spectra, grid)[0], grid))
            weight = there.float().unsqueeze(-1).expand(-1, -1, target.shape[-1])
            if self.settings.variance_weights:
                weight = weight * take_tokens(_variation(target, batch), chosen)
            target = take_tokens(target, chosen)
        # Only hidden tokens are decoded.
        predicted = self.decoder(encoder, latents[:, 1:], grid, chosen).float()
        return ((predicted - target).square() * weight).sum() / weight.sum().clamp_min(1e-6)


def _share(n: int, share: float) -> int:
    """Return an upper bound of the tokens in a share that half of a block may exceed."""
    return min(n, math.ceil(n * (share + 1 / 12)) + 1)


def _variation(target: Tensor, batch: SpectralBatch) -> Tensor:
    """Return the relative standard deviation of each number over its episode, (B, N, n_target)."""
    if batch.valid is not None:
        return torch.ones_like(target)  # padded rows have no common grid
    by_episode = batch.by_episode(target)
    deviation = by_episode.std(dim=1, keepdim=True)
    relative = deviation / deviation.mean(dim=(2, 3), keepdim=True).clamp_min(1e-6)
    return relative.clamp(0.1, 10.0).expand_as(by_episode).flatten(0, 1)


class BaselineConsistency(nn.Module):
    """Minimise the distance between z(x) and z(x - AsLS(x)), by two passes through the encoder.

    The loss is the squared distance between the two embeddings, divided by the sum of their squared
    distances from the mean of all embeddings. It is between 0 and 2, is 1 for uncorrelated
    embeddings, and does not depend on the scale of the embeddings.
    """

    def __init__(self, settings: BaselineConsistencyConfig, encoder: SpectralPerceiver) -> None:  # noqa: ARG002
        super().__init__()
        self.settings = settings

    @staticmethod
    def prepare(settings: BaselineConsistencyConfig, source: Source) -> Inputs | None:  # noqa: ARG004
        """Subtract the cached baseline.

        Returns None if the batch has no baselines, or fewer than two in the layouts one_grid and
        mixed.
        """
        batch = source.batch
        if batch.baseline is None:
            return None
        there = ~batch.baseline.isnan().any(dim=1)
        # Spectra without a baseline are removed or, with the layout resampled, get weight 0.
        if not batch.same_length:
            if there.sum() < 2:
                return None
            batch = batch if there.all() else batch.take(there)
            there = there[there]
        assert batch.baseline is not None
        without = dataclasses.replace(batch, spectra=batch.spectra - batch.baseline.nan_to_num())
        return Inputs([batch, without], {"there": there.float().unsqueeze(1)})

    def forward(self, encoder: SpectralPerceiver, inputs: Inputs) -> Tensor:
        """Return the loss."""
        with_baseline, without = (inputs.encode(encoder, view).flatten(1).float() for view in (0, 1))
        there = inputs.tensors["there"]
        share = there / there.sum().clamp_min(1.0)
        middle = ((with_baseline * share).sum(dim=0) + (without * share).sum(dim=0)) / 2
        distance = ((with_baseline - without) * there).square().sum()
        spread = ((with_baseline - middle) * there).square().sum() + ((without - middle) * there).square().sum()
        return distance / spread.clamp_min(1e-8)


class Contrastive(nn.Module):
    """InfoNCE between two augmented views of each sample, measured by one instrument or by two.

    The negatives are the other samples of the episode. In a one-grid batch they come from the same
    dataset, which makes them hard negatives.

    References
    ----------
    van den Oord, A., Li, Y., Vinyals, O. (2018). Representation learning with contrastive
    predictive coding.
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
        """Return two augmented views of each sample."""
        batch, draw = source.batch, source.draw
        second = batch
        if batch.numbers:
            datasets = source.data.datasets
            partners = [
                _partner(datasets[i], datasets, settings.pairs, draw) if draw.chance(settings.p_paired) else None
                for i in batch.numbers
            ]
            second = source.data.measured_by(batch, partners)
        return Inputs([source.augment(batch, draw), source.augment(second, draw)])

    def forward(self, encoder: SpectralPerceiver, inputs: Inputs) -> Tensor:
        """Return the loss."""
        batch = inputs.views[0]
        a, b = (
            batch.by_episode(F.normalize(self.projection(inputs.embed(encoder, "compact", view)).float(), dim=1))
            for view in (0, 1)
        )
        similarity = a @ b.transpose(1, 2) / self.settings.temperature
        same = torch.arange(a.shape[1], device=a.device).expand(len(a), -1)
        if batch.repeated is not None:
            # A repeated spectrum is not a negative of itself and counts once.
            repeated = batch.by_episode(batch.repeated)
            similarity = similarity.masked_fill(repeated.unsqueeze(1) | repeated.unsqueeze(2), -torch.inf)
            similarity = similarity.masked_fill((repeated.unsqueeze(1) & repeated.unsqueeze(2)), 0.0)
            same = same.masked_fill(repeated, -100)
        return (F.cross_entropy(similarity, same) + F.cross_entropy(similarity.transpose(1, 2), same)) / 2


def _partner(
    dataset: SpectralDataset, datasets: list[SpectralDataset], pairs: list[list[str]], draw: Draw
) -> SpectralDataset | None:
    """Return a measurement of the same samples by another instrument, or None."""
    again = dataset.paired()
    if again is not None:
        return again
    for names in pairs:
        if dataset.name in names:
            others = [d for d in datasets if d.name in names and d is not dataset and len(d) == len(dataset)]
            return others[draw.integer(0, len(others) - 1)] if others else None
    return None


class DatasetAdversary(nn.Module):
    """Classify the dataset from the mean latent; the encoder receives the reversed gradient.

    The factor of the reversed gradient grows from 0 to `reversal` on a logistic schedule, so that
    the classifier learns first.

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
        """Augment the spectra; the class of a spectrum is the number of its dataset."""
        batch = source.augment(source.batch, source.draw)
        return Inputs([batch], {"datasets": batch.datasets})

    def forward(self, encoder: SpectralPerceiver, inputs: Inputs) -> Tensor:
        """Return the classifier's loss."""
        factor = self.settings.reversal * (2.0 / (1.0 + math.exp(-10.0 * inputs.progress)) - 1.0)
        z = inputs.embed(encoder, "mean")
        return F.cross_entropy(self.classifier(_Reversal.apply(z, factor)).float(), inputs.tensors["datasets"])


class _Reversal(torch.autograd.Function):
    """Gradient reversal: identity forwards, minus `factor` times the gradient backwards."""

    @staticmethod
    def forward(context: Any, z: Tensor, factor: float) -> Tensor:
        context.factor = factor
        return z.view_as(z)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -context.factor * gradient, None


class EpisodicCalibration(nn.Module):
    """Ridge regression on part of an episode's embeddings must predict the rest.

    An episode contains spectra of one dataset. A task generator, drawn by its share, derives the
    targets from the spectra, without labels. The spectra may be corrupted; noise is added to the
    targets. Each episode is calibrated on one read-out.

    Attributes
    ----------
    penalties : dict of str to list
        Per read-out, the mean log penalty selected in each episode, as numbers or as tensors that a
        GPU may still be computing (`noted` synchronises).
    """

    def __init__(self, settings: EpisodicCalibrationConfig, encoder: SpectralPerceiver) -> None:  # noqa: ARG002
        super().__init__()
        self.settings = settings
        self.penalties: dict[str, list[Any]] = {name: [] for name in settings.readouts}

    @staticmethod
    def prepare(settings: EpisodicCalibrationConfig, source: Source) -> Inputs | None:
        """Draw tasks and targets.

        Returns None if an episode is too small or, on one grid, if all targets are constant.
        """
        batch, draw = source.batch, source.draw
        if len(batch) < SMALLEST_EPISODE * batch.n_episodes:
            return None
        tasks = list(make_tasks(settings.tasks).values())
        batch, targets = _with_targets(batch, tasks, draw)
        batch = corrupt(batch, draw, settings.corruption)
        answers = batch.by_episode(targets)
        deviation = answers.std(dim=1, keepdim=True)
        if settings.noise > 0:
            n = batch.n_episodes
            noise = draw.log_uniform(n, 1, 1, low=0.02 * settings.noise, high=settings.noise)
            answers = answers + noise * deviation * draw.normal(*answers.shape)
        if not batch.same_length:
            answers = answers[..., deviation[0, 0] > 1e-9]
            if not answers.shape[2]:
                return None
        size = answers.shape[1]
        there = size if batch.repeated is None else size - batch.by_episode(batch.repeated).sum(dim=1, keepdim=True)
        n_support = (draw.uniform(batch.n_episodes, 1, low=0.35, high=0.8) * there).long()
        n_support = torch.minimum(n_support.clamp_min(6), torch.as_tensor(there - 3, device=draw.device))
        place = torch.arange(size, device=draw.device)
        tensors = {"targets": answers, "support": place < n_support, "query": (place >= n_support) & (place < there)}
        counts = draw.counts(batch.n_episodes, list(settings.readouts.values()))
        return Inputs([batch], tensors, counts=tuple(counts))

    def forward(self, encoder: SpectralPerceiver, inputs: Inputs) -> Tensor:
        """Return the mean loss of the episodes."""
        losses, first = [], 0
        parts = ("targets", "support", "query")
        for name, count in zip(self.settings.readouts, inputs.counts, strict=True):
            if count:
                chosen = slice(first, first + count)
                embedded = inputs.episodes(first, first + count).embed(encoder, name)
                answers = Answers(*(inputs.tensors[part][chosen] for part in parts))
                loss, penalties = episodic_ridge(embedded.unflatten(0, (count, -1)), answers)
                losses.append(loss)
                if self.training:
                    self.penalties[name].extend(penalties.log().nanmean(dim=1).unbind())
                first += count
        return torch.cat(losses).mean()

    def noted(self) -> dict[str, list[float]]:
        """Return the penalties as numbers, without those of episodes with constant targets only."""
        for name, values in self.penalties.items():
            if values:
                numbers = torch.stack([torch.as_tensor(v, dtype=torch.float64) for v in values]).tolist()
                self.penalties[name] = [value for value in numbers if math.isfinite(value)]
        return self.penalties


def _with_targets(batch: SpectralBatch, tasks: list[tuple[Any, float]], draw: Draw) -> tuple[SpectralBatch, Tensor]:
    """Return episodes with the targets (n, t) of one task each, padded with constants."""
    parts, first = [], 0
    for (task, _), count in zip(tasks, draw.counts(batch.n_episodes, [share for _, share in tasks]), strict=True):
        if count:
            parts.append(task(batch.episodes(first, first + count), draw))
            first += count
    if len(parts) == 1:
        return parts[0]
    most = max(targets.shape[1] for _, targets in parts)
    targets = torch.cat([F.pad(targets, (0, most - targets.shape[1])) for _, targets in parts])
    # Shuffle the episodes, so that the read-out of an episode does not depend on its task.
    order = torch.randperm(batch.n_episodes, generator=draw.host).to(draw.device, non_blocking=True)
    return SpectralBatch.joined([part for part, _ in parts]).reordered(order), batch.by_episode(targets)[order].flatten(
        0, 1
    )


#: Objectives by the name of their settings in `ObjectiveConfig`.
OBJECTIVES: dict[str, Any] = {
    "masked_modeling": MaskedModeling,
    "baseline_consistency": BaselineConsistency,
    "contrastive": Contrastive,
    "dataset_adversary": DatasetAdversary,
    "episodic_calibration": EpisodicCalibration,
}
