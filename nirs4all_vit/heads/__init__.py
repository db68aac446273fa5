"""Heads: what turns an embedding into predictions, as ordinary scikit-learn estimators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "CappedPLSRegression": "capped_pls",
        "CrossConformalRegressor": "conformal",
        "PCAColumns": "pca_columns",
        "HeadUnavailable": "tabular",
        "PLSDA": "plsda",
        "BlockScaler": "block_scaler",
        "available_heads": "available",
        "make_head": "head",
        "make_spectral_pipeline": "pipeline",
    },
)

if TYPE_CHECKING:
    from .available import available_heads as available_heads
    from .block_scaler import BlockScaler as BlockScaler
    from .capped_pls import CappedPLSRegression as CappedPLSRegression
    from .conformal import CrossConformalRegressor as CrossConformalRegressor
    from .head import make_head as make_head
    from .pca_columns import PCAColumns as PCAColumns
    from .pipeline import make_spectral_pipeline as make_spectral_pipeline
    from .plsda import PLSDA as PLSDA
    from .tabular import HeadUnavailable as HeadUnavailable
