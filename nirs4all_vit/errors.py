"""Typed errors: one exception per bad input, whose text says what is wrong and what to do."""

from __future__ import annotations


class SpectralInputError(ValueError):
    """Spectra that cannot be embedded: wrong shape, NaN, infinities, no rows."""


class SpectralAxisError(ValueError):
    """A wavelength axis that cannot be right: unit, range, order, length, duplicates."""


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, altered or of a newer format."""
