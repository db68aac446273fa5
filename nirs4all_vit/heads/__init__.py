"""Heads: what turns an embedding into predictions, as ordinary scikit-learn estimators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "CappedPLSRegression": "capped_pls",
        "CrossConformalRegressor": "conformal",
        "FewColumns": "few_columns",
        "HeadUnavailable": "tabular",
        "PLSDA": "plsda",
        "UnitSpread": "unit_spread",
        "available_heads": "available",
        "make_head": "head",
        "make_spectral_pipeline": "pipeline",
    },
)

if TYPE_CHECKING:
    from .available import available_heads as available_heads
    from .capped_pls import CappedPLSRegression as CappedPLSRegression
    from .conformal import CrossConformalRegressor as CrossConformalRegressor
    from .few_columns import FewColumns as FewColumns
    from .head import make_head as make_head
    from .pipeline import make_spectral_pipeline as make_spectral_pipeline
    from .plsda import PLSDA as PLSDA
    from .tabular import HeadUnavailable as HeadUnavailable
    from .unit_spread import UnitSpread as UnitSpread
