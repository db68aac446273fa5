"""Spectra for pretraining."""

from .bank import SpectralDataset, bank_hash, load_x_bank

__all__ = ["SpectralDataset", "bank_hash", "load_x_bank"]
