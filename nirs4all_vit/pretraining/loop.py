"""The pretraining loop."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import platform
import subprocess
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..checkpoint import save_checkpoint
from ..encoder import Grid, SpectralPerceiver
from .config import PretrainingConfig
from .data import MultiSpectralDataset, SpectralDataset, bank_hash
from .draw import Draw
from .objectives import EpisodicCalibration
from .tasks import TASKS, corrupt

#: Smallest episode: no calibration fits in fewer spectra.
MIN_EPISODE = 12


class Pretraining:
    """One run: a bank of unlabelled spectra and a configuration to a checkpoint.

    Parameters
    ----------
    config : PretrainingConfig
        The recipe.
    datasets : sequence of SpectralDataset
        The bank.

    Notes
    -----
    Every random number comes from the seed: two runs on one machine with as many threads give the same
    weights.
    """

    def __init__(self, config: PretrainingConfig, datasets: Sequence[SpectralDataset]) -> None:
        self.config, self.datasets = config, list(datasets)
        self.batches = MultiSpectralDataset(
            self.datasets, config.episode_size, min_spectra=MIN_EPISODE, seed=config.seed
        )
        self._episodes = self.batches.stream()
        self._draw = Draw.seeded(config.seed)
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            self.encoder = SpectralPerceiver(config.encoder)
        self.objective = EpisodicCalibration()
        self._commit, self._bank_hash = _commit(), bank_hash(self.datasets)
        self.tasks = {name: (TASKS[name](), weight) for name, weight in config.tasks.items()}
        decayed = [p for p in self.encoder.parameters() if p.dim() >= 2]
        kept = [p for p in self.encoder.parameters() if p.dim() < 2]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": config.weight_decay}, {"params": kept, "weight_decay": 0.0}],
            lr=config.learning_rate,
        )
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._learning_rate_factor)
        self._penalties: dict[str, list[float]] = {name: [] for name in config.readouts}

    def run(self, out: str | Path, *, progress: bool = True) -> Path:
        """Train and write ``<name>.safetensors`` and ``metrics.jsonl`` into the folder `out`."""
        out = Path(out)
        out.mkdir(parents=True, exist_ok=True)
        target = out / f"{self.config.name}.safetensors"
        (out / "config.json").write_text(json.dumps(self.config.to_dict(), indent=1))
        started = time.perf_counter()
        bar = tqdm(range(1, self.config.steps + 1), desc="pretraining", unit="step", disable=not progress)
        with open(out / "metrics.jsonl", "w", encoding="utf-8") as log:
            for step in bar:
                losses = self.step()
                row = {"step": step, "seconds": round(time.perf_counter() - started, 2), **losses}
                log.write(json.dumps(row) + "\n")
                bar.set_postfix(loss=f"{losses['loss']:.3f}")
                if step % self.config.checkpoint_every == 0:
                    log.flush()
                    self.save(target, step)
        return self.save(target, self.config.steps)

    def step(self) -> dict[str, float]:
        """Take one optimizer step over one episode per task; returns the losses."""
        self.encoder.train()
        self.optimizer.zero_grad(set_to_none=True)
        losses = {}
        for name, (task, weight) in self.tasks.items():
            loss, calibration = self._episode_loss(task)
            (weight * loss).backward()
            losses[name] = calibration
        losses["loss"] = sum(weight * losses[name] for name, (_, weight) in self.tasks.items())
        if not math.isfinite(losses["loss"]):
            raise FloatingPointError(
                f"the loss is {losses['loss']}; the last checkpoint is intact. Lower learning_rate."
            )
        torch.nn.utils.clip_grad_norm_(self.encoder.parameters(), self.config.clip)
        self.optimizer.step()
        self.scheduler.step()
        return losses

    def save(self, path: Path, step: int) -> Path:
        """Write the encoder as it is now, with provenance and statistics."""
        encoder = self._scaled_encoder()
        provenance = {
            "recipe": self.config.to_dict(),
            "step": step,
            "seed": self.config.seed,
            "commit": self._commit,
            "bank_hash": self._bank_hash,
            "datasets": [dataset.name for dataset in self.datasets],
            "families": sorted({dataset.family for dataset in self.datasets}),
            "n_spectra": sum(len(dataset) for dataset in self.datasets),
            "versions": {name: version(name) for name in ("torch", "numpy", "nirs4all-vit")},
            "machine": platform.machine(),
            "threads": torch.get_num_threads(),
        }
        statistics = embedding_statistics(encoder, self.datasets)
        return save_checkpoint(path, encoder, name=self.config.name, provenance=provenance, statistics=statistics)

    def _episode_loss(self, task: Any) -> tuple[Tensor, float]:
        draw = self._draw
        episode = next(self._episodes)
        spectra, targets = task(episode, draw)
        spectra = corrupt(spectra, episode.deviation, draw, self.config.corruption)
        deviation = targets.std(dim=0, keepdim=True)
        targets = targets + draw.log_uniform(1, low=0.02, high=1.0) * deviation * draw.normal(*targets.shape)
        # A function of the spectra that does not vary over the episode asks for nothing.
        targets = targets[:, deviation[0] > 1e-9]
        if targets.shape[1] == 0:
            return 0.0 * self.encoder.latents.sum(), 0.0
        n_support = int(float(draw.uniform(1, low=0.35, high=0.8)) * len(spectra))
        n_support = min(max(n_support, 6), len(spectra) - 3)
        latents = self.encoder.encode(spectra, episode.grid())
        loss, calibration = spectra.new_zeros(()), 0.0
        for name, weight in self.config.readouts.items():
            part, penalties = self.objective(self.encoder.read_out(latents, name), targets, n_support)
            loss = loss + weight * part
            calibration = calibration or float(part.detach())
            self._penalties[name].append(float(penalties.log().mean()))
        return loss, calibration

    def _learning_rate_factor(self, step: int) -> float:
        config = self.config
        if step < config.warmup:
            return (step + 1) / config.warmup
        done = (step - config.warmup) / max(1, config.steps - config.warmup)
        return 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))

    def _scaled_encoder(self) -> SpectralPerceiver:
        """Return a copy whose read-outs are scaled for a ridge penalty of 1.

        The penalties that leave-one-out chose in the last fifth of the episodes say what the data asks
        for; scaling an embedding by s scales them by s squared.
        """
        scale = {name: self._typical_scale(name) for name in ("latents", "compact")}
        config = dataclasses.replace(self.config.encoder, readout_scale=scale["latents"])
        encoder = copy.deepcopy(self.encoder)
        encoder.config = config
        with torch.no_grad():
            encoder.compact.mul_(scale["compact"] / scale["latents"])
        return encoder.eval()

    def _typical_scale(self, readout: str) -> float:
        history = self._penalties.get(readout) or self._penalties[next(iter(self._penalties))]
        recent = history[-max(1, len(history) // 5) :]
        return float(np.exp(-0.5 * np.median(recent)))


@torch.inference_mode()
def embedding_statistics(
    encoder: SpectralPerceiver, datasets: Sequence[SpectralDataset], rows: int = 64
) -> dict[str, Tensor]:
    """Mean and covariance of the compact read-out, every dataset counting alike."""
    means, seconds = [], []
    for dataset in datasets:
        picked = np.linspace(0, len(dataset) - 1, min(rows, len(dataset))).astype(int)
        grid = Grid.from_wavelengths(torch.from_numpy(dataset.wavelengths.copy()))
        embedded = encoder.read_out(encoder.encode(torch.from_numpy(dataset.values[picked]), grid), "compact").double()
        means.append(embedded.mean(dim=0))
        seconds.append(embedded.T @ embedded / len(embedded))
    mean = torch.stack(means).mean(dim=0)
    covariance = torch.stack(seconds).mean(dim=0) - mean[:, None] * mean
    return {"compact_mean": mean.float(), "compact_covariance": covariance.float()}


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
