"""Building blocks of fine-tuning: episodes, skorch module and layer-wise learning rates."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from ..encoder import Grid, SpectralPerceiver
from ..pretraining.episodic_ridge import Answers, episodic_ridge
from ..spectra.data import Spectra

#: Range of the share of an episode's samples used to fit the ridge.
_SUPPORT = (0.4, 0.8)
#: Minimum number of samples that fit in an episode, if available.
_SAMPLES = 12


class Episodes(Dataset[Any]):
    """Random episodes: some samples for calibration, the others for prediction, replicates together.

    `spectra` are on one axis or padded, `targets` (n, n_targets) are float32, and `groups` (n,) give the sample of each
    row. An episode has at most `size` of the `rows` (n_rows,). `augment` adds random gain, linear baseline and noise of
    typical instrumental size to each spectrum.
    """

    def __init__(
        self,
        spectra: Spectra,
        targets: NDArray[Any],
        rows: NDArray[np.intp],
        groups: NDArray[Any],
        *,
        size: int,
        augment: bool,
        seed: int,
    ) -> None:
        self.spectra, self.targets, self.size = spectra, targets, size
        order = np.argsort(groups[rows], kind="stable")
        self.samples = np.split(rows[order], np.flatnonzero(np.diff(groups[rows][order])) + 1)
        # Limits the replicates per sample, so that a sample with many scans does not fill an episode.
        self.most = max(1, size // min(_SAMPLES, len(self.samples)))
        self.level = float(np.median(spectra.values[rows].std(axis=1))) if augment else 0.0
        self.rng = np.random.default_rng(seed)
        self.n_episodes = 1

    def __len__(self) -> int:
        return self.n_episodes

    def __getitem__(self, i: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Draw the next episode regardless of `i`; the rows of the support come first."""
        # Without __iter__, iteration ends at IndexError.
        if i >= self.n_episodes:
            raise IndexError(i)
        rows_by_sample: list[NDArray[np.intp]] = []
        room = self.size
        for sample in self.rng.permutation(len(self.samples)):
            replicates = self.samples[sample]
            rows_by_sample.append(self.rng.permutation(replicates)[: min(self.most, room)])
            room -= len(rows_by_sample[-1])
            if room == 0:
                break
        n_support = int(np.clip(round(self.rng.uniform(*_SUPPORT) * len(rows_by_sample)), 2, len(rows_by_sample) - 1))
        rows = np.concatenate(rows_by_sample)
        inputs: dict[str, NDArray[Any]] = {"x": self.spectra.values[rows].astype(np.float32)}
        if self.spectra.valid is not None:
            inputs |= {"wavelengths": self.spectra.wavelengths[rows], "valid": self.spectra.valid[rows]}
        if self.level:
            inputs["x"] = self._disturbed(inputs["x"])
        answers = {"targets": self.targets[rows], "n_support": np.array(sum(map(len, rows_by_sample[:n_support])))}
        return _tensors(inputs), _tensors(answers)

    def _disturbed(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        n, length = x.shape
        gain = 1.0 + 0.03 * self.rng.normal(size=(n, 1))
        drift = self.rng.normal(size=(n, 2)) @ np.stack([np.ones(length), np.linspace(-1.0, 1.0, length)])
        noise = 10.0 ** self.rng.uniform(-4.0, -2.0, size=(n, 1)) * self.rng.normal(size=x.shape)
        return (x * gain + self.level * (0.03 * drift + noise)).astype(np.float32)


class EpisodicLoss(nn.Module):
    """Skorch criterion: prediction error on an episode of a ridge fitted on its first rows."""

    def forward(self, embedded: Tensor, answers: dict[str, Tensor]) -> Tensor:
        """Return the loss of an episode of embedded spectra (n, width)."""
        episode = Answers.one(answers["targets"].to(embedded.device), int(answers["n_support"]))
        return episodic_ridge(embedded.unsqueeze(0), episode)[0][0]


def _tensors(arrays: dict[str, NDArray[Any]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


class SpectralModule(nn.Module):
    """Torch module that embeds spectra.

    `wavelengths` (L,), in nm and ascending, is the axis shared by all spectra, if there is one. `amp` runs the encoder
    in mixed precision; local contrast is always computed in float32.
    """

    def __init__(
        self, encoder: SpectralPerceiver, readout: str, wavelengths: Tensor | None = None, amp: bool = False
    ) -> None:
        super().__init__()
        self.wavelengths: Tensor | None
        self.encoder, self.readout, self.amp = encoder, readout, amp
        self.register_buffer("wavelengths", wavelengths, persistent=False)

    def forward(self, x: Tensor, wavelengths: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """Embed `x` (B, L) as (B, width).

        `wavelengths` (B, L) is given if spectra have different axes; `valid` (B, L) is false for padding.
        """
        axis = self.wavelengths if wavelengths is None else wavelengths
        assert axis is not None
        grid = Grid.from_wavelengths(axis, valid)
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=self.amp):
            return self.encoder(x, grid, readout=self.readout).float()


def learning_rates(
    encoder: SpectralPerceiver, readout: str, learning_rate: float, layer_decay: float
) -> dict[str, float]:
    """Return the learning rate of each trainable parameter, by name, decreasing towards the input.

    The last layer has `learning_rate`; each earlier layer has `layer_decay` times the rate of the next. Parameters
    without a gradient and layers not used by the read-out are omitted.
    """
    depth = {id(p): i for i, layer in enumerate(reversed(_layers(encoder, readout))) for p in layer}
    return {
        name: learning_rate * layer_decay ** depth[id(parameter)]
        for name, parameter in encoder.named_parameters()
        if parameter.requires_grad and id(parameter) in depth
    }


def _layers(encoder: SpectralPerceiver, readout: str) -> list[list[nn.Parameter]]:
    """Return the encoder's parameters used by the read-out, by layer from input to output."""
    tokens = list(encoder.tokenizer.parameters())
    if encoder.tokenizer.width(readout) is not None:
        return [tokens]
    blocks = [list(block.parameters()) for block in encoder.blocks]
    inside = {id(p) for part in (tokens, *blocks) for p in part}
    last = [*encoder.norm.parameters(), *([encoder.compact] if readout == "compact" else [])]
    inside |= {id(p) for p in last}
    unused = {id(encoder.compact)} if hasattr(encoder, "compact") else set()
    first = [p for p in encoder.parameters() if id(p) not in inside | unused]
    return [tokens, first, *blocks, last]
