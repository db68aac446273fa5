"""Nuisance that an embedding must see through, and masks."""

from .augmentation import AUGMENTATIONS, Augmentation
from .mae_block_masker import MAEBlockMasker
from .masking import block_mask
from .nirs4all_operator import Nirs4allOperator

__all__ = ["AUGMENTATIONS", "Augmentation", "MAEBlockMasker", "Nirs4allOperator", "block_mask"]
