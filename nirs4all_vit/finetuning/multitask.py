"""Multi-task fine-tuning of one encoder on the targets of many datasets."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..embedding.inference import resolve_device
from ..encoder import SpectralPerceiver
from ..encoder.checkpoint import load_checkpoint, save_checkpoint
from ..files import lock_folder
from ..pretraining.data.bank import bank_hash, load_x_bank
from ..pretraining.data.batch import Draw, SpectralBatch
from ..pretraining.data.dataset import SpectralDataset
from ..pretraining.episodic_ridge import Answers, episodic_ridge
from ..pretraining.inputs import Inputs
from ..pretraining.optimisation import learning_rate_factor
from ..pretraining.record import load_state, require_own, save_state
from ..pretraining.scores import read_targets
from ..pretraining.tasks.regions import HiddenComponents
from ..progress import ProgressBar
from ..spectra.data import Spectra
from .multitask_config import FinetuningConfig
from .tuning import Episodes, learning_rates

#: Smallest number of samples per target, and of rows per class.
_FEWEST, _SMALLEST_CLASS = 20, 6
#: Maximum norm of gradients.
_CLIP = 1.0
_WARMUP = 0.05


@dataclass(frozen=True)
class LabelledDataset:
    """A dataset of spectra with its reference values.

    Attributes
    ----------
    dataset : SpectralDataset
    targets : dict of str to ndarray of shape (n_spectra, n_outputs), float32
        Targets by name; NaN marks missing values. Classes are columns of zeros and ones.
    groups : ndarray of shape (n_spectra,)
        Physical sample of each spectrum.
    """

    dataset: SpectralDataset
    targets: dict[str, NDArray[np.float32]]
    groups: NDArray[np.intp]

    def measured(self, target: str) -> NDArray[np.intp]:
        """Return the rows with a value of the target."""
        return np.flatnonzero(np.isfinite(self.targets[target]).all(axis=1))


def load_labelled(datasets: Iterable[SpectralDataset], y_bank: str | Path) -> Iterator[LabelledDataset]:
    """Yield the datasets that have targets.

    Targets are read from ``<dataset_id>.csv`` in `y_bank` by `read_targets`. Text columns hold classes. Raises
    ValueError if a table has another number of rows than there are spectra, or lacks the column of its groups.
    """
    for dataset in datasets:
        path = Path(y_bank) / f"{dataset.name}.csv"
        if not path.exists():
            continue
        table, groups = read_targets(path, dataset)
        outputs = {}
        for name in map(str, table):
            values = _outputs(table[name])
            rows = np.isfinite(values).all(axis=1)
            if values.shape[1] and len(np.unique(groups[rows])) >= _FEWEST and (values[rows].std(axis=0) > 0).any():
                outputs[name] = values
        if outputs:
            yield LabelledDataset(dataset, outputs, groups)


def _outputs(column: pd.Series) -> NDArray[np.float32]:
    """Return numbers as one column and classes as one column each; rare classes count as missing."""
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=np.float32)[:, None]
    counts = column.value_counts()
    codes, classes = pd.factorize(column.where(column.map(counts) >= _SMALLEST_CLASS))
    out = (codes[:, None] == np.arange(len(classes))).astype(np.float32)
    out[codes < 0] = np.nan
    return out


def finetune(config: FinetuningConfig, progress: bool | None = None) -> Path:
    """Fine-tune an encoder on all labelled datasets of a bank, with equal probability per dataset.

    Each step draws a dataset, one of its targets and some samples, fits a ridge on one part of them in closed form and
    predicts the others. Every step therefore has its own head for the target. Classes are columns of zeros and ones.

    Parameters
    ----------
    config : FinetuningConfig
    progress : bool, optional
        Set to False to disable the progress bar, which is only shown if the standard error is a terminal.

    Returns
    -------
    Path
        The checkpoint ``last.safetensors`` in the folder of the run, next to ``config.json`` and ``metrics.jsonl``.

    Raises
    ------
    ValueError
        No labelled dataset is left, a dataset cannot be read, or the run to resume has other settings or data.
    FileNotFoundError
        The bank does not exist.
    FileExistsError
        The folder holds a run and ``resume`` is ``never``, or it holds files of a finished or another run.
    BlockingIOError
        Another process is writing to the folder.
    """
    with lock_folder(Path(config.out)):
        run = _Run(config)
        with ProgressBar("finetuning", "step", config.steps, initial=run.step, show=progress is not False) as bar:
            while run.step < config.steps:
                loss = run.advance()
                bar.note(loss=f"{loss:.3f}")
                bar.update()
                if run.step % config.checkpoint_every == 0 and run.step < config.steps:
                    run.save_state()
        return run.finish()


class _Run:
    def __init__(self, config: FinetuningConfig) -> None:
        for folder in (config.x_bank, config.y_bank):
            if not Path(folder).is_dir():
                raise FileNotFoundError(f"{folder} is not a folder.")
        self.config, self.out = config, Path(config.out)
        self.labelled = _chosen(config)
        self.origin = load_checkpoint(config.checkpoint)
        self.device = resolve_device(config.device)
        self.encoder: SpectralPerceiver = copy.deepcopy(self.origin.encoder).requires_grad_(True).to(self.device)
        rates = learning_rates(self.encoder, config.readout, config.learning_rate, config.layer_decay)
        parameters = dict(self.encoder.named_parameters())
        self.optimizer = torch.optim.Adam([{"params": [parameters[name]], "lr": rate} for name, rate in rates.items()])
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, learning_rate_factor(config.steps, _WARMUP))
        self.step, self.task = 0, HiddenComponents()
        self._start()

    def advance(self) -> float:
        """Take a step; returns the loss."""
        # Seeded by step, so that a resumed run draws the same samples as an uninterrupted one.
        rng = np.random.default_rng([self.config.seed, self.step])
        labelled = self.labelled[rng.integers(len(self.labelled))]
        name = list(labelled.targets)[rng.integers(len(labelled.targets))]
        rows = labelled.measured(name)
        inputs, answers = self._episode(labelled, name, rows, int(rng.integers(2**31)))
        axis = torch.from_numpy(np.array(labelled.dataset.wavelengths))
        batch = SpectralBatch(inputs["x"], axis, 1.0)
        loss = self._loss(batch, answers["targets"], int(answers["n_support"]))
        parts = {"labels": float(loss.detach())}
        weight = self.config.label_weight
        if weight < 1:
            hidden, components = self.task(batch, Draw.seeded(int(rng.integers(2**31))))
            components = components[:, components.std(dim=0) > 0]
            if components.shape[1]:
                label_free = self._loss(hidden, components, int(answers["n_support"]))
                parts["hidden_components"] = float(label_free.detach())
                loss = weight * loss + (1.0 - weight) * label_free
        self.optimizer.zero_grad()
        loss.backward()
        learned = [p for group in self.optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(learned, _CLIP)
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        line = {"step": self.step, "dataset": labelled.dataset.name, "target": name, **parts}
        with (self.out / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return float(loss.detach())

    def _episode(self, labelled: LabelledDataset, name: str, rows: Any, seed: int) -> tuple[dict[str, Tensor], ...]:
        # Unprocessed spectra, as given to the embedder; only the rows drawn are read from disk.
        spectra = Spectra(labelled.dataset.values, np.asarray(labelled.dataset.wavelengths))
        size = self.config.batch_size
        return Episodes(spectra, labelled.targets[name], rows, labelled.groups, size=size, augment=False, seed=seed)[0]

    def _loss(self, batch: SpectralBatch, targets: Tensor, n_support: int) -> Tensor:
        embedded = Inputs([batch.to(self.device)]).embed(self.encoder, self.config.readout)
        loss = episodic_ridge(embedded.unsqueeze(0), Answers.one(targets.to(self.device), n_support))[0][0]
        return loss

    def _start(self) -> None:
        """Create the folder, or resume the run in it."""
        settings = {**dataclasses.asdict(self.config), "checkpoint_sha256": self.origin.sha256}
        identity = {k: v for k, v in settings.items() if k not in ("out", "resume", "checkpoint_every", "device")}
        self.told = identity | {"data": _hash(self.labelled)}
        saved = load_state(self.out) if self.config.resume == "auto" else None
        require_own(self.out, self.config.resume, saved, self.told)
        if saved is not None:
            changed = [k for k, v in self.told.items() if saved["told"].get(k) != v]
            if changed:
                raise ValueError(f"{self.out} holds a run with other {changed[0]}; name another folder.")
            self.encoder.load_state_dict(saved["encoder"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.schedule.load_state_dict(saved["schedule"])
            self.step = saved["step"]
            lines = (self.out / "metrics.jsonl").read_text("utf-8").splitlines()[: self.step]
            (self.out / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8")
            return
        (self.out / "metrics.jsonl").write_text("", "utf-8")
        text = json.dumps({**settings, "data": self.told["data"]}, indent=1)
        (self.out / "config.json").write_text(text + "\n", "utf-8")

    def save_state(self) -> None:
        """Write the state for resuming."""
        state = {
            "encoder": self.encoder.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "step": self.step,
            "told": self.told,
        }
        save_state(self.out, state)

    def finish(self) -> Path:
        """Write the checkpoint."""
        self.save_state()
        provenance = {
            **self.origin.header.get("provenance", {}),
            "tuned": True,
            "tuned_from": self.origin.sha256,
            "tuned_on": sorted(labelled.dataset.name for labelled in self.labelled),
            "tuned_families": sorted({labelled.dataset.family for labelled in self.labelled}),
            "tuning": dataclasses.asdict(self.config),
            "data_hash": self.told["data"],
        }
        encoder = self.encoder.cpu().eval().requires_grad_(False)
        return save_checkpoint(
            self.out / "last.safetensors",
            encoder,
            name=f"{self.origin.name}-labelled",
            provenance=provenance,
            licence=self.origin.header.get("licence", "UNKNOWN"),
        )


def _chosen(config: FinetuningConfig) -> list[LabelledDataset]:
    bank = load_x_bank(config.x_bank, progress=False)
    unknown = set(config.without_families) - {dataset.family for dataset in bank}
    if unknown:
        raise ValueError(f"without_families: no family {sorted(unknown)[0]!r} in {config.x_bank}.")
    datasets = [dataset for dataset in bank if dataset.family not in config.without_families]
    labelled = list(load_labelled(datasets, config.y_bank))
    if not labelled:
        raise ValueError(f"no dataset of {config.x_bank} has targets in {config.y_bank}.")
    return labelled


def _hash(labelled: Sequence[LabelledDataset]) -> str:
    """Return one hash of spectra, targets and groups."""
    digest = hashlib.sha256(bank_hash([dataset.dataset for dataset in labelled]).encode())
    for dataset in labelled:
        digest.update(np.ascontiguousarray(dataset.groups).tobytes())
        for name, values in dataset.targets.items():
            digest.update(f"{dataset.dataset.name}/{name}".encode())
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
