"""Everything that decides a pretraining run, as typed groups; one recipe sets them all."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ..encoder import EncoderConfig
from ..encoder.readouts import READOUTS

#: Spectra that an episode of calibration needs at least.
SMALLEST_EPISODE = 12


def _check(name: str, value: float, low: float, high: float = float("inf"), *, above: bool = False) -> None:
    if not (low < value if above else low <= value) or value > high or not math.isfinite(value):
        bound = f"{'above' if above else 'at least'} {low:g}" + (
            "" if high == float("inf") else f" and at most {high:g}"
        )
        raise ValueError(f"{name}={value!r} must be {bound}.")


@dataclass
class DataConfig:
    """Where spectra come from and how they are drawn.

    Attributes
    ----------
    x_bank : str, optional
        Folder of the bank; synthetic spectra alone without it.
    cache : str, optional
        Folder to keep parsed tables in.
    asls : str, optional
        Folder of AsLS baselines (``nirs4all-vit precompute-asls``).
    without_families : list of str
        Families to leave out.
    batch_size : int
        Spectra per micro-batch; of each dataset where `layout` is ``resampled``.
    layout : {"one_grid", "mixed", "resampled"}
        A micro-batch from one dataset, from several (padded), or from `n_datasets` whose spectra are read off at `n_points`
        places. The last one is for a GPU: the bank lies on the device that trains, and nothing is computed elsewhere.
    n_datasets : int
        Datasets per micro-batch where `layout` is ``resampled``.
    n_points : int
        Points of each spectrum where `layout` is ``resampled``.
    p_synth : float
        Share of synthetic spectra; all of them where there is no bank.
    n_synthetic : int
        Synthetic datasets to draw from.
    steps_per_dataset : int
        Micro-batches per dataset and virtual epoch (K).
    min_spectra : int
        Smallest dataset that is used.
    crop_probability, thin_probability : float
        Share of micro-batches cropped to 40-100 % of their range; of which every 2nd to 4th point is kept.
    weights : dict of str to float
        Weight of datasets by name; 1 by default.
    augmentation : dict of str to dict
        Augmentations of views and masked spectra, by name, in order.
    metadata_dropout : float
        Share of spectra whose metadata is hidden, where the encoder has metadata fields.
    n_workers : int
        Processes that prepare batches ahead.
    """

    x_bank: str | None = None
    cache: str | None = None
    asls: str | None = None
    without_families: list[str] = field(default_factory=list)
    batch_size: int = 96
    layout: Literal["one_grid", "mixed", "resampled"] = "one_grid"
    n_datasets: int = 16
    n_points: int = 512
    p_synth: float = 0.0
    n_synthetic: int = 64
    steps_per_dataset: int = 200
    min_spectra: int = 12
    crop_probability: float = 0.4
    thin_probability: float = 0.2
    weights: dict[str, float] = field(default_factory=dict)
    augmentation: dict[str, dict[str, Any]] = field(default_factory=dict)
    metadata_dropout: float = 0.5
    n_workers: int = 0

    def __post_init__(self) -> None:
        for name in ("p_synth", "crop_probability", "thin_probability", "metadata_dropout"):
            _check(f"data.{name}", getattr(self, name), 0, 1)
        lowest = {"batch_size": 2, "n_synthetic": 1, "steps_per_dataset": 1, "min_spectra": 2, "n_workers": 0}
        lowest |= {"n_datasets": 1, "n_points": 32}
        for name, low in lowest.items():
            _check(f"data.{name}", getattr(self, name), low)
        if self.layout == "resampled" and self.n_workers:
            raise ValueError(
                "data.layout='resampled' prepares batches on the device that trains: set data.n_workers=0."
            )
        for name, weight in self.weights.items():
            _check(f"data.weights.{name}", weight, 0)
        if self.augmentation:
            from .augmentation import Augmentation

            try:
                Augmentation(self.augmentation)
            except ValueError as error:
                raise ValueError(f"data.augmentation: {error}") from error


@dataclass
class MaskedModelingConfig:
    """Predict masked blocks of the normalised spectrum.

    Attributes
    ----------
    weight : float
        Weight of the loss; 0: not computed.
    ratio : (float, float)
        Bounds of the masked share.
    block : (float, float)
        Bounds of the block width in nm.
    variance_weights : bool
        Weigh wavelengths by how much the batch varies there.
    """

    weight: float = 0.0
    ratio: tuple[float, float] = (0.6, 0.8)
    block: tuple[float, float] = (15.0, 150.0)
    variance_weights: bool = False

    def __post_init__(self) -> None:
        _check("objectives.masked_modeling.weight", self.weight, 0)
        if not 0 < self.ratio[0] <= self.ratio[1] < 1:
            raise ValueError(f"objectives.masked_modeling.ratio={self.ratio} must be two shares, 0 < low <= high < 1.")
        if not 0 < self.block[0] <= self.block[1]:
            raise ValueError(f"objectives.masked_modeling.block={self.block} must be two widths, 0 < low <= high.")


@dataclass
class BaselineConsistencyConfig:
    """The same embedding with and without the AsLS baseline.

    Attributes
    ----------
    weight : float
        Weight of the loss; 0: not computed.
    """

    weight: float = 0.0

    def __post_init__(self) -> None:
        _check("objectives.baseline_consistency.weight", self.weight, 0)


@dataclass
class ContrastiveConfig:
    """InfoNCE between two augmented views, or two instruments' views, of each sample.

    Attributes
    ----------
    weight : float
        Weight of the loss; 0: not computed.
    temperature : float
        Temperature of the softmax.
    width : int
        Dimensions of the projection that is compared.
    p_paired : float
        Share of micro-batches whose second view is another instrument's, where there is one.
    pairs : list of list of str
        Datasets of the bank that hold the same samples row by row. Synthetic datasets are paired by themselves.
    """

    weight: float = 0.0
    temperature: float = 0.1
    width: int = 64
    p_paired: float = 0.5
    pairs: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        _check("objectives.contrastive.weight", self.weight, 0)
        _check("objectives.contrastive.temperature", self.temperature, 0, above=True)
        _check("objectives.contrastive.width", self.width, 2)
        _check("objectives.contrastive.p_paired", self.p_paired, 0, 1)


@dataclass
class DatasetAdversaryConfig:
    """A classifier tries to tell the dataset; the encoder learns to deny it.

    Attributes
    ----------
    weight : float
        Weight of the loss; 0: not computed.
    reversal : float
        Largest factor on the reversed gradient, reached by a logistic schedule over the run.
    """

    weight: float = 0.0
    reversal: float = 1.0

    def __post_init__(self) -> None:
        _check("objectives.dataset_adversary.weight", self.weight, 0)
        _check("objectives.dataset_adversary.reversal", self.reversal, 0)


@dataclass
class EpisodicCalibrationConfig:
    """A ridge on part of an episode must predict known answers for the rest.

    Attributes
    ----------
    weight : float
        Weight of the loss; 0: not computed.
    tasks : dict of str to dict
        Task generators by name, with ``weight`` (share of episodes, default 1) and their own parameters.
    readouts : dict of str to float
        Share of the episodes that are calibrated on each read-out.
    corruption : float
        Share of episodes corrupted with gain, drift and noise.
    noise : float
        Largest noise of the answers in deviations; log-uniform from a fiftieth of it.
    """

    weight: float = 0.0
    tasks: dict[str, dict[str, Any]] = field(default_factory=lambda: {"nonlinear_functionals": {}})
    readouts: dict[str, float] = field(default_factory=lambda: {"contrast": 1.0})
    corruption: float = 0.6
    noise: float = 1.0

    def __post_init__(self) -> None:
        from .tasks import make_tasks

        name = "objectives.episodic_calibration"
        for setting, highest in (("weight", math.inf), ("corruption", 1), ("noise", math.inf)):
            _check(f"{name}.{setting}", getattr(self, setting), 0, highest)
        try:
            make_tasks(self.tasks)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name}.tasks: {error}") from error
        positive = all(0 < w < math.inf for w in self.readouts.values())
        if not self.readouts or set(self.readouts) - set(READOUTS) or not positive:
            raise ValueError(
                f"{name}.readouts={self.readouts}: positive weights for one or more of {', '.join(READOUTS)}."
            )


@dataclass
class ObjectiveConfig:
    """Objectives and their weights; L = sum of weight x loss."""

    masked_modeling: MaskedModelingConfig = field(default_factory=MaskedModelingConfig)
    baseline_consistency: BaselineConsistencyConfig = field(default_factory=BaselineConsistencyConfig)
    contrastive: ContrastiveConfig = field(default_factory=ContrastiveConfig)
    dataset_adversary: DatasetAdversaryConfig = field(default_factory=DatasetAdversaryConfig)
    episodic_calibration: EpisodicCalibrationConfig = field(default_factory=EpisodicCalibrationConfig)

    def active(self) -> dict[str, Any]:
        """Return the settings of the objectives that are computed."""
        return {name: settings for name, settings in vars(self).items() if settings.weight > 0}


@dataclass
class OptimConfig:
    """AdamW, warm-up and cosine.

    Attributes
    ----------
    steps : int, optional
        Optimizer steps; `epochs` virtual epochs otherwise.
    epochs : int
        Virtual epochs, K x datasets micro-batches each, where `steps` is not given.
    warmup : float
        Length of the linear warm-up: a share of the run below 1, steps from 1 on.
    learning_rate, weight_decay : float
        Of AdamW; biases, norms, windows and scalars are not decayed.
    clip : float
        Largest gradient norm.
    accumulate : int
        Micro-batches per step, over all processes together.
    ema : float
        Decay of the moving average of the weights, which is what is kept; 0: none.
    contrast_from : str, optional
        Checkpoint whose local contrast is taken over and not trained: what is learned stands on it.
    """

    steps: int | None = None
    epochs: int = 1
    warmup: float = 0.05
    learning_rate: float = 5e-4
    weight_decay: float = 0.01
    clip: float = 1.0
    accumulate: int = 1
    ema: float = 0.0
    contrast_from: str | None = None

    def __post_init__(self) -> None:
        if self.steps is not None:
            _check("optim.steps", self.steps, 1)
        _check("optim.epochs", self.epochs, 1)
        _check("optim.warmup", self.warmup, 0)
        _check("optim.learning_rate", self.learning_rate, 0, above=True)
        _check("optim.weight_decay", self.weight_decay, 0)
        _check("optim.clip", self.clip, 0, above=True)
        _check("optim.accumulate", self.accumulate, 1)
        if not 0 <= self.ema < 1:
            raise ValueError(f"optim.ema={self.ema!r} must be at least 0 and below 1.")


@dataclass
class RunConfig:
    """Where and how a run is made.

    Attributes
    ----------
    name : str
        Name and version of the product.
    out : str
        Folder of the run.
    seed : int
        Decides every random number.
    resume : {"auto", "never"}
        Go on with what lies in `out`, or refuse to touch it.
    device : str
        ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:1``.
    precision : {"fp32", "bf16", "fp16"}
        Of the matrix products in blocks and heads; windows and ridge keep theirs. fp16 is for GPUs.
    deterministic : bool
        On a GPU, compute everything in an order that does not change, so that a run gives the same weights again; slower. A CPU
        always does.
    gradient_checkpointing : bool
        Recompute blocks in the backward pass: less memory, more time.
    compile : bool
        Compile the encoder's blocks.
    checkpoint_every : int
        Steps between checkpoints.
    score_every : int
        Steps between scores: validation loss, stability, ridge on `y_bank`. 0: only at the end.
    n_validation : int
        Micro-batches of the validation loss.
    patience : int
        Scores without a better validation loss before the run ends early; 0: never.
    y_bank : str, optional
        Folder of targets, for evaluation only: nothing is trained, stopped or chosen by it.
    y_datasets : list of str
        Datasets to evaluate there.
    """

    name: str = "unnamed"
    out: str = "runs/unnamed"
    seed: int = 0
    resume: Literal["auto", "never"] = "never"
    device: str = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    deterministic: bool = False
    gradient_checkpointing: bool = False
    compile: bool = False
    checkpoint_every: int = 200
    score_every: int = 200
    n_validation: int = 8
    patience: int = 0
    y_bank: str | None = None
    y_datasets: list[str] = field(default_factory=lambda: ["corn_m5", "tecator_meat"])

    def __post_init__(self) -> None:
        for name, low in (
            ("checkpoint_every", 1),
            ("score_every", 0),
            ("n_validation", 1),
            ("patience", 0),
            ("seed", 0),
        ):
            _check(f"run.{name}", getattr(self, name), low)


@dataclass
class PretrainingConfig:
    """One run. Groups: `data`, `encoder`, `objectives`, `optim`, `run`."""

    data: DataConfig = field(default_factory=DataConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    objectives: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        if not self.objectives.active():
            raise ValueError("objectives: every weight is 0; give at least one objective a weight.")
        if self.objectives.episodic_calibration.weight > 0 and self.data.layout == "mixed":
            raise ValueError(
                "data.layout='mixed' does not go with objectives.episodic_calibration: an episode is one dataset."
            )
        if (
            self.objectives.episodic_calibration.weight > 0
            and min(self.data.batch_size, self.data.min_spectra) < SMALLEST_EPISODE
        ):
            raise ValueError(
                f"data.batch_size={self.data.batch_size}, data.min_spectra={self.data.min_spectra}: "
                f"objectives.episodic_calibration needs {SMALLEST_EPISODE} spectra at least."
            )
        episodic = self.objectives.episodic_calibration
        if episodic.weight > 0 and self.encoder.tokens == "points" and "contrast" in episodic.readouts:
            raise ValueError(
                "objectives.episodic_calibration.readouts: an encoder of points has no 'contrast'; use compact, mean or cls."
            )
        contrastive = self.objectives.contrastive
        if contrastive.weight > 0 and not self.data.augmentation and contrastive.p_paired == 0:
            raise ValueError(
                "objectives.contrastive: both views of a sample would be the same; set data.augmentation, or p_paired and pairs."
            )
        if any(len(names) < 2 for names in contrastive.pairs):
            raise ValueError(f"objectives.contrastive.pairs={contrastive.pairs}: each names two datasets or more.")

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain JSON types."""
        return asdict(self)

    def recipe(self) -> dict[str, Any]:
        """Return what decides the weights: everything but paths and the way of running."""
        settings = self.to_dict()
        for group, names in (
            ("data", ("x_bank", "cache", "asls", "n_workers")),
            ("optim", ("contrast_from",)),
            ("run", ("out", "resume", "checkpoint_every", "y_bank", "y_datasets")),
        ):
            for name in names:
                settings[group].pop(name)
        return settings
