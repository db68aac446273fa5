"""Bank in device memory: draws, crops and resamples episodes of many datasets at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .batch import Draw, SpectralBatch
from .dataset import SpectralDataset, row_blocks
from .multi import MultiSpectralDataset


class FlatBank:
    """All spectra of a bank, concatenated in one tensor on a device.

    Micro-batch k contains `n_episodes` datasets, drawn by weight, with ``data.batch_size`` spectra
    each. Spectra are cropped and thinned as in `data`, then interpolated linearly to `n_points`
    points, evenly spaced in the index of the remaining points. A dataset with too few spectra
    repeats some (`SpectralBatch.repeated`).

    The CPU draws a few numbers per episode; everything else runs on the device, without a loop.

    Parameters
    ----------
    data : MultiSpectralDataset
        The bank, with seed, episode size, and probabilities of cropping and thinning.
    n_episodes : int
        Datasets per micro-batch.
    n_points : int
        Points per spectrum.
    device : torch.device
    partners : sequence of SpectralDataset, optional
        Measurements of the same samples by other instruments; they are not sampled.

    Raises
    ------
    ValueError
        The bank takes more than 80 % of the free memory of a GPU.
    """

    def __init__(
        self,
        data: MultiSpectralDataset,
        n_episodes: int,
        n_points: int,
        device: torch.device,
        partners: Sequence[SpectralDataset] = (),
    ) -> None:
        self.data, self.datasets = data, data.datasets
        self.n_episodes, self.n_points, self.device = n_episodes, n_points, device
        sets = [*data.datasets, *partners]
        self._number = {id(dataset): i for i, dataset in enumerate(sets)}
        shapes = np.array([(len(d), d.wavelengths.size) for d in sets], dtype=np.int64)
        sizes = shapes.prod(axis=1)
        with_baselines = any(d.baseline is not None for d in sets)
        _require_room(int(sizes.sum()) * 4 * (1 + with_baselines), self.device)
        #: Per dataset: spectra, points, index of the first value, index of the first wavelength.
        table = np.stack([*shapes.T, sizes.cumsum() - sizes, shapes[:, 1].cumsum() - shapes[:, 1]], axis=1)
        self._table = torch.from_numpy(table).to(self.device)
        self._shapes = shapes
        self._deviations = torch.tensor([d.deviation for d in sets], dtype=torch.float32, device=self.device)
        self._axis = torch.from_numpy(np.concatenate([d.wavelengths for d in sets])).to(self.device)
        self._values = torch.empty(int(sizes.sum()), device=self.device)
        self._baselines = torch.full_like(self._values, torch.nan) if with_baselines else None
        for dataset, first, width in zip(sets, table[:, 2], shapes[:, 1], strict=True):
            for rows in row_blocks(len(dataset), int(width)):
                place = slice(int(first + rows.start * width), int(first + rows.stop * width))
                self._values[place] = torch.tensor(dataset.absorbance(rows)).flatten()
                if self._baselines is not None and dataset.baseline is not None:
                    self._baselines[place] = torch.tensor(dataset.baseline[rows], dtype=torch.float32).flatten()

    def __getitem__(self, k: int) -> SpectralBatch:
        """Return micro-batch number k, for any k >= 0."""
        host = np.random.default_rng([self.data.seed, k])
        numbers = host.choice(len(self.datasets), self.n_episodes, p=self.data.sampler.probabilities)
        draw = Draw.seeded(int(host.integers(2**62)), self.device)
        wanted = self.data.batch_size
        size = self._table[self._on_device(numbers), :1]
        # Stratified sampling: one spectrum from each stratum of rows.
        stratum = torch.arange(wanted, device=self.device)
        strata = size.clamp_max(wanted)
        place = stratum % strata
        low, high = place * size // strata, (place + 1) * size // strata
        rows = low + (draw.uniform(self.n_episodes, wanted) * (high - low)).long().clamp_max(high - low - 1)
        rows = (rows + (draw.uniform(self.n_episodes, 1) * size).long()) % size
        # Shuffle, with repeats of a small dataset after its first `size` spectra.
        repeated = stratum >= strata
        order = (draw.uniform(self.n_episodes, wanted) + repeated).argsort(dim=1)
        rows = rows.gather(1, order)
        columns = [self.data.draw_columns(int(n), host) for n in self._shapes[numbers, 1]]
        return self._read(numbers, rows, columns, repeated.flatten())

    def measured_by(self, batch: SpectralBatch, partners: Sequence[SpectralDataset | None]) -> SpectralBatch:
        """Return the same samples, measured by the partner of each episode over its whole range.

        Episodes without a partner (None) are unchanged.
        """
        if batch.rows is None or all(partner is None for partner in partners):
            return batch
        there = np.array([partner is not None for partner in partners])
        numbers = np.array(
            [own if p is None else self._number[id(p)] for own, p in zip(batch.numbers, partners, strict=True)]
        )
        whole = [slice(0, int(n), 1) for n in self._shapes[numbers, 1]]
        other = self._read(numbers, batch.by_episode(batch.rows), whole, batch.repeated)
        # Episodes without a partner keep their crop.
        chosen = self._on_device(there).repeat_interleave(len(batch) // batch.n_episodes).unsqueeze(1)
        mixed: dict[str, Any] = {
            name: torch.where(chosen, getattr(other, name), getattr(batch, name))
            for name in ("spectra", "wavelengths", "deviation")
        }
        return dataclasses.replace(other, **mixed, baseline=None)

    def _read(
        self, numbers: NDArray[np.int64], rows: Tensor, columns: Sequence[slice], repeated: Tensor | None
    ) -> SpectralBatch:
        """Interpolate rows (B, S) of datasets (B,) between the first and last of their columns."""
        bounds = np.array([(c.start, (c.stop - 1 - c.start) // c.step, c.step) for c in columns], dtype=np.int64)
        about = self._on_device(np.concatenate([numbers[:, None], bounds], axis=1))
        number, start, last, step = about.T.unsqueeze(2)
        _, width, first, axis = self._table[number[:, 0]].T.unsqueeze(2)
        share = torch.linspace(0.0, 1.0, self.n_points, dtype=torch.float64, device=self.device) * last
        left = share.floor().clamp_max((last - 1).clamp_min(0))
        column, share = start + left.long() * step, share - left
        step = torch.where(last > 0, step, 0)  # single points
        index = (first + rows * width).unsqueeze(2) + column.unsqueeze(1)
        weight, ahead = share.unsqueeze(1).float(), step.unsqueeze(1)

        def read(values: Tensor) -> Tensor:
            return torch.lerp(values[index], values[index + ahead], weight).flatten(0, 1)

        place = axis + column
        wavelengths = torch.lerp(self._axis[place], self._axis[place + step], share)
        n = rows.shape[1]
        return SpectralBatch(
            spectra=read(self._values),
            wavelengths=wavelengths.unsqueeze(1).expand(-1, n, -1).flatten(0, 1),
            deviation=self._deviations[number].expand(-1, n).reshape(-1, 1),
            baseline=None if self._baselines is None else read(self._baselines),
            datasets=number.expand(-1, n).flatten(),
            rows=rows.flatten(),
            n_episodes=len(rows),
            repeated=repeated,
            numbers=tuple(numbers.tolist()),
        )

    def _on_device(self, values: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(values).to(self.device, non_blocking=True)


def _require_room(n_bytes: int, device: torch.device) -> None:
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        if n_bytes > 0.8 * free:
            raise ValueError(
                f"the bank needs {n_bytes / 2**30:.1f} GB, and {free / 2**30:.1f} GB are free on {device}: use "
                "data.layout=one_grid, which reads spectra on demand, or exclude datasets."
            )
