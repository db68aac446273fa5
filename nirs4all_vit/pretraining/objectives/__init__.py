"""Objectives of pretraining, all label-free, one file each."""

from typing import Any

from .baseline_consistency import BaselineConsistency
from .contrastive import Contrastive
from .dataset_adversary import DatasetAdversary
from .episodic_calibration import EpisodicCalibration
from .masked_modeling import MaskedModeling

#: Objectives by the name of their settings.
OBJECTIVES: dict[str, Any] = {
    "masked_modeling": MaskedModeling,
    "baseline_consistency": BaselineConsistency,
    "contrastive": Contrastive,
    "dataset_adversary": DatasetAdversary,
    "episodic_calibration": EpisodicCalibration,
}

__all__ = [
    "OBJECTIVES",
    "BaselineConsistency",
    "Contrastive",
    "DatasetAdversary",
    "EpisodicCalibration",
    "MaskedModeling",
]
