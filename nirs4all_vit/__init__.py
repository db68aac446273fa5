"""Universal spectral embedding for near-infrared spectroscopy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Imported at first use: `import nirs4all_vit` loads neither torch nor scikit-learn.
_PUBLIC = {
    "SpectralEmbedder": "embedder",
    "CheckpointError": "errors",
    "SpectralAxisError": "errors",
    "SpectralInputError": "errors",
    "load_checkpoint": "checkpoint",
    "save_checkpoint": "checkpoint",
}
__all__ = sorted([*_PUBLIC, "__version__"])

if TYPE_CHECKING:
    from .checkpoint import load_checkpoint as load_checkpoint
    from .checkpoint import save_checkpoint as save_checkpoint
    from .embedder import SpectralEmbedder as SpectralEmbedder
    from .errors import CheckpointError as CheckpointError
    from .errors import SpectralAxisError as SpectralAxisError
    from .errors import SpectralInputError as SpectralInputError


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_PUBLIC[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
