"""Configuration of a pretraining run, in typed groups; a recipe sets them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ..encoder import EncoderConfig
from ..encoder.readouts import READOUTS

#: Smallest number of spectra in an episode of calibration.
SMALLEST_EPISODE = 12


def _check(name: str, value: float, low: float, high: float = float("inf"), *, above: bool = False) -> None:
    if not (low < value if above else low <= value) or value > high or not math.isfinite(value):
        bound = f"{'above' if above else 'at least'} {low:g}" + (
            "" if high == float("inf") else f" and at most {high:g}"
        )
        raise ValueError(f"{name}={value!r} must be {bound}.")


@dataclass
class DataConfig:
    """Source and sampling of the spectra.

    Attributes
    ----------
    x_bank : str, optional
        Folder of the bank. Without it, only synthetic spectra are used.
    cache : str, optional
        Folder in which parsed tables are cached.
    asls : str, optional
        Folder of AsLS baselines (``nirs4all-vit precompute-asls``).
    without_families : list of str
        Families to exclude.
    batch_size : int
        Spectra per micro-batch; with the layout ``resampled``, spectra per dataset.
    layout : {"one_grid", "mixed", "resampled"}
        A micro-batch contains one dataset, several datasets (padded), or `n_datasets` datasets
        interpolated to `n_points` points. ``resampled`` is meant for a GPU: the bank is stored, and
        batches are prepared, on the training device.
    n_datasets : int
        Datasets per micro-batch, with the layout ``resampled``.
    n_points : int
        Points per spectrum, with the layout ``resampled``.
    p_synth : float
        Share of synthetic spectra: real ones with simulated components (`hybrid_bank`), or, with a
        share of 1 and without a bank, wholly simulated ones (`synthetic_bank`).
    n_synthetic : int
        Number of synthetic datasets.
    steps_per_dataset : int
        Micro-batches per dataset and virtual epoch (K).
    min_spectra : int
        Datasets with fewer spectra are not used.
    crop_probability : float
        Probability that a dataset of a micro-batch is cropped to 40-100 % of its points.
    thin_probability : float
        Probability that a dataset of a micro-batch is thinned to every 2nd, 3rd or 4th point.
    weights : dict of str to float
        Sampling weight of datasets, by name; 1 by default.
    augmentation : dict of str to dict
        Augmentations by name, applied in this order to views and masked spectra.
    metadata_dropout : float
        Share of spectra whose metadata is hidden; used if the encoder has metadata fields.
    n_workers : int
        Number of processes that prepare batches in advance.
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
            raise ValueError("data.layout='resampled' prepares batches on the training device; set data.n_workers=0.")
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
    """Masked modelling: predict masked blocks of the normalised spectrum.

    Attributes
    ----------
    weight : float
        Weight of the loss; 0: not computed.
    ratio : (float, float)
        Bounds of the masked share.
    block : (float, float)
        Bounds of the block width in nm.
    variance_weights : bool
        Weight each wavelength by its relative standard deviation over the episode.
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
    """Consistency of the embeddings with and without the AsLS baseline.

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
    """InfoNCE between two augmented views of each sample, of one instrument or of two.

    Attributes
    ----------
    weight : float
        Weight of the loss; 0: not computed.
    temperature : float
        Temperature of the softmax.
    width : int
        Dimensions of the projection head.
    p_paired : float
        Probability that the second view is measured by another instrument, where paired
        measurements exist.
    pairs : list of list of str
        Datasets of the bank with the same samples, row by row. Synthetic datasets are paired
        automatically.
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
    """Adversarial training of the encoder against a classifier of the dataset.

    Attributes
    ----------
    weight : float
        Weight of the loss; 0: not computed.
    reversal : float
        Largest factor of the reversed gradient, approached by a logistic schedule over the run.
    """

    weight: float = 0.0
    reversal: float = 1.0

    def __post_init__(self) -> None:
        _check("objectives.dataset_adversary.weight", self.weight, 0)
        _check("objectives.dataset_adversary.reversal", self.reversal, 0)


@dataclass
class EpisodicCalibrationConfig:
    """Calibration episodes: a ridge fitted on one part must predict the rest.

    Attributes
    ----------
    weight : float
        Weight of the loss; 0: not computed.
    tasks : dict of str to dict
        Task generators by name, with ``weight`` (relative share of episodes, default 1) and their
        own parameters.
    readouts : dict of str to float
        Relative share of the episodes that are calibrated on each read-out.
    corruption : float
        Share of the episodes corrupted with gain, baseline drift and noise.
    noise : float
        Largest noise of the targets, in standard deviations of the target. The noise level is
        log-uniform between a fiftieth of this value and this value.
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
                f"{name}.readouts={self.readouts} must give positive weights to one or more of {', '.join(READOUTS)}."
            )


