"""The Spectral Perceiver in torch, its checkpoints and its ONNX export.

This part uses neither scikit-learn nor nirs4all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy_names

# Lazy: finding a checkpoint and listing the read-outs need no torch.
__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "EncoderConfig": "config",
        "Grid": "grid",
        "MaskedSpectrumDecoder": "decoder",
        "READOUTS": "readouts",
        "SpectralPerceiver": "perceiver",
        "WavelengthPositionalEncoding": "positional",
        "export_onnx": "export",
        "variable_length_collate": "padding",
    },
)

if TYPE_CHECKING:
    from .config import EncoderConfig as EncoderConfig
    from .decoder import MaskedSpectrumDecoder as MaskedSpectrumDecoder
    from .export import export_onnx as export_onnx
    from .grid import Grid as Grid
    from .padding import variable_length_collate as variable_length_collate
    from .perceiver import SpectralPerceiver as SpectralPerceiver
    from .positional import WavelengthPositionalEncoding as WavelengthPositionalEncoding
    from .readouts import READOUTS as READOUTS
