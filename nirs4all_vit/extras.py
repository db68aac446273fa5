"""Packages that only some uses need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import MissingPackageError


@contextmanager
def needed_by(what: str, install: str) -> Iterator[None]:
    """Import packages that may be missing, and say then what to install.

    Parameters
    ----------
    what : str
        What cannot be done without.
    install : str
        What pip is to install: an extra of this package, or another package.

    Raises
    ------
    MissingPackageError
        One of them is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingPackageError(f"{what} needs {error.name}: pip install '{install}'.") from error
