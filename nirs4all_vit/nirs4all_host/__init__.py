"""Integration with nirs4all: hooks that make it pass wavelengths, and operators under its names.

Only the import hook of the embedder imports this subpackage, by name.
"""

from ..lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(__name__, {"MAEBlockMasker": "mae_block_masker"})
