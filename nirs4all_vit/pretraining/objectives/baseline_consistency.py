"""The same embedding with and without baseline."""

from __future__ import annotations

import dataclasses

from torch import Tensor, nn

from ...encoder import SpectralPerceiver
from ..config import BaselineConsistencyConfig
from .inputs import Inputs, Source


class BaselineConsistency(nn.Module):
    """Bring z(x) close to z(x - AsLS(x)), by two passes through the encoder.

    The loss is the squared distance between the two over the variance between samples: shrinking all
    embeddings does not help.
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
        distance = (with_baseline - without).square().sum(dim=1).mean()
        spread = with_baseline.var(dim=0).sum() + without.var(dim=0).sum()
        return distance / spread.clamp_min(1e-8)
