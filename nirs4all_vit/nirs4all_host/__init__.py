"""What nirs4all needs: hooks that make it hand the wavelengths over, and operators under its names.

Nothing in the package imports this room but the import hook of the embedder, by name.
"""

from ..lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(__name__, {"MAEBlockMasker": "mae_block_masker"})
