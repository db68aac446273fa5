"""Pretraining of an encoder on unlabelled spectra."""

from ..lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Augmentation": "augmentation",
        "BaselineCache": "data.asls",
        "FamilyKFold": "data.splitters",
        "GroupKennardStone": "data.splitters",
        "GroupSPXY": "data.splitters",
        "LeaveOneDatasetOut": "data.splitters",
        "LeaveOneFamilyOut": "data.splitters",
        "MultiSpectralDataset": "data.multi",
        "Pretraining": "loop",
        "PretrainingConfig": "config",
        "SpectralDataset": "data.dataset",
        "SyntheticSpectralDataset": "data.synthetic",
        "fetch_dataset": "data.nirs4all_sources",
        "from_nirs4all": "data.nirs4all_sources",
        "load_recipe": "recipes",
        "pretrain": "loop",
        "load_x_bank": "data.bank",
        "HybridSpectralDataset": "data.hybrid",
        "hybrid_bank": "data.hybrid",
        "synthetic_bank": "data.synthetic",
    },
)
