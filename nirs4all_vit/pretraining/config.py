"""What a pretraining run is made of, as typed groups that a YAML recipe fills."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from ..encoder import READOUTS, EncoderConfig
from .tasks import TASKS


@dataclass(frozen=True)
class PretrainingConfig:
    """A pretraining run.

    Attributes
    ----------
    name : str
        Name and version of the checkpoint.
    seed : int
        Decides initial weights, episodes, tasks and corruption.
    steps : int
        Optimizer steps; each takes one episode per task.
    episode_size : int
        Largest number of spectra in an episode.
    tasks : dict of str to float
        Task generators and their weights in the loss.
    readouts : dict of str to float
        Read-outs that must calibrate, and their weights in the loss.
    corruption : float
        Share of episodes that are corrupted.
    learning_rate, weight_decay : float
        Of AdamW.
    warmup : int
        Steps of linear warm-up before the cosine.
    clip : float
        Largest gradient norm.
    checkpoint_every : int
        Steps between checkpoints.
    encoder : EncoderConfig
        Shape of the encoder.
    """

    name: str
    seed: int = 0
    steps: int = 2600
    episode_size: int = 96
    tasks: dict[str, float] = field(default_factory=lambda: {"nonlinear_functionals": 1.0})
    readouts: dict[str, float] = field(default_factory=lambda: {"latents": 1.0})
    corruption: float = 0.6
    learning_rate: float = 5e-4
    weight_decay: float = 0.01
    warmup: int = 100
    clip: float = 1.0
    checkpoint_every: int = 200
    encoder: EncoderConfig = field(default_factory=EncoderConfig)

    def __post_init__(self) -> None:
        for group, known in (("tasks", TASKS), ("readouts", READOUTS)):
            values = getattr(self, group)
            unknown = set(values) - set(known)
            if unknown or not values or any(weight <= 0 for weight in values.values()):
                raise ValueError(f"{group}: give positive weights to one or more of {', '.join(known)}; got {values}.")
        for name in ("steps", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1.")
        if not 0 <= self.corruption <= 1:
            raise ValueError(f"corruption={self.corruption} must lie between 0 and 1.")

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PretrainingConfig:
        """Build a configuration, refusing keys that do not exist."""
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown settings: {', '.join(sorted(unknown))}.")
        return cls(**(values | {"encoder": EncoderConfig.from_dict(values.get("encoder") or {})}))


def load_recipe(reference: str | Path) -> PretrainingConfig:
    """Read a recipe by the name of a bundled one, or by path."""
    bundled = resources.files(__package__) / "recipes" / f"{reference}.yaml"
    source = bundled if bundled.is_file() else Path(reference)
    if not source.is_file():
        known = sorted(p.name.removesuffix(".yaml") for p in (resources.files(__package__) / "recipes").iterdir())
        raise FileNotFoundError(f"no recipe {str(reference)!r}; bundled: {', '.join(known)}; or give a YAML file.")
    return PretrainingConfig.from_dict(yaml.safe_load(source.read_text("utf-8")))
