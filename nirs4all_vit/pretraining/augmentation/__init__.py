"""Nuisance that an embedding must see through, and masks."""

from ...lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "AUGMENTATIONS": "augmentation",
        "Augmentation": "augmentation",
        "Nirs4allOperator": "operators",
        "block_mask": "masking",
    },
)