@dataclass
class ObjectiveConfig:
    """Objectives; the total loss is the sum of weight times loss."""

    masked_modeling: MaskedModelingConfig = field(default_factory=MaskedModelingConfig)
    baseline_consistency: BaselineConsistencyConfig = field(default_factory=BaselineConsistencyConfig)
    contrastive: ContrastiveConfig = field(default_factory=ContrastiveConfig)
    dataset_adversary: DatasetAdversaryConfig = field(default_factory=DatasetAdversaryConfig)
    episodic_calibration: EpisodicCalibrationConfig = field(default_factory=EpisodicCalibrationConfig)

    def active(self) -> dict[str, Any]:
        """Return the settings of the objectives with a positive weight, by name."""
        return {name: settings for name, settings in vars(self).items() if settings.weight > 0}


@dataclass
class OptimConfig:
    """AdamW with linear warm-up and cosine decay.

    Attributes
    ----------
    steps : int, optional
        Optimizer steps; by default `epochs` virtual epochs.
    epochs : int
        Number of virtual epochs, each of K micro-batches per dataset; ignored if `steps` is
        given.
    warmup : float
        Length of the linear warm-up: below 1 a share of the run, else a number of steps.
    learning_rate : float
        Learning rate of AdamW after warm-up; that of local-contrast scales is ten times higher.
    weight_decay : float
        Weight decay of AdamW, except for biases, norms, scalars, latents and local-contrast scales.
    clip : float
        Gradients are clipped to this norm.
    accumulate : int
        Micro-batches per step, summed over all processes.
    ema : float
        Decay of the exponential moving average of the weights, which is saved instead of the
        weights; 0: no average.
    contrast_from : str, optional
        Checkpoint from which the local contrast is copied; it is then frozen.
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
    """Output, device and schedule of a run.

    Attributes
    ----------
    name : str
        Name and version of the encoder.
    out : str
        Folder of the run.
    seed : int
        Seed of all random numbers.
    resume : {"auto", "never"}
        ``auto`` resumes the run in `out`; ``never`` refuses to overwrite it.
    device : str
        ``auto`` (a GPU if available), ``cpu``, ``cuda`` or, for example, ``cuda:1``.
    precision : {"fp32", "bf16", "fp16"}
        Precision of the matrix products in blocks and heads; windows and the ridge keep their own.
        fp16 needs a GPU.
    deterministic : bool
        On a GPU, use deterministic algorithms, so that a repeated run gives the same weights;
        slower. On a CPU, runs are always deterministic.
    gradient_checkpointing : bool
        Recompute blocks in the backward pass; saves memory, costs time.
    compile : bool
        Compile the blocks of the encoder (``torch.compile``).
    checkpoint_every : int
        Steps between checkpoints.
    score_every : int
        Steps between evaluations: validation loss, stability, ridge regression on `y_bank`.
        0: only at the end.
    n_validation : int
        Number of micro-batches of the validation loss.
    patience : int
        Evaluations without a lower validation loss after which the run ends early; 0: no early
        stopping.
    y_bank : str, optional
        Folder of targets, for evaluation only; training, early stopping and the choice of the best
        checkpoint do not use it.
    y_datasets : list of str
        Datasets of `y_bank` to evaluate.
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
    """Configuration of a run: `data`, `encoder`, `objectives`, `optim` and `run`."""

    data: DataConfig = field(default_factory=DataConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    objectives: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        if not self.objectives.active():
            raise ValueError("objectives: all weights are 0; give at least one objective a positive weight.")
        if self.objectives.episodic_calibration.weight > 0 and self.data.layout == "mixed":
            raise ValueError(
                "data.layout='mixed' cannot be combined with objectives.episodic_calibration: an episode "
                "contains one dataset. Use one_grid or resampled."
            )
        if (
            self.objectives.episodic_calibration.weight > 0
            and min(self.data.batch_size, self.data.min_spectra) < SMALLEST_EPISODE
        ):
            raise ValueError(
                f"data.batch_size={self.data.batch_size}, data.min_spectra={self.data.min_spectra}: "
                f"objectives.episodic_calibration needs both to be at least {SMALLEST_EPISODE}."
            )
        episodic = self.objectives.episodic_calibration
        if episodic.weight > 0 and self.encoder.tokens == "points" and "contrast" in episodic.readouts:
            raise ValueError(
                "objectives.episodic_calibration.readouts: an encoder with encoder.tokens='points' has no "
                "read-out 'contrast'; use compact, mean or cls."
            )
        contrastive = self.objectives.contrastive
        if contrastive.weight > 0 and not self.data.augmentation and contrastive.p_paired == 0:
            raise ValueError(
                "objectives.contrastive: both views of a sample would be identical; set "
                "data.augmentation, or p_paired and pairs."
            )
        if any(len(names) < 2 for names in contrastive.pairs):
            raise ValueError(f"objectives.contrastive.pairs={contrastive.pairs}: each must name two or more datasets.")

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain JSON types."""
        return asdict(self)

    def recipe(self) -> dict[str, Any]:
        """Return the settings that determine the weights, without paths and checkpoint schedule."""
        settings = self.to_dict()
        for group, names in (
            ("data", ("x_bank", "cache", "asls", "n_workers")),
            ("optim", ("contrast_from",)),
            ("run", ("out", "resume", "checkpoint_every", "y_bank", "y_datasets")),
        ):
            for name in names:
                settings[group].pop(name)
        return settings
