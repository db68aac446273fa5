"""Selection of datasets, and preparation of micro-batches as a function of seed and number."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from .augmentation import Augmentation
from .config import PretrainingConfig
from .data.batch import Draw
from .data.dataset import SpectralDataset
from .data.flat import FlatBank
from .data.hybrid import hybrid_bank
from .data.multi import MultiSpectralDataset
from .data.synthetic import synthetic_bank
from .inputs import Inputs, Source
from .objectives import OBJECTIVES


class Preparation(Dataset[dict[str, Inputs]]):
    """Draw micro-batches and prepare the inputs of all objectives.

    Runs on the CPU or, with the layout ``resampled``, on the training device. Micro-batches are
    drawn from the datasets of a bank and from synthetic datasets (`synthetic_spectra`).
    """

    def __init__(
        self,
        config: PretrainingConfig,
        datasets: Sequence[SpectralDataset],
        synthetic: Sequence[SpectralDataset],
        seed: int,
        device: torch.device,
    ) -> None:
        data = config.data
        self.seed, self.metadata_dropout = seed, data.metadata_dropout
        self.has_metadata = bool(config.encoder.categorical or config.encoder.numeric)
        self.settings = config.objectives.active()
        self.augment = Augmentation(data.augmentation)
        self.data = MultiSpectralDataset(
            datasets,
            data.batch_size,
            layout="mixed" if data.layout == "mixed" else "one_grid",
            synthetic=synthetic,
            p_synth=_share(config, datasets),
            weights=data.weights,
            steps_per_dataset=data.steps_per_dataset,
            crop_probability=data.crop_probability,
            thin_probability=data.thin_probability,
            min_spectra=data.min_spectra,
            seed=seed,
        )
        self.stream: Any = self.data
        if data.layout == "resampled":
            paired = config.objectives.contrastive.weight > 0
            partners = [again for d in self.data.datasets if paired and (again := d.paired()) is not None]
            self.stream = FlatBank(self.data, data.n_datasets, data.n_points, device, partners)

    def __getitem__(self, k: int) -> dict[str, Inputs]:
        """Return the inputs of micro-batch k by objective, without objectives that do not apply."""
        batch = self.stream[k]
        prepared = {}
        for number, (name, settings) in enumerate(self.settings.items()):
            seed = np.random.SeedSequence([self.seed, k, number]).generate_state(1, np.uint64)[0]
            draw = Draw.seeded(int(seed >> np.uint64(1)), batch.spectra.device)
            source = Source(batch, draw, self.stream, self.augment)
            inputs = OBJECTIVES[name].prepare(settings, source)
            if inputs is not None:
                prepared[name] = dataclasses.replace(
                    inputs, metadata=self._metadata(inputs, k) if self.has_metadata else None
                )
        return prepared

    def other(self, seed: int) -> Preparation:
        """Return a copy that draws from the same spectra with another seed."""
        other, data = copy.copy(self), copy.copy(self.data)
        other.seed = data.seed = seed
        other.data, other.stream = data, data
        if isinstance(self.stream, FlatBank):
            other.stream = copy.copy(self.stream)
            other.stream.data = data
        return other

    def _metadata(self, inputs: Inputs, k: int) -> list[list[dict[str, Any]]]:
        """Return the metadata of each view: instrument and range may differ between views."""
        views = []
        for view in inputs.views:
            hidden = np.random.default_rng([self.seed, k, 1]).random(len(view)) < self.metadata_dropout
            views.append([{} if hide else about for hide, about in zip(hidden, self.data.metadata(view), strict=True)])
        return views


def chosen_datasets(config: PretrainingConfig, datasets: Sequence[SpectralDataset]) -> list[SpectralDataset]:
    """Return the datasets of a bank that a run may draw from.

    Raises ValueError for unknown families or datasets, or if no dataset remains but real spectra
    are needed.
    """
    families, names = {dataset.family for dataset in datasets}, {dataset.name for dataset in datasets}
    _require_known("data.without_families", config.data.without_families, families, "family")
    contrastive = config.objectives.contrastive
    if contrastive.weight > 0:
        _require_known(
            "objectives.contrastive.pairs", [n for pair in contrastive.pairs for n in pair], names, "dataset"
        )
    selected = [dataset for dataset in datasets if dataset.family not in config.data.without_families]
    if config.data.p_synth == 1:
        if selected:
            warnings.warn("data.p_synth=1: only synthetic spectra are used; the bank is ignored.", stacklevel=2)
        return []
    if not selected:
        raise ValueError(
            f"data.p_synth={config.data.p_synth:g} needs real spectra, and there are none: set data.x_bank, "
            "exclude fewer families, or set data.p_synth=1 for synthetic spectra only."
        )
    return selected


def _require_known(field: str, names: Sequence[str], available: set[str], kind: str) -> None:
    unknown = sorted(set(names) - available)
    if unknown:
        raise ValueError(f"{field}: no such {kind} in the bank: {', '.join(unknown)}.")


def synthetic_spectra(config: PretrainingConfig, datasets: Sequence[SpectralDataset]) -> list[SpectralDataset]:
    """Return the synthetic datasets of a run, shared by training and validation.

    They mix real spectra with simulated components; without real spectra, everything is simulated.
    """
    if _share(config, datasets) == 0:
        return []
    if config.data.p_synth < 1 and any(len(dataset) > 1 for dataset in datasets):
        return [*hybrid_bank(datasets, config.data.n_synthetic, seed=config.run.seed)]
    return [*synthetic_bank(config.data.n_synthetic, seed=config.run.seed)]


def _share(config: PretrainingConfig, datasets: Sequence[SpectralDataset]) -> float:
    return config.data.p_synth if datasets else 1.0


def on_device(prepared: dict[str, Inputs], device: torch.device, progress: float) -> dict[str, Inputs]:
    """Move a micro-batch to a device and set the completed share of the run."""
    return {
        name: dataclasses.replace(
            inputs,
            views=[view.to(device) for view in inputs.views],
            tensors={key: value.to(device, non_blocking=True) for key, value in inputs.tensors.items()},
            progress=progress,
        )
        for name, inputs in prepared.items()
    }
