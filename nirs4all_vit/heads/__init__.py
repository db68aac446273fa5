"""Heads: what turns an embedding into predictions, as ordinary scikit-learn estimators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "CappedPLSRegression": "pls",
        "CrossConformalRegressor": "conformal",
        "PCAColumns": "columns",
        "HeadUnavailable": "tabular",
        "PLSDA": "pls",
        "BlockScaler": "columns",
        "available_heads": "head",
        "make_head": "head",
        "make_spectral_pipeline": "head",
    },
)

if TYPE_CHECKING:
    from .columns import BlockScaler as BlockScaler
    from .columns import PCAColumns as PCAColumns
    from .conformal import CrossConformalRegressor as CrossConformalRegressor
    from .head import available_heads as available_heads
    from .head import make_head as make_head
    from .head import make_spectral_pipeline as make_spectral_pipeline
    from .pls import PLSDA as PLSDA
    from .pls import CappedPLSRegression as CappedPLSRegression
    from .tabular import HeadUnavailable as HeadUnavailable
