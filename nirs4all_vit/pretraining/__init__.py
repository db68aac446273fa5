"""Pretraining: unlabelled spectra in, a checkpoint out."""

from .config import PretrainingConfig, load_recipe
from .data import SpectralDataset, load_x_bank
from .loop import Pretraining

__all__ = ["Pretraining", "PretrainingConfig", "SpectralDataset", "load_recipe", "load_x_bank"]
