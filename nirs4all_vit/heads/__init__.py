"""Heads: scikit-learn estimators that predict from an embedding."""

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
        "GroupRidge": "ridge",
        "GroupRidgeClassifier": "ridge",
        "LeaveOutKernelRidge": "kernel_ridge",
        "PreprocessedPLS": "preprocessed_pls",
        "SpectralCommittee": "committee",
        "SpectralPipeline": "pipeline",
        "BlockScaler": "columns",
        "available_heads": "head",
        "average_replicates": "pipeline",
        "make_head": "head",
        "make_spectral_pipeline": "pipeline",
    },
)

if TYPE_CHECKING:
    from .columns import BlockScaler as BlockScaler
    from .columns import PCAColumns as PCAColumns
    from .committee import SpectralCommittee as SpectralCommittee
    from .conformal import CrossConformalRegressor as CrossConformalRegressor
    from .head import available_heads as available_heads
    from .head import make_head as make_head
    from .kernel_ridge import LeaveOutKernelRidge as LeaveOutKernelRidge
    from .pipeline import SpectralPipeline as SpectralPipeline
    from .pipeline import average_replicates as average_replicates
    from .pipeline import make_spectral_pipeline as make_spectral_pipeline
    from .pls import PLSDA as PLSDA
    from .pls import CappedPLSRegression as CappedPLSRegression
    from .preprocessed_pls import PreprocessedPLS as PreprocessedPLS
    from .ridge import GroupRidge as GroupRidge
    from .ridge import GroupRidgeClassifier as GroupRidgeClassifier
    from .tabular import HeadUnavailable as HeadUnavailable
