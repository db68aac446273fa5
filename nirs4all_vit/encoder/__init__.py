"""The Spectral Perceiver in pure torch, its checkpoints and its ONNX graph; knows no scikit-learn and no nirs4all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy_names

# Checkpoints are found, and read-outs named, without torch.
__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "EncoderConfig": "config",
        "Grid": "grid",
        "Latents": "perceiver",
        "READOUTS": "readouts",
        "SpectralPerceiver": "perceiver",
        "export_onnx": "export",
    },
)

if TYPE_CHECKING:
    from .config import EncoderConfig as EncoderConfig
    from .export import export_onnx as export_onnx
    from .grid import Grid as Grid
    from .perceiver import Latents as Latents
    from .perceiver import SpectralPerceiver as SpectralPerceiver
    from .readouts import READOUTS as READOUTS
