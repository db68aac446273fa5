"""Settings of multi-task fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..encoder.checkpoint import DEFAULT_CHECKPOINT
from ..encoder.readouts import READOUTS


@dataclass
class FinetuningConfig:
    """Settings of `finetune`.

    Parameters
    ----------
    x_bank : str
        Folder of spectra, as in pretraining.
    y_bank : str
        Folder of targets, ``<dataset_id>.csv``.
    out : str
        Folder of the run.
    checkpoint : str
        Checkpoint to start from: a bundled name or a file.
    readout : str
        Read-out used by the closed-form heads.
    without_families : list of str
        Families to leave out for evaluation.
    label_weight : float
        Weight of measured targets in the loss, 0 to 1. The rest is the weight of the label-free task, which predicts
        components of hidden regions.
    steps : int
        Number of steps.
    batch_size : int
        Maximum number of spectra per step.
    learning_rate : float
        Learning rate of the last layer, with warm-up over 5 % of the steps and cosine decay to zero.
    layer_decay : float
        Factor of the learning rate from one layer to the preceding one.
    seed : int
        Seed of the random draws.
    checkpoint_every : int
        Number of steps between saved states for resuming.
    resume : {"auto", "never"}
        ``auto`` resumes the run in `out`; ``never`` refuses to overwrite it.
    device : str
        Torch device; ``auto`` uses a GPU if there is one.
    """

    x_bank: str
    y_bank: str
    out: str
    checkpoint: str = DEFAULT_CHECKPOINT
    readout: str = "contrast"
    without_families: list[str] = field(default_factory=list)
    label_weight: float = 1.0
    steps: int = 400
    batch_size: int = 96
    learning_rate: float = 1e-3
    layer_decay: float = 0.7
    seed: int = 0
    checkpoint_every: int = 100
    resume: Literal["auto", "never"] = "never"
    device: str = "auto"

    def __post_init__(self) -> None:
        """Check values.

        Raises
        ------
        ValueError
            A value is invalid; the message names it.
        """
        if self.readout not in READOUTS:
            raise ValueError(f"readout={self.readout!r} does not exist; use one of {', '.join(READOUTS)}.")
        if not 0 < self.label_weight <= 1:
            raise ValueError(f"label_weight={self.label_weight} must be above 0, at most 1; pretrain without labels.")
        for name, least in (("steps", 1), ("batch_size", 16), ("checkpoint_every", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} must be {least} or more.")
        if not (self.learning_rate > 0 and 0 < self.layer_decay <= 1):
            raise ValueError(
                f"learning_rate={self.learning_rate} and layer_decay={self.layer_decay} must be positive, "
                "the latter at most 1."
            )
