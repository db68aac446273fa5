"""Nuisance that an embedding must see through, and masks."""

from ...lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "AUGMENTATIONS": "augmentation",
        "Augmentation": "augmentation",
        "Nirs4allOperator": "nirs4all_operator",
        "block_mask": "masking",
    },
)
