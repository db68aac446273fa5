"""End-to-end fine-tuning of the encoder on labelled spectra."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "FinetuningConfig": "multitask_config",
        "SpectralClassifier": "classifier",
        "SpectralRegressor": "regressor",
        "finetune": "multitask",
    },
)

if TYPE_CHECKING:
    from .classifier import SpectralClassifier as SpectralClassifier
    from .multitask import finetune as finetune
    from .multitask_config import FinetuningConfig as FinetuningConfig
    from .regressor import SpectralRegressor as SpectralRegressor
