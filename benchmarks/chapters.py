"""Chapters of the summary: question, table, figures and command of each phase."""

from __future__ import annotations

from dataclasses import dataclass

from . import answers
from .answers import Answer
from .encoders import DEFAULT
from .phases import SEEDS, TRANSFER_RECIPE


@dataclass(frozen=True)
class Chapter:
    """Chapter of the page, on one phase.

    Attributes
    ----------
    phase : str
        Name of the phase in ``python -m benchmarks run``.
    title, question : str
    table : str
        Name of the CSV file, without suffix.
    answer : callable
        Function that returns a sentence for the table.
    figures : tuple of str
        Names of figures; ``*`` at the end stands for one figure per method or analyte.
    splits : int
        Number of splits of each target.
    bank : str
        Folder of spectra in the command.
    """

    phase: str
    title: str
    question: str
    table: str
    answer: Answer
    figures: tuple[str, ...]
    splits: int = len(SEEDS)
    bank: str = "../shared/x_bank"


_UNSEEN = f"ridge@{TRANSFER_RECIPE}~K"
_EMBEDDED = f"ridge@{DEFAULT}"


def _compared(
    phase: str,
    name: str,
    title: str,
    question: str,
    *subjects: str,
    ranks: bool = False,
    answer: Answer | None = None,
    figures: tuple[str, ...] = (),
) -> Chapter:
    """Return the chapter of a phase that compares methods, with figures by kind of target, and others."""
    stems = [
        f"{phase}{kind}_{what}" for kind in ("", "_classes") for what in ("ratios", *(("ranks",) if ranks else ()))
    ]
    return Chapter(name, title, question, phase, answer or answers.regression_of(*subjects), (*figures, *stems))


#: Chapters in the order of the page.
CHAPTERS = (
    _compared(
        "phase0",
        "baselines",
        "Embedding and standard pipelines",
        "How does ridge on the embedding compare with the pipelines that spectroscopists use?",
        _EMBEDDED,
        ranks=True,
    ),
    _compared(
        "phase3a",
        "strict_transfer",
        "Unseen families",
        "Does the embedding hold on families of samples that were left out of pretraining?",
        _UNSEEN,
    ),
    _compared(
        "phase3a-heads",
        "phase3a-heads",
        "Unseen families: heads and small calibration sets",
        "What does the committee of heads add, and how few samples are enough?",
        f"committee@{TRANSFER_RECIPE}~K",
    ),
    Chapter(
        "published",
        "Published splits",
        "Does the result hold on the splits that the publishers of the datasets chose?",
        "published",
        answers.regression_of(f"committee@{TRANSFER_RECIPE}~K", _UNSEEN),
        ("published_ratios",),
        splits=1,
    ),
    Chapter(
        "baselines",
        "Confirmation families",
        "Does the result hold on datasets that no choice was made on?",
        "confirm",
        answers.regression_of(f"committee@{DEFAULT}", _EMBEDDED),
        ("confirm_ratios", "confirm_classes_ratios"),
        bank="../shared/confirm/x_bank",
    ),
    _compared("phase6", "final", "Heads", "Which head on the embedding has the lowest error?"),
    _compared(
        "views",
        "views",
        "Untrained views",
        "Do the columns of the embedding have a lower error than other views of the spectra under the same head?",
        answer=answers.views,
    ),
    Chapter(
        "small",
        "Small calibration sets",
        "How does the error depend on the number of calibration samples?",
        "small_samples",
        answers.by_size,
        ("small_samples",),
    ),
    Chapter(
        "splits",
        "Designed splits",
        "Does the result depend on how calibration samples are chosen?",
        "splits",
        answers.by_split,
        ("splits",),
    ),
    Chapter(
        "finetuning",
        "Fine-tuning on the calibration set",
        "Does fine-tuning the encoder on the calibration set reduce the error?",
        "finetuning",
        answers.tuned,
        ("finetuning",),
    ),
    Chapter(
        "intervals",
        "Prediction intervals",
        "Do prediction intervals have their nominal coverage?",
        "intervals",
        answers.coverage,
        ("intervals",),
    ),
    Chapter(
        "robustness",
        "Perturbed spectra",
        "How much does the error grow when the spectra are disturbed after calibration?",
        "robustness",
        answers.growth,
        ("robustness", "robustness_curves"),
    ),
    Chapter(
        "ranges",
        "Another wavelength range",
        "What happens when new spectra have another range or another sampling?",
        "ranges",
        answers.cut,
        ("ranges",),
        splits=1,
    ),
    Chapter(
        "transfer",
        "Calibration transfer",
        "How large is the error on a second instrument, with and without transfer samples?",
        "transfer",
        answers.transferred,
        ("transfer", "transfer_*"),
    ),
    Chapter(
        "pooled",
        "Pooled calibration",
        "Can one head predict an analyte in a dataset that it was not trained on?",
        "pooled",
        answers.pooled,
        ("pooled", "pooled_*"),
    ),
    _compared(
        "labels",
        "labels",
        "Fine-tuning on other families",
        "Does fine-tuning the encoder on targets of other families reduce the error?",
        answer=answers.encoders,
    ),
    _compared(
        "phase1",
        "feasibility",
        "Feasibility",
        "Is a pretrained encoder better than PCA and than an untrained one?",
        answer=answers.pretraining,
        figures=("phase1_gain",),
    ),
    _compared(
        "training_length",
        "training_length",
        "Length of training",
        "Does the encoder get better with more spectra?",
        answer=answers.pretraining,
        figures=("training_length",),
    ),
    _compared(
        "seeds",
        "seeds",
        "Seeds",
        "Is the gain of pretraining larger than the differences between seeds?",
        answer=answers.seeds,
        figures=("seeds_gain",),
    ),
    _compared(
        "phase2",
        "ablation",
        "Ablation",
        "Which objective, task and read-out matters?",
        answer=answers.pretraining,
        figures=("phase2_gain",),
    ),
    _compared(
        "phase4",
        "synthetic",
        "Synthetic spectra",
        "Do synthetic spectra in pretraining help?",
        answer=answers.pretraining,
        figures=("phase4_gain", "synthetic_utility"),
    ),
    _compared(
        "phase5",
        "metadata",
        "Metadata",
        "Does metadata in pretraining help?",
        answer=answers.pretraining,
        figures=("phase5_gain",),
    ),
    Chapter(
        "leak",
        "Shuffled targets",
        "Does any method predict targets that were shuffled over the samples?",
        "leak",
        answers.verdict,
        ("leak",),
        splits=1,
    ),
)
