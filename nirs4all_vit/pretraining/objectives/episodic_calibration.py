"""Calibration as self-supervision."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from ...encoder import SpectralPerceiver
from ..config import SMALLEST_EPISODE, EpisodicCalibrationConfig
from ..episodic_ridge import EpisodicRidge
from ..tasks import corrupt, make_tasks
from .inputs import Inputs, Source


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
