"""What tuning on many labelled datasets can be told."""

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
        Where tuning starts: a bundled name or a file.
    readout : str
        What the closed-form heads read.
    without_families : list of str
        Families that are left out, to be scored on.
    label_weight : float
        Share of the loss that measured targets have, 0 to 1; the rest have the components of hidden regions, which need no label.
    steps : int
    batch_size : int
        Spectra per step, at most.
    learning_rate : float
        Of the last layer; warmed up over a twentieth of the steps, then half a cosine to zero.
    layer_decay : float
        Factor of the learning rate from one layer to the one before.
    seed : int
    checkpoint_every : int
        Steps between states that a run can be resumed from.
    resume : {"auto", "never"}
        Go on where the run in `out` stopped.
    device : str
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
            One that is impossible; the message names it.
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
                f"learning_rate={self.learning_rate} and layer_decay={self.layer_decay} must be positive, the latter at most 1."
            )
