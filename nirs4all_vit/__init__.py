"""Universal spectral embedding for near-infrared spectroscopy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .embedding import forking as forking
from .lazy import lazy_names
from .version import __version__ as __version__

# `import nirs4all_vit` loads neither torch nor scikit-learn.
__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "SpectralEmbedder": "embedder",
        "Calibration": "calibration",
        "CheckpointError": "errors",
        "InstrumentStandardiser": "spectra.standardisation",
        "ModelError": "errors",
        "SpectralAxisError": "errors",
        "SpectralAxisWarning": "errors",
        "SpectralCalibration": "calibration",
        "SpectralClassifier": "finetuning",
        "SpectralInputError": "errors",
        "SpectralNovelty": "diagnostics",
        "SpectralRegressor": "finetuning",
        "adapt_to": "embedding.instrument",
        "calibrate": "calibration",
        "load": "calibration",
        "load_checkpoint": "encoder.checkpoint",
        "predict": "calibration",
        "save_checkpoint": "encoder.checkpoint",
        "second_instrument": "embedding.instrument",
    },
)
__all__ += ["__version__"]

if TYPE_CHECKING:
    from .calibration import Calibration as Calibration
    from .calibration import SpectralCalibration as SpectralCalibration
    from .calibration import calibrate as calibrate
    from .calibration import load as load
    from .calibration import predict as predict
    from .diagnostics import SpectralNovelty as SpectralNovelty
    from .embedder import SpectralEmbedder as SpectralEmbedder
    from .embedding.instrument import adapt_to as adapt_to
    from .embedding.instrument import second_instrument as second_instrument
    from .encoder.checkpoint import load_checkpoint as load_checkpoint
    from .encoder.checkpoint import save_checkpoint as save_checkpoint
    from .errors import CheckpointError as CheckpointError
    from .errors import ModelError as ModelError
    from .errors import SpectralAxisError as SpectralAxisError
    from .errors import SpectralAxisWarning as SpectralAxisWarning
    from .errors import SpectralInputError as SpectralInputError
    from .finetuning import SpectralClassifier as SpectralClassifier
    from .finetuning import SpectralRegressor as SpectralRegressor
    from .spectra.standardisation import InstrumentStandardiser as InstrumentStandardiser
