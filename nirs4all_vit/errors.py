"""Errors and warnings of the package; messages name the cause and the remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class SpectralInputError(ValueError):
    """Invalid spectra: wrong shape, infinities, fill values, too many missing points, or no rows.

    Attributes
    ----------
    row : int, or None
        Row of the invalid spectrum, if the error concerns a single one.
    """

    def __init__(self, message: str, row: int | None = None) -> None:
        super().__init__(message)
        self.row = row

    def __reduce__(self) -> tuple[type, tuple[str, int | None]]:
        return type(self), (str(self), self.row)


class SpectralAxisError(ValueError):
    """Invalid wavelength axis: wrong unit, range, order or length, or duplicates."""


class SpectralAxisWarning(UserWarning):
    """The axis of spectra differs from that of the calibration enough to degrade predictions."""


class MissingPackageError(ImportError):
    """An optional package is not installed; the message names it."""


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged, altered or of a newer format."""


class ModelError(ValueError):
    """A model folder is missing, damaged, altered or of a newer format; the message says which."""


@contextmanager
def needed_by(what: str, install: str) -> Iterator[None]:
    """Convert failed imports in the block to `MissingPackageError`.

    The message names the feature (`what`) and the package to install with pip (`install`).
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingPackageError(f"{what} needs {error.name}: pip install '{install}'.") from error
