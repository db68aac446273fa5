"""Cache of embeddings by row, in memory or on disk."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import warnings
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..spectra.data import Spectra, take_rows

#: Size limit of the memory cache, in bytes.
_MEMORY_LIMIT = 512 * 2**20
#: Size limit of a disk cache, in bytes, and the share kept when it is full.
_DISK_LIMIT, _LEFT = 2 * 2**30, 0.9
#: Values per SQLite query; builds of SQLite limit their number.
_ASKED = 500
#: Names of the cache file and of its first format, which had no size limit.
_FILE, _EARLIER = "embeddings-2.sqlite", "embeddings.sqlite"

_Key = tuple[bytes, bytes]


def embed_once(
    blocks: Sequence[Spectra],
    made_by: str,
    width: int,
    compute: Callable[[Sequence[Spectra]], NDArray[np.float32]],
    cache: bool | str | os.PathLike[str],
) -> NDArray[np.float32]:
    """Embed blocks of spectra, computing only the rows missing in the cache.

    Parameters
    ----------
    blocks : sequence of Spectra
        Blocks with one 1-D grid each.
    made_by : str
        Part of the cache key besides spectrum and grid, such as weights and read-out.
    width : int
        Number of columns of an embedding.
    compute : callable
        Function that embeds blocks; row i of its result depends on spectrum i alone.
    cache : True or path
        True for the memory of this process, or a folder shared by processes.

    Returns
    -------
    ndarray of shape (n_spectra, width), float32
    """
    store = _MEMORY if isinstance(cache, bool) else _Disk(Path(cache))
    keys = [key for block in blocks for key in _keys(block, made_by)]
    out = np.empty((len(keys), width), dtype=np.float32)
    vectors = store.get(list(dict.fromkeys(keys)), width)
    missing = {key for key in keys if key not in vectors}
    if missing:
        parts: list[Spectra] = []
        order: list[_Key] = []
        start = 0
        for block in blocks:
            # Identical rows are computed once.
            rows = []
            for i, key in enumerate(keys[start : start + len(block)]):
                if key in missing:
                    missing.discard(key)
                    rows.append(i)
                    order.append(key)
            if rows:
                parts += take_rows([block], np.array(rows))
            start += len(block)
        new_vectors = dict(zip(order, compute(parts), strict=True))
        store.put(new_vectors)
        vectors.update(new_vectors)
    for i, key in enumerate(keys):
        out[i] = vectors[key]
    return out


def clear(cache: bool | str | os.PathLike[str]) -> None:
    """Remove all embeddings from memory (True) or from a folder."""
    if cache is True:
        _MEMORY.clear()
    elif cache is not False:
        _Disk(Path(cache)).clear()


def _keys(block: Spectra, made_by: str) -> Iterator[_Key]:
    """Yield the cache key of each row, from `made_by`, grid, values and metadata."""
    space = hashlib.sha256(f"{made_by} {block.values.dtype.str}".encode())
    space.update(np.ascontiguousarray(block.wavelengths).tobytes())
    digest = space.digest()
    values = np.ascontiguousarray(block.values)
    if block.metadata is None:
        return ((digest, hashlib.sha256(row).digest()) for row in values)
    fields = (repr(sorted(row.items())).encode() if row else b"" for row in block.metadata)
    return ((digest, hashlib.sha256(row.tobytes() + names).digest()) for row, names in zip(values, fields, strict=True))


def _checksum(space: bytes, row: bytes, vector: bytes) -> int:
    """Return the checksum of a vector and its key."""
    return zlib.crc32(vector, zlib.crc32(row, zlib.crc32(space)))


class _Memory:
    """Memory cache that evicts the least recently used embeddings."""

    def __init__(self, limit: int) -> None:
        self.limit, self.size = limit, 0
        self.rows: OrderedDict[_Key, NDArray[np.float32]] = OrderedDict()
        self.lock = threading.Lock()

    def get(self, keys: Sequence[_Key], width: int) -> dict[_Key, NDArray[np.float32]]:  # noqa: ARG002
        vectors = {}
        with self.lock:
            for key in keys:
                if key in self.rows:
                    self.rows.move_to_end(key)
                    vectors[key] = self.rows[key]
        return vectors

    def put(self, vectors: dict[_Key, NDArray[np.float32]]) -> None:
        with self.lock:
            for key, row in vectors.items():
                if key not in self.rows:
                    # A copy: a view would keep the whole batch alive.
                    self.rows[key] = row.copy()
                    self.size += row.nbytes
            while self.size > self.limit:
                self.size -= self.rows.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        with self.lock:
            self.rows.clear()
            self.size = 0


_MEMORY = _Memory(_MEMORY_LIMIT)
# A fork while another thread holds the lock would leave it locked in the child.
os.register_at_fork(after_in_child=lambda: setattr(_MEMORY, "lock", threading.Lock()))


class _Disk:
    """Disk cache in an SQLite file that evicts the oldest embeddings.

    Several processes may read and write; rows are written atomically.
    """

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        folder = folder.expanduser()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"cache={str(folder)!r} must be a folder that can be written to: {error}.") from error
        self.path, self.limit = folder / _FILE, _DISK_LIMIT if limit is None else limit
        with suppress(OSError):
            (folder / _EARLIER).unlink(missing_ok=True)

    def _open(self) -> sqlite3.Connection:
        # Opened for each use: SQLite connections must not be shared across a fork.
        connection = sqlite3.connect(self.path, timeout=60.0)
        connection.execute(
            "CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY AUTOINCREMENT, space BLOB, row BLOB, vector BLOB, "
            "checksum INTEGER, UNIQUE (space, row))"
        )
        return connection

    def get(self, keys: Sequence[_Key], width: int) -> dict[_Key, NDArray[np.float32]]:
        vectors = {}
        by_space: dict[bytes, list[bytes]] = {}
        for space, row in keys:
            by_space.setdefault(space, []).append(row)
        try:
            with closing(self._open()) as connection:
                for space, rows in by_space.items():
                    for start in range(0, len(rows), _ASKED):
                        batch = rows[start : start + _ASKED]
                        marks = ",".join("?" * len(batch))
                        answer = connection.execute(
                            f"SELECT row, vector, checksum FROM rows WHERE space = ? AND row IN ({marks})",
                            (space, *batch),
                        )
                        for row, vector, checksum in answer:
                            # Damaged rows count as missing.
                            if len(vector) == 4 * width and _checksum(space, row, vector) == checksum:
                                vectors[space, row] = np.frombuffer(vector, dtype="<f4")
        except sqlite3.DatabaseError as error:
            self._complain(error)
            return {}
        return vectors

    def put(self, vectors: dict[_Key, NDArray[np.float32]]) -> None:
        rows = []
        for (space, row), vector in vectors.items():
            blob = np.ascontiguousarray(vector, dtype="<f4").tobytes()
            rows.append((space, row, blob, _checksum(space, row, blob)))
        insert = "INSERT OR REPLACE INTO rows (space, row, vector, checksum) VALUES (?, ?, ?, ?)"
        # Small batches keep the file close to its size limit.
        size = max(1, int((1.0 - _LEFT) * self.limit) // max((len(row[2]) for row in rows), default=1))
        try:
            with closing(self._open()) as connection:
                for start in range(0, len(rows), size):
                    with connection:
                        connection.executemany(insert, rows[start : start + size])
                        self._make_room(connection)
        except sqlite3.DatabaseError as error:
            self._complain(error)

    def _make_room(self, connection: sqlite3.Connection) -> None:
        """Remove the oldest rows if the file is full; SQLite reuses their pages."""
        pages, free, page = (
            connection.execute(f"PRAGMA {n}").fetchone()[0] for n in ("page_count", "freelist_count", "page_size")
        )
        excess = (pages - free) * page - self.limit
        if excess <= 0:
            return
        excess += int((1.0 - _LEFT) * self.limit)
        newest = None
        for row, n_bytes in connection.execute("SELECT id, length(vector) FROM rows ORDER BY id"):
            newest, excess = row, excess - n_bytes
            if excess <= 0:
                break
        connection.execute("DELETE FROM rows WHERE id <= ?", (newest,))

    def clear(self) -> None:
        self.path.unlink(missing_ok=True)

    def _complain(self, error: sqlite3.DatabaseError) -> None:
        warnings.warn(
            f"the embedding cache {self.path} cannot be used ({error}); spectra are encoded again. Check that it can "
            "be written to; if it is damaged, remove it with SpectralEmbedder(cache=...).clear_cache().",
            UserWarning,
            stacklevel=6,
        )
