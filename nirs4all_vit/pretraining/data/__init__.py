"""Spectra for pretraining: banks, synthetic datasets and sampling."""

from ...lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "BaselineCache": "asls",
        "asls_baseline": "asls",
        "LeftOut": "bank",
        "XBank": "bank",
        "bank_hash": "bank",
        "load_x_bank": "bank",
        "BaselineCacher": "baseline_cacher",
        "SpectralBatch": "batch",
        "SpectralDataset": "dataset",
        "read_folder": "folders",
        "write_folder": "folders",
        "UNKNOWN": "dataset",
        "SpectralMetadata": "dataset",
        "MultiSpectralDataset": "multi",
        "fetch_dataset": "nirs4all_sources",
        "from_nirs4all": "nirs4all_sources",
        "UniformDatasetSampler": "multi",
        "FamilyKFold": "splitters",
        "GroupKennardStone": "splitters",
        "GroupSPXY": "splitters",
        "LeaveOneDatasetOut": "splitters",
        "LeaveOneFamilyOut": "splitters",
        "LODOSplitter": "splitters",
        "SyntheticSpectralDataset": "synthetic",
        "HybridSpectralDataset": "hybrid",
        "hybrid_bank": "hybrid",
        "synthetic_bank": "synthetic",
    },
)
