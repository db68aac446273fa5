"""Batches of several datasets, with weights that do not depend on the number of spectra."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from ...encoder.fields import axis_limits
from .batch import SpectralBatch
from .dataset import SpectralDataset


class UniformDatasetSampler(Sampler[int]):
    """Sampler of rows of concatenated datasets: uniform over datasets, then over spectra.

    For `torch.utils.data.DataLoader` with a `ConcatDataset`; the state can be saved within an
    epoch. `draw` samples from the same distribution with a given generator.

    Parameters
    ----------
    sizes : sequence of int
        Number of spectra of each dataset.
    weights : sequence of float, optional
        Share of each dataset, in any unit; equal shares by default.
    n_draws : int, optional
        Number of draws per epoch; by default the number of spectra.
    seed : int, default=0
        Seed; each epoch has a different sequence.
    """

    def __init__(
        self, sizes: Sequence[int], weights: Sequence[float] | None = None, n_draws: int | None = None, seed: int = 0
    ) -> None:
        self.sizes = np.asarray(sizes, dtype=np.int64)
        shares = np.ones(len(self.sizes)) if weights is None else np.asarray(weights, dtype=np.float64)
        if not len(self.sizes) or (self.sizes < 1).any():
            raise ValueError(f"sizes must be positive, one per dataset; got {list(sizes)}.")
        if shares.shape != self.sizes.shape or not np.isfinite(shares).all() or (shares < 0).any() or not shares.any():
            raise ValueError(f"weights must be {len(self.sizes)} numbers >= 0, not all zero; got {list(shares)}.")
        self.probabilities = shares / shares.sum()
        self.n_draws = int(self.sizes.sum()) if n_draws is None else n_draws
        self.seed, self._epoch, self._position = seed, 0, 0
        self._next_epoch, self._start = 0, 0
        self._offsets = np.concatenate([[0], np.cumsum(self.sizes)[:-1]])

    def draw(
        self, generator: np.random.Generator, n: int, among: NDArray[np.intp] | None = None
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Draw n spectra, independently.

        Parameters
        ----------
        generator : numpy.random.Generator
            Source of randomness.
        n : int
            Number of spectra.
        among : ndarray of int, optional
            Indices of the datasets to draw from, in proportion to their weights; by default all.

        Returns
        -------
        datasets, rows : ndarray of shape (n,)
            Index of the dataset and row in it.
        """
        among = np.arange(len(self.sizes)) if among is None else among
        shares = self.probabilities[among]
        datasets = generator.choice(among, size=n, p=shares / shares.sum())
        return datasets, generator.integers(self.sizes[datasets])

    def draw_from_one(self, generator: np.random.Generator, n: int) -> tuple[int, NDArray[np.intp]]:
        """Draw a dataset and up to n of its spectra, without replacement."""
        dataset = int(generator.choice(len(self.sizes), p=self.probabilities))
        size = int(self.sizes[dataset])
        return dataset, generator.choice(size, size=min(n, size), replace=False)

    def __iter__(self) -> Iterator[int]:
        epoch, start = self._next_epoch, self._start
        self._next_epoch, self._start = epoch + 1, 0
        datasets, rows = self.draw(np.random.default_rng([self.seed, epoch]), self.n_draws)
        indices = self._offsets[datasets] + rows
        for position in range(start, self.n_draws):
            self._epoch, self._position = epoch, position + 1
            yield int(indices[position])

    def __len__(self) -> int:
        return self.n_draws

    def state_dict(self) -> dict[str, Any]:
        """Return the seed, the epoch and the number of draws yielded in it.

        A loader with workers draws in advance: set ``position`` to the number of draws used.
        """
        done = self._position == self.n_draws
        return {"seed": self.seed, "epoch": self._epoch + done, "position": 0 if done else self._position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a saved state at the next iteration."""
        self.seed = state["seed"]
        self._next_epoch = self._epoch = state["epoch"]
        self._start = self._position = state["position"]


class MultiSpectralDataset(Dataset[SpectralBatch]):
    """Batches of spectra, uniform over datasets, with random cropping and thinning.

    Batch k is a function of the seed and k only. The stream is therefore infinite, independent of
    the number of workers, different on every rank, and can be resumed at any k.

    Parameters
    ----------
    datasets : sequence of SpectralDataset
        Datasets of real spectra.
    batch_size : int, default=64
        Spectra per batch; fewer in a one-grid batch of a smaller dataset.
    layout : {"one_grid", "mixed"}, default="one_grid"
        ``one_grid``: all spectra of a batch come from one dataset, without repeats or padding.
        ``mixed``: the dataset is drawn for each spectrum, among datasets of similar length (within
        a factor of two before cropping and thinning), and spectra are padded.
    synthetic : sequence of SpectralDataset, optional
        Datasets of synthetic spectra.
    p_synth : float, default=0
        Share of synthetic spectra; with ``one_grid``, share of synthetic batches.
    weights : mapping of str to float, optional
        Weights of datasets by name; 1 for others.
    steps_per_dataset : int, default=200
        Batches per real dataset in a virtual epoch.
    crop_probability : float, default=0.4
        Probability that a dataset of a batch is cropped to 40-100 % of its points.
    thin_probability : float, default=0.2
        Probability that a dataset of a batch is thinned to every 2nd, 3rd or 4th point.
    min_spectra : int, default=1
        Datasets with fewer spectra, or with identical spectra, are excluded.
    seed : int, default=0
        Seed of the stream.
    rank, world_size : int, default=0, 1
        Index of this process and number of processes in distributed training.

    Attributes
    ----------
    datasets : list of SpectralDataset
        All sampled datasets, real ones first.
    position : int
        Number of batches that `stream` has yielded.
    """

    min_points = 16

    def __init__(
        self,
        datasets: Sequence[SpectralDataset],
        batch_size: int = 64,
        *,
        layout: str = "one_grid",
        synthetic: Sequence[SpectralDataset] = (),
        p_synth: float = 0.0,
        weights: Mapping[str, float] | None = None,
        steps_per_dataset: int = 200,
        crop_probability: float = 0.4,
        thin_probability: float = 0.2,
        min_spectra: int = 1,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if layout not in ("one_grid", "mixed"):
            raise ValueError(f"layout={layout!r}; use 'one_grid' or 'mixed'.")
        if batch_size < 1 or steps_per_dataset < 1 or seed < 0:
            raise ValueError(
                f"batch_size={batch_size} and steps_per_dataset={steps_per_dataset} must be at least 1, "
                f"seed={seed} at least 0."
            )
        if not 0 <= rank < world_size:
            raise ValueError(f"rank={rank} must be between 0 and world_size - 1 = {world_size - 1}.")
        chances = {"p_synth": p_synth, "crop_probability": crop_probability, "thin_probability": thin_probability}
        for name, chance in chances.items():
            if not 0 <= chance <= 1:
                raise ValueError(f"{name}={chance} must be between 0 and 1.")
        large = [d for d in datasets if len(d) >= min_spectra]
        real = [d for d in large if d.deviation > 0]
        if len(real) < len(large):
            flat = ", ".join(d.name for d in large if d.deviation == 0)
            warnings.warn(f"datasets left out because their spectra are identical: {flat}.", stacklevel=2)
        generated = [d for d in synthetic if len(d) >= min_spectra] if p_synth > 0 else []
        if not real and p_synth < 1:
            raise ValueError(f"no dataset has {min_spectra} or more different spectra; nothing to pretrain on.")
        if p_synth > 0 and not generated:
            raise ValueError(f"p_synth={p_synth} needs synthetic datasets; pass synthetic=synthetic_bank().")
        self.datasets, self.n_real = real + generated, len(real)
        unknown = set(weights or ()) - {d.name for d in (*datasets, *synthetic)}
        if unknown:
            raise ValueError(f"weights name unknown datasets: {', '.join(sorted(unknown))}.")
        self.batch_size, self.layout, self.steps_per_dataset = batch_size, layout, steps_per_dataset
        self.crop_probability, self.thin_probability = crop_probability, thin_probability
        self.seed, self.rank, self.world_size, self.position = seed, rank, world_size, 0
        shares = np.array([(weights or {}).get(d.name, 1.0) for d in self.datasets], dtype=np.float64)
        for part, share in ((slice(0, len(real)), 1.0 - p_synth), (slice(len(real), None), p_synth)):
            shares[part] *= share / max(shares[part].sum(), 1e-300)
        self.sampler = UniformDatasetSampler([len(d) for d in self.datasets], shares.tolist(), seed=seed)
        self._buckets = _buckets(self.datasets)

    def __len__(self) -> int:
        """Number of batches of a virtual epoch."""
        return self.steps_per_dataset * max(self.n_real, 1)

    def __getitem__(self, k: int) -> SpectralBatch:
        """Return batch k, for any k >= 0."""
        generator = np.random.default_rng([self.seed, k])
        if self.layout == "one_grid":
            index, rows = self.sampler.draw_from_one(generator, self.batch_size)
            return self._one_grid(index, rows, generator)
        shares = [self.sampler.probabilities[bucket].sum() for bucket in self._buckets]
        bucket = self._buckets[generator.choice(len(self._buckets), p=shares)]
        indices, rows = self.sampler.draw(generator, self.batch_size, bucket)
        # Read once per dataset, not once per spectrum.
        return _padded([self._one_grid(int(i), rows[indices == i], generator) for i in np.unique(indices)])

    def stream(self, n_workers: int = 0) -> Iterator[SpectralBatch]:
        """Yield batches without end, starting at `position`.

        Parameters
        ----------
        n_workers : int, default=0
            Number of processes that prepare batches in advance; the batches do not depend on it.
        """
        numbers = count(self.position * self.world_size + self.rank, self.world_size)
        for batch in numbered_loader(self, numbers, self.seed, n_workers):
            self.position += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return the seed and the position in the stream."""
        return {"seed": self.seed, "position": self.position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Restore a saved position; the next `stream` starts there."""
        self.seed, self.position = state["seed"], state["position"]

    def metadata(self, batch: SpectralBatch) -> list[dict[str, Any]]:
        """Return the available metadata of each spectrum of a batch, as input of the encoder."""
        if batch.datasets is None:
            return [{}] * len(batch)
        by_dataset: dict[int, dict[str, Any]] = {}
        rows = []
        for i, number in enumerate(batch.datasets.tolist()):
            if number not in by_dataset:
                axis = batch.wavelengths if batch.wavelengths.dim() == 1 else batch.wavelengths[i]
                axis = axis if batch.valid is None else axis[batch.valid[i]]
                # Range after cropping and thinning.
                by_dataset[number] = self.datasets[number].metadata.known() | axis_limits(axis.cpu().numpy())
            rows.append(by_dataset[number])
        return rows

    def known_metadata(self) -> list[dict[str, Any]]:
        """Return the available metadata of each dataset, with the range of its whole axis."""
        limits = [axis_limits(dataset.wavelengths) for dataset in self.datasets]
        return [dataset.metadata.known() | own for dataset, own in zip(self.datasets, limits, strict=True)]

    def _one_grid(self, index: int, rows: NDArray[np.intp], generator: np.random.Generator) -> SpectralBatch:
        dataset = self.datasets[index]
        columns = self.draw_columns(dataset.wavelengths.size, generator)
        baseline = dataset.baseline
        return SpectralBatch(
            spectra=torch.from_numpy(np.ascontiguousarray(dataset.absorbance(rows, columns))),
            wavelengths=torch.from_numpy(dataset.wavelengths[columns].copy()),
            deviation=dataset.deviation,
            baseline=None if baseline is None else torch.from_numpy(np.ascontiguousarray(baseline[rows][:, columns])),
            datasets=torch.full((len(rows),), index),
            rows=torch.from_numpy(rows),
            numbers=(index,),
        )

    def measured_by(self, batch: SpectralBatch, partners: Sequence[SpectralDataset | None]) -> SpectralBatch:
        """Return the samples of a one-grid batch, measured by its partner.

        The partner is a dataset with the same samples, row by row; if None, the batch is returned.
        """
        partner = partners[0]
        if partner is None or batch.rows is None:
            return batch
        # A partner outside `datasets` (a synthetic view) has no number, and hence no metadata.
        numbers = [i for i, dataset in enumerate(self.datasets) if dataset is partner]
        return dataclasses.replace(
            batch,
            spectra=torch.from_numpy(np.ascontiguousarray(partner.absorbance(batch.rows.numpy()))),
            wavelengths=torch.from_numpy(partner.wavelengths.copy()),
            deviation=partner.deviation,
            baseline=None,
            datasets=torch.full((len(batch),), numbers[0]) if numbers else None,
        )

    def draw_columns(self, n_points: int, generator: np.random.Generator) -> slice:
        """Draw the points of a dataset in a batch: cropped, thinned, both or all."""
        start, stop, step = 0, n_points, 1
        if generator.random() < self.crop_probability:
            width = max(self.min_points, int(generator.uniform(0.4, 1.0) * n_points))
            if width < n_points:
                start = int(generator.integers(n_points - width + 1))
                stop = start + width
        if generator.random() < self.thin_probability:
            step = min(int(generator.integers(2, 5)), max(1, (stop - start) // self.min_points))
        return slice(start, stop, step)


def numbered_loader(dataset: Dataset[Any], numbers: Iterable[int], seed: int, n_workers: int = 0) -> DataLoader[Any]:
    """Load the items with these numbers, in order, in advance if there are workers."""
    # Without its own generator, the loader would change the global one.
    generator = torch.Generator().manual_seed(seed)
    return DataLoader(dataset, batch_size=None, sampler=numbers, num_workers=n_workers, generator=generator)


def _buckets(datasets: Sequence[SpectralDataset]) -> list[NDArray[np.intp]]:
    """Group datasets with numbers of points between the same powers of two.

    Buckets are drawn by the total weight of their datasets, so every dataset keeps its share.
    """
    powers = np.array([int(np.log2(d.wavelengths.size)) for d in datasets])
    return [np.flatnonzero(powers == power) for power in np.unique(powers)]


def _padded(parts: Sequence[SpectralBatch]) -> SpectralBatch:
    """Stack one-grid batches into one padded batch."""
    rows, length = sum(map(len, parts)), max(part.spectra.shape[1] for part in parts)
    spectra, valid = torch.zeros(rows, length), torch.zeros(rows, length, dtype=torch.bool)
    wavelengths = torch.empty(rows, length, dtype=torch.float64)
    baseline = torch.zeros(rows, length) if any(part.baseline is not None for part in parts) else None
    start = 0
    for part in parts:
        size, points = part.spectra.shape
        block = slice(start, start + size)
        spectra[block, :points], valid[block, :points] = part.spectra, True
        wavelengths[block, :points], wavelengths[block, points:] = part.wavelengths, part.wavelengths[-1]
        if baseline is not None:
            baseline[block, :points] = torch.nan if part.baseline is None else part.baseline
        start += size
    return SpectralBatch(
        spectra,
        wavelengths,
        torch.cat([torch.full((len(part), 1), float(part.deviation)) for part in parts]),
        valid,
        baseline,
        torch.cat([part.datasets for part in parts if part.datasets is not None]),
        torch.cat([part.rows for part in parts if part.rows is not None]),
    )
