"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it, in one step, when the block succeeds.

    The folder must exist; the suffix is kept, as some writers go by it.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        # mkstemp files are private; the result follows the umask as any other file does.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_checked(path: Path) -> NDArray[Any] | None:
    """Return a ``.npy`` file as a memory map if its checksum holds; None if it is missing, cut or altered."""
    import numpy as np

    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        checksum = path.with_suffix(".sha256").read_text("utf-8").strip()
        sound = isinstance(array, np.ndarray) and file_sha256(path) == checksum
    except (OSError, ValueError, EOFError):
        return None
    return array if sound else None


def write_checksum(path: Path) -> None:
    """Write the checksum of a file beside it; it comes last: killed before, the file counts as missing."""
    checksum = file_sha256(path)
    with atomic_path(path.with_suffix(".sha256")) as target:
        target.write_text(checksum + "\n", "utf-8")
