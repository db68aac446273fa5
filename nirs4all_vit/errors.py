"""Typed errors and warnings: one per bad input, whose text says what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class SpectralInputError(ValueError):
    """Spectra that cannot be embedded: wrong shape, infinities, fill values, too many missing points, no rows.

    Attributes
    ----------
    row : int, or None
        Number of the spectrum that is wrong, where it is one.
    """

    def __init__(self, message: str, row: int | None = None) -> None:
        super().__init__(message)
        self.row = row

    def __reduce__(self) -> tuple[type, tuple[str, int | None]]:
        return type(self), (str(self), self.row)


class SpectralAxisError(ValueError):
    """A wavelength axis that cannot be right: unit, range, order, length, duplicates."""


class SpectralAxisWarning(UserWarning):
    """Spectra whose axis differs from that of the calibration by so much that predictions lose accuracy."""


class MissingPackageError(ImportError):
    """A package that only some uses need is not installed; the text says what to install."""


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, altered or of a newer format."""


class ModelError(ValueError):
    """A model folder that is missing, damaged, altered or of a newer format; the text says which."""


@contextmanager
def needed_by(what: str, install: str) -> Iterator[None]:
    """Import packages that may be missing.

    A `MissingPackageError` says what cannot be done without, and what pip is to install.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingPackageError(f"{what} needs {error.name}: pip install '{install}'.") from error
