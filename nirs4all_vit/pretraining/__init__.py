"""Pretraining: unlabelled spectra in, a checkpoint out."""

from .config import PretrainingConfig, load_recipe
from .data import (
    BaselineCache,
    FamilyKFold,
    GroupKennardStone,
    GroupSPXY,
    LeaveOneDatasetOut,
    LeaveOneFamilyOut,
    MultiSpectralDataset,
    SpectralDataset,
    SyntheticSpectralDataset,
    fetch_dataset,
    from_nirs4all,
    load_x_bank,
    synthetic_bank,
)
from .loop import Pretraining

__all__ = [
    "BaselineCache",
    "FamilyKFold",
    "GroupKennardStone",
    "GroupSPXY",
    "LeaveOneDatasetOut",
    "LeaveOneFamilyOut",
    "MultiSpectralDataset",
    "Pretraining",
    "PretrainingConfig",
    "SpectralDataset",
    "SyntheticSpectralDataset",
    "fetch_dataset",
    "from_nirs4all",
    "load_recipe",
    "load_x_bank",
    "synthetic_bank",
]
