"""The pretraining loop."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import zip_longest
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from ..encoder import SpectralPerceiver
from ..encoder.checkpoint import save_checkpoint
from ..files import lock_folder
from ..progress import ProgressBar
from .config import PretrainingConfig
from .data.asls import BaselineCache
from .data.bank import load_x_bank
from .data.dataset import SpectralDataset
from .data.multi import numbered_loader
from .distributed import Processes, gpu_products
from .inputs import Inputs
from .model import PretrainingModel, total_steps
from .optimisation import Optimisation
from .preparation import Preparation, chosen_datasets, on_device, synthetic_spectra
from .product import embedding_statistics, provenance, scaled_encoder, take_contrast
from .record import MetricsLog, check_same_run, load_state, plot_losses, require_own, save_state
from .scores import linear_cka, probe, ridge_scores

#: Offset of the seed of the validation stream, whose batches differ from all training batches.
_VALIDATION = 1_000_003
#: Steps after which the CPU synchronises with the GPU and writes metrics.
_STEPS_PER_SYNC = 20


class Pretraining:
    """Pretraining run of an encoder on a bank of unlabelled spectra.

    Parameters
    ----------
    config : PretrainingConfig
        The run.
    datasets : sequence of SpectralDataset
        The bank. Families that the configuration excludes are removed.

    Notes
    -----
    Micro-batch k, with its augmentations and tasks, is a function of the seed and k. Two runs on
    one machine with the same number of threads give the same weights, and so does a resumed run.
    N processes use the same micro-batches as one process with the same number of micro-batches per
    step.
    """

    def __init__(self, config: PretrainingConfig, datasets: Sequence[SpectralDataset] = ()) -> None:
        self.config = config
        self.processes = Processes.join(config.run.device)
        if config.optim.accumulate % self.processes.world_size:
            raise ValueError(
                f"optim.accumulate={config.optim.accumulate} must be a multiple of the "
                f"{self.processes.world_size} processes: it is the number of micro-batches of all processes."
            )
        if config.run.precision == "fp16" and self.processes.device.type == "cpu":
            raise ValueError("run.precision=fp16 needs a GPU; on a CPU use fp32 or bf16.")
        self.datasets = chosen_datasets(config, datasets)
        if config.run.y_bank is not None and not {d.name for d in self.datasets} & set(config.run.y_datasets):
            raise ValueError(
                f"run.y_datasets: none of {', '.join(config.run.y_datasets)} is in the bank; name datasets of the bank."
            )
        if config.objectives.baseline_consistency.weight > 0:
            BaselineCache(config.data.asls or "asls").attach(self.datasets)
        synthetic = synthetic_spectra(config, self.datasets)
        self.training = Preparation(config, self.datasets, synthetic, config.run.seed, self.processes.device)
        sampled_ids = {id(dataset) for dataset in self.training.data.datasets}
        # Small or constant datasets are not sampled; omit them from the provenance.
        self.datasets = [dataset for dataset in self.datasets if id(dataset) in sampled_ids]
        self.validation = self.training.other(config.run.seed + _VALIDATION)
        # Determined once, so that the commit is the one at the start of the run.
        self._origin = provenance(config, self.datasets)
        self.steps = total_steps(config, len(self.training.data))
        with torch.random.fork_rng():
            torch.manual_seed(config.run.seed)
            self.model = PretrainingModel(config, len(self.training.data.datasets))
        if config.optim.contrast_from is not None:
            self._origin["contrast_from"] = take_contrast(self.model.encoder, config.optim.contrast_from)
        if self.encoder.metadata is not None:
            self.encoder.metadata.standardise(self.training.data.known_metadata())
        self.model.to(self.processes.device)
        if config.run.compile:
            for block in self.encoder.blocks:
                block.compile()
        self.optimisation = Optimisation(config, self.model, self.processes, self.steps)
        self._episodic = "episodic_calibration" in self.model.objectives
        self._best, self._worse = math.inf, 0
        self._snapshot: Any = None
        self._batches: Iterator[dict[str, Inputs]] | None = None

    @property
    def step_done(self) -> int:
        """Number of completed steps."""
        return self.optimisation.step_done

    @property
    def encoder(self) -> SpectralPerceiver:
        """The encoder in training."""
        return self.model.encoder

    def run(self, *, progress: bool = True) -> Path:
        """Train the encoder; write checkpoints, metrics and state into ``run.out``.

        The files include ``last.safetensors``, ``best.safetensors`` and ``metrics.jsonl``.

        Returns
        -------
        Path
            ``last.safetensors``.

        Raises
        ------
        FileExistsError
            The folder contains a run and ``run.resume`` is ``never``, or it contains files of a
            finished or different run.
        BlockingIOError
            Another process is writing to the folder.
        FloatingPointError
            The loss, or the gradient of eleven consecutive steps, is not finite; the last
            checkpoint is intact.
        OSError
            The state cannot be written, for example to a full disk; the last checkpoint is intact.
        """
        out = Path(self.config.run.out)
        with self._locked(out), gpu_products(self.processes.device, deterministic=self.config.run.deterministic):
            return self._run(out, progress=progress)

    @contextmanager
    def _locked(self, out: Path) -> Iterator[None]:
        """Lock the folder; the first process does so for all processes."""
        held, refused = None, None
        if self.processes.first:
            try:
                held = lock_folder(out)
            except OSError as error:
                refused = error
        errors = self.processes.gather(None if refused is None else str(refused))
        if errors[0] is not None:
            raise refused if refused is not None else BlockingIOError(errors[0])
        with held if held is not None else nullcontext():
            yield

    def _run(self, out: Path, *, progress: bool) -> Path:
        first = self.processes.first
        self._start(out)
        log = MetricsLog(out, self.step_done) if first else None
        bar = ProgressBar("pretraining", "step", self.steps, initial=self.step_done, show=progress and first)
        started, n_spectra = time.perf_counter(), 0
        rows: list[dict[str, Any]] = []
        on_gpu = self.optimisation.on_gpu
        step, ahead = (self._step, _STEPS_PER_SYNC) if on_gpu else (self.step, 1)
        try:
            with bar:
                while self.step_done < self.steps and not self._stopped():
                    rows.append(step())
                    every = self.config.run.score_every
                    scored = self.step_done == self.steps or bool(every and self.step_done % every == 0)
                    saved = self.step_done % self.config.run.checkpoint_every == 0
                    if len(rows) == ahead or scored or saved:
                        n_spectra += sum(int(row.pop("spectra")) for row in rows)
                        rows = self.optimisation.numbers(rows) if on_gpu else rows
                        rate = n_spectra / (time.perf_counter() - started)
                        for row in rows if first else ():
                            assert log is not None
                            log.write({**row, "spectra_per_second": round(rate, 1)})
                        bar.note(**{"loss": f"{rows[-1]['loss']:.3f}", "spectra/s": f"{rate:.0f}"})
                        bar.update(len(rows))
                        rows = []
                    if scored:
                        self._log_scores(log)
                    if saved:
                        self._save(out, log)
            self._save(out, log)
            if first:
                plot_losses(out)
        finally:
            if log is not None:
                log.close()
        self.processes.wait()
        return out / "last.safetensors"

    def estimate(self) -> tuple[int, float]:
        """Estimate the spectra of the run and its seconds on this machine, without scores.

        Two micro-batches are computed; the weights do not change.
        """
        episodic: Any = self.model.objectives["episodic_calibration"] if self._episodic else None
        noted = {} if episodic is None else {name: list(values) for name, values in episodic.penalties.items()}
        self.model.train()
        seconds, spectra = 0.0, 0
        with torch.random.fork_rng():
            for k in range(2):  # the first one warms up
                started = time.perf_counter()
                prepared = on_device(self.training[k], self.processes.device, 0.0)
                with self.optimisation.autocast():
                    loss = self.model(prepared)[0]
                    loss.backward()
                float(loss.detach())  # waits for a GPU
                seconds = time.perf_counter() - started
                spectra += sum(len(view) for inputs in prepared.values() for view in inputs.views)
        self.model.zero_grad(set_to_none=True)
        if episodic is not None:
            episodic.penalties = noted
        micro = self.steps * self.config.optim.accumulate
        return spectra * micro // 2, seconds * micro / self.processes.world_size

    def step(self) -> dict[str, float]:
        """Take one step over ``optim.accumulate`` micro-batches; return losses and the like."""
        return self.optimisation.numbers([self._step()])[0]

    def _step(self) -> dict[str, Any]:
        if self._batches is None:
            self._batches = self._stream()
        return self.optimisation.step(self._batches)

    @torch.inference_mode()
    def score(self) -> dict[str, Any]:
        """Return validation loss, stability since the last score and, with a y-bank, ridge scores.

        The scores refer to the encoder that `product` returns. The validation loss uses other
        draws, crops and tasks of the training datasets; no spectra are held out.
        """
        self.model.eval()
        encoder = self.product()
        losses: dict[str, list[float]] = {}
        for k in range(self.config.run.n_validation):
            prepared = on_device(self.validation[k], self.processes.device, self.step_done / self.steps)
            with self.optimisation.autocast():
                for name, loss in self.model(prepared, encoder)[1].items():
                    losses.setdefault(name, []).append(float(loss))
        if not losses:
            raise ValueError(
                f"none of {', '.join(self.model.objectives)} applies to any of "
                f"{self.config.run.n_validation} micro-batches: too few points or spectra, constant targets, "
                "or no AsLS cache (data.asls)."
            )
        means = {name: float(np.mean(values)) for name, values in losses.items()}
        # The loss of the adversary is meant to increase and does not measure progress.
        judged = [n for n in means if n != "dataset_adversary"]
        validation = sum(self.model.weights[n] * means[n] for n in judged)
        if not all(math.isfinite(value) for value in means.values()):
            raise self.optimisation.not_finite(self.step_done, "of the validation")
        scores: dict[str, Any] = {"validation": validation, **{f"validation/{n}": v for n, v in means.items()}}
        now = probe(encoder, self.training.data.datasets)
        if self._snapshot is not None:
            scores["stability"] = linear_cka(self._snapshot, now)
        self._snapshot = now
        run = self.config.run
        if run.y_bank is not None:
            scored = [dataset for dataset in self.datasets if dataset.name in run.y_datasets]
            scores["ridge"] = ridge_scores(encoder, scored, run.y_bank)
        if validation < self._best or not judged:
            self._best, self._worse = validation, 0
            self._write("best", self._penalties())
        else:
            self._worse += 1
        return scores

    def product(self) -> SpectralPerceiver:
        """Return the exponential moving average of the encoder if enabled, else the encoder."""
        average = self.optimisation.average
        encoder = average.module if average is not None else self.encoder
        return cast("SpectralPerceiver", encoder.eval())

    def _log_scores(self, log: MetricsLog | None) -> None:
        scores = self.score()
        if log is not None:
            log.write({"step": self.step_done, **scores})
            log.flush()

    def _stopped(self) -> bool:
        patience = self.config.run.patience
        return bool(patience and self._worse >= patience)

    def _stream(self) -> Iterator[dict[str, Inputs]]:
        """Yield the micro-batches of this process, from the current step on."""
        world, rank, total = self.processes.world_size, self.processes.rank, self.config.optim.accumulate
        numbers = range(self.step_done * total + rank, self.steps * total, world)
        return iter(numbered_loader(self.training, numbers, self.config.run.seed, self.config.data.n_workers))

    def _start(self, out: Path) -> None:
        """Resume the run in the folder, or start a new one."""
        recipe = self.config.recipe()
        state = load_state(out) if self.config.run.resume == "auto" else None
        require_own(out, self.config.run.resume, state, {"recipe": recipe, "bank_hash": self._origin["bank_hash"]})
        if state is not None:
            check_same_run(out, state, recipe, self._origin, self.processes.world_size)
            self._restore(state)
        self.processes.wait()  # all processes check the folder before the first one writes into it
        if state is None and self.processes.first:
            out.mkdir(parents=True, exist_ok=True)
            record = {"config": self.config.to_dict(), **self._origin}
            (out / "config.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
        self.processes.wait()

    def _restore(self, state: dict[str, Any]) -> None:
        self.optimisation.load_state_dict(state)
        self._best, self._worse = state["best"], state["worse"]
        self._snapshot, self._origin = state["snapshot"], state["origin"]
        if self._episodic:
            self.model.objectives["episodic_calibration"].penalties = state["penalties"][self.processes.rank]
        self._batches = None

    def _save(self, out: Path, log: MetricsLog | None) -> None:
        penalties = self._penalties()
        if not self.processes.first:
            return
        if log is not None:
            log.flush()
        save_state(
            out,
            {
                "recipe": json.dumps(self.config.recipe(), sort_keys=True),
                "origin": self._origin,
                **self.optimisation.state_dict(),
                "penalties": penalties,
                "best": self._best,
                "worse": self._worse,
                "snapshot": self._snapshot,
            },
        )
        self._write("last", penalties)

    def _penalties(self) -> list[dict[str, list[float]]]:
        """Return the selected penalties of every process; a collective call of all processes."""
        episodic: Any = self.model.objectives["episodic_calibration"] if self._episodic else None
        return self.processes.gather(episodic.noted() if episodic is not None else {})

    def _write(self, name: str, gathered: list[dict[str, list[float]]]) -> None:
        """Write a checkpoint of the current encoder, with provenance and statistics."""
        if not self.processes.first:
            return
        datasets = self.datasets or self.training.data.datasets  # a run on synthetic spectra only
        penalties = {key: _interleaved([part[key] for part in gathered]) for key in gathered[0]}
        rescale = self.config.optim.contrast_from is None
        encoder = scaled_encoder(self.product(), penalties, datasets, rescale=rescale)
        statistics = embedding_statistics(encoder, datasets)  # on the device that trains
        save_checkpoint(
            Path(self.config.run.out) / f"{name}.safetensors",
            encoder.cpu(),
            name=self.config.run.name,
            provenance={**self._origin, "step": self.step_done},
            statistics=statistics,
        )


def pretrain(config: PretrainingConfig, datasets: Sequence[SpectralDataset] = (), *, progress: bool = True) -> Any:
    """Pretrain an encoder.

    Parameters
    ----------
    config : PretrainingConfig
        The run.
    datasets : sequence of SpectralDataset
        The bank; by default read from ``config.data.x_bank``.
    progress : bool, default=True
        Show a progress bar if standard error is a terminal.

    Returns
    -------
    Checkpoint
        The last checkpoint; `Checkpoint.path` is its file.
    """
    from ..encoder.checkpoint import load_checkpoint

    if not datasets and config.data.x_bank is not None:
        datasets = load_x_bank(config.data.x_bank, cache=config.data.cache, progress=progress)
    return load_checkpoint(Pretraining(config, datasets).run(progress=progress))


def _interleaved(parts: list[list[float]]) -> list[float]:
    """Interleave the values of several processes into the order of a single process."""
    return [value for step in zip_longest(*parts) for value in step if value is not None]
