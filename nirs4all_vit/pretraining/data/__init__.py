"""Spectra for pretraining: where they come from and how they are drawn."""

from .asls import BaselineCache, asls_baseline
from .bank import LeftOut, XBank, bank_hash, load_x_bank
from .baseline_cacher import BaselineCacher
from .batch import SpectralBatch
from .dataset import SpectralDataset
from .folders import read_folder, write_folder
from .metadata import UNKNOWN, SpectralMetadata
from .multi import MultiSpectralDataset
from .nirs4all_sources import fetch_dataset, from_nirs4all
from .sampling import UniformDatasetSampler
from .splitters import FamilyKFold, GroupKennardStone, GroupSPXY, LeaveOneDatasetOut, LeaveOneFamilyOut, LODOSplitter
from .synthetic import SyntheticSpectralDataset, synthetic_bank

__all__ = [
    "UNKNOWN",
    "BaselineCache",
    "BaselineCacher",
    "FamilyKFold",
    "GroupKennardStone",
    "GroupSPXY",
    "LODOSplitter",
    "LeaveOneDatasetOut",
    "LeaveOneFamilyOut",
    "LeftOut",
    "MultiSpectralDataset",
    "SpectralBatch",
    "SpectralDataset",
    "SpectralMetadata",
    "SyntheticSpectralDataset",
    "UniformDatasetSampler",
    "XBank",
    "asls_baseline",
    "bank_hash",
    "fetch_dataset",
    "from_nirs4all",
    "load_x_bank",
    "read_folder",
    "synthetic_bank",
    "write_folder",
]
