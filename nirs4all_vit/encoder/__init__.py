"""The Spectral Perceiver in pure torch; knows no scikit-learn and no nirs4all."""

from .config import EncoderConfig
from .grid import Grid
from .perceiver import READOUTS, Latents, SpectralPerceiver

__all__ = ["READOUTS", "EncoderConfig", "Grid", "Latents", "SpectralPerceiver"]
