"""Atomic writing, locking and hashing of files."""

from __future__ import annotations

import glob
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Separator in the names of temporary files, between the name of the target and a random part.
_TEMPORARY = ".tmp-"
#: Folders in which this process has removed stale temporary files.
_SWEPT: set[Path] = set()


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it atomically when the block succeeds.

    The folder must exist. The suffix is kept, because some writers depend on it. Temporary files left in the folder by
    killed processes are removed.
    """
    path = Path(path)
    if path.parent not in _SWEPT:
        _SWEPT.add(path.parent)
        sweep(path.parent)
    temporary, held = _temporary(path)
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        # mkstemp creates private files; the result gets the usual permissions of the umask.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        if held is not None:
            os.close(held)


def _temporary(path: Path) -> tuple[Path, int | None]:
    """Return a new file beside `path` and a descriptor whose lock protects the file from `sweep`."""
    while True:
        held, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}{_TEMPORARY}", suffix=path.suffix)
        if sys.platform == "win32":  # open files cannot be replaced, and `sweep` does nothing
            os.close(held)
            return Path(name), None
        # Another process may have removed the file before it was locked: create another.
        if try_lock(held) and os.path.exists(name):
            return Path(name), held
        os.close(held)


def sweep(folder: Path) -> None:
    """Remove temporary files of `atomic_path` that no process holds a lock on."""
    if sys.platform == "win32":
        return
    for name in glob.glob(f"{glob.escape(str(folder))}/.*{_TEMPORARY}*"):
        with suppress(OSError):
            descriptor = os.open(name, os.O_RDWR | os.O_NOFOLLOW)
            try:
                if try_lock(descriptor):
                    os.unlink(name)
            finally:
                os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Lock an open file for this process until it is closed; False if another process holds the lock."""
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def open_own(path: Path) -> IO[bytes]:
    """Open a file with a predictable name for reading and writing; creates it if missing.

    Raises OSError if the name is a link or another user's file, because writing would change another file.
    """
    refused = f"{path} is a link, or not a file of yours; remove it."
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    except OSError as error:
        raise OSError(refused) if path.is_symlink() else error from error
    about = os.fstat(descriptor)
    if about.st_nlink > 1 or (sys.platform != "win32" and about.st_uid != os.geteuid()):
        os.close(descriptor)
        raise OSError(refused)
    return os.fdopen(descriptor, "r+b")


def lock_folder(folder: Path) -> IO[bytes]:
    """Lock a folder for this process until the returned file is closed; creates it if missing.

    Raises BlockingIOError if another process holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    held = open_own(folder / ".lock")
    if not try_lock(held.fileno()):
        held.close()
        raise BlockingIOError(f"another process is writing to {folder}; wait for it, or name another folder.")
    return held


def stamp(path: str | os.PathLike[str]) -> tuple[int, ...]:
    """Return size, modification time, change time and inode of a file, to detect changes of content.

    The change time cannot be set back by users.
    """
    about = os.stat(path)
    return about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino


def content_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, cached until its stamp changes."""
    return _sha256_at(path, stamp(path))


@lru_cache(maxsize=16)
def _sha256_at(path: Path, _stamp: tuple[int, ...]) -> str:
    return file_sha256(path)


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
    """Write the checksum of a file beside it, as the last step; without it the file counts as missing."""
    checksum = file_sha256(path)
    with atomic_path(path.with_suffix(".sha256")) as target:
        target.write_text(checksum + "\n", "utf-8")
