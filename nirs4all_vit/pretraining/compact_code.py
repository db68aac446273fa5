"""The compact read-out of patches: a linear code, fitted on a bank without labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..encoder import Grid, SpectralPerceiver
from ..encoder.local_contrast import WEIGHT
from .data.dataset import SpectralDataset

#: Columns are divided by their deviation within datasets to this power first. Between 0.5 and 0.75 it hardly matters, and
#: weights shared by the patches of a scale are three percent worse (research log, section 25).
_POWER = 0.65
#: Deviations below this share of the mean one count as this: they are rounding.
_FLOOR = 1e-3
#: Spectra of a dataset that the code is fitted on.
_SAMPLED = 64


@torch.no_grad()
def fit_code(encoder: SpectralPerceiver, datasets: Sequence[SpectralDataset]) -> None:
    """Fit the linear code of each patch, in place: principal directions of the features of a scale's patches.

    Features are centred by dataset, every dataset at the same total variance, and each is divided by a power of its deviation.

    Parameters
    ----------
    encoder : SpectralPerceiver
        On the CPU, with ``tokens="patches"``.
    datasets : sequence of SpectralDataset
        Their absorbance spectra are embedded.
    """
    tokenizer = encoder.tokenizer
    features = torch.cat([_centred(encoder, dataset) for dataset in datasets])
    deviation = features.square().mean(dim=0).sqrt()
    weight = (deviation + _FLOOR * deviation.mean()).clamp_min(1e-30) ** -_POWER
    # The summed variance is that of `contrast`: penalties that suit a ridge on the one suit one on the other.
    weight = weight * WEIGHT * (features.square().sum() / (features * weight).square().sum().clamp_min(1e-30)).sqrt()
    scales = torch.tensor(tokenizer.contrast.scales())
    n_columns = tokenizer.code.shape[2]
    for scale in scales.unique():
        patches = (features * weight)[:, scales == scale].flatten(0, 1).double()
        directions = torch.linalg.eigh(patches.T @ patches).eigenvectors.flip(1)[:, :n_columns]
        # The sign of a direction is the eigensolver's whim.
        directions = directions * directions.gather(0, directions.abs().argmax(dim=0, keepdim=True)).sign()
        tokenizer.code[scales == scale] = weight[scales == scale].unsqueeze(-1) * directions.float()


def _centred(encoder: SpectralPerceiver, dataset: SpectralDataset) -> Tensor:
    """Return features of patches (n, P, F) of some spectra of a dataset, less their mean, of unit total variance."""
    rows = np.linspace(0, len(dataset) - 1, min(_SAMPLED, len(dataset))).astype(np.intp)
    grid = Grid.from_wavelengths(torch.from_numpy(dataset.wavelengths.copy()))
    x = torch.from_numpy(np.ascontiguousarray(dataset.absorbance(rows)))
    features = encoder.tokenizer.content(encoder.normalisation(x, grid)[0], grid)
    centred = features - features.mean(dim=0)
    return centred / centred.square().sum().clamp_min(1e-30).sqrt()
