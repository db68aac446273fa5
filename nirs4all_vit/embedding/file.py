"""Embedding of one file of spectra into one file; interrupted runs can be resumed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..encoder.checkpoint import DEFAULT_CHECKPOINT, load_checkpoint
from ..encoder.readouts import DEFAULT_READOUT, READOUTS
from ..errors import SpectralInputError, needed_by
from ..files import atomic_path, content_sha256, open_own, stamp, try_lock
from ..progress import ProgressBar
from ..spectra.alignment import whole_blocks
from ..spectra.data import Spectra, take_rows
from ..spectra.instruments import is_instrument_path
from ..spectra.sources import open_instruments, open_source

#: Supported suffixes of target files.
TARGET_SUFFIXES = (".npy", ".parquet", ".csv")
_ROWS_AT_A_TIME = 2_000_000


def embed_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    checkpoint: str | os.PathLike[str] = DEFAULT_CHECKPOINT,
    readout: str = DEFAULT_READOUT,
    axis_unit: str = "auto",
    wavelengths: str | os.PathLike[str] | None = None,
    drop: Sequence[str] = (),
    device: str = "auto",
    embedder: Any = None,
    progress: bool = False,
) -> tuple[int, int]:
    """Embed a file of spectra in bounded memory, or the instrument files of a folder, into one file.

    Rows are stored in ``.<target>.partial`` until the file is complete; after an interruption the same call resumes.
    The target is written atomically. The results are those of ``SpectralEmbedder(adapt=False, align=False)``: NaN is a
    missing point, and each spectrum is embedded on its valid points.

    Parameters
    ----------
    source : path
        ``.csv``, ``.csv.gz``, ``.parquet`` or ``.xlsx`` with the axis as header, or ``.npy`` with `wavelengths`; one
        row per spectrum. Or an instrument file (OPUS, SPC, SPA, JCAMP-DX, ASD, ...) or a folder of them, on any axes;
        instrument files are read into memory together.
    target : path
        ``.npy``, ``.parquet`` or ``.csv``; replaced if it exists. Tables of instrument files start with a column
        ``id``.
    checkpoint : str or path
        Bundled name or ``.safetensors`` file.
    readout : str
        One of ``READOUTS``.
    axis_unit : {"auto", "nm", "cm-1", "um"}
        Unit of the axis; ``"auto"`` infers it from labels, then from the range.
    wavelengths : path, optional
        File with the axis of a ``.npy``.
    drop : sequence of str
        Columns of a table to ignore because they are not wavelengths (ids, targets); rows keep their order.
    device : str
        Torch device; ``"auto"`` uses a GPU if there is one.
    embedder : SpectralEmbedder, optional
        Embedder fitted on calibration spectra; its `transform` replaces `checkpoint` and `readout`.
    progress : bool
        Show a progress bar if the standard error is a terminal.

    Returns
    -------
    n_spectra, n_columns : int

    Raises
    ------
    SpectralInputError, SpectralAxisError
        A file is invalid; the message names the file and the line.
    CheckpointError
        The checkpoint does not exist.
    """
    from ..version import __version__
    from .inference import embed, resolve_device

    source, target = Path(source), Path(target)
    _check_target(source, target)
    if readout not in READOUTS:
        raise ValueError(f"readout={readout!r} does not exist; use one of {', '.join(READOUTS)}.")
    if wavelengths is not None and source.suffix.lower() != ".npy":
        raise SpectralInputError(
            f"{source.name} has its axis in the header; --wavelengths {Path(wavelengths).name} is for .npy files."
        )
    ids: list[str] | None = None
    chunks: Iterator[list[Spectra]]
    total: int | None
    if is_instrument_path(source):
        spectra = open_instruments(source, axis_unit, drop)
        ids, chunks, axes, total = spectra.ids, spectra.chunks(), spectra.wavelengths, len(spectra.ids)
    else:
        opened = open_source(source, axis_unit, Path(wavelengths) if wavelengths is not None else None, drop)
        chunks = ([Spectra.on_grid(values, opened.wavelengths)] for values in opened.chunks())
        axes, total = [opened.wavelengths], opened.n_spectra
    if embedder is not None:
        checkpoint, readout = embedder.checkpoint, embedder.readout
    loaded, device = load_checkpoint(checkpoint), resolve_device(device)
    # Identified by content: a replaced file may have the same size and time.
    before_reading = stamp(source)
    identity = {
        "source": content_sha256(source) if ids is None else spectra.sha256(),
        "axis": hashlib.sha256(b"".join(axis.tobytes() for axis in axes)).hexdigest(),
        "made_by": [loaded.sha256, readout, device.partition(":")[0], __version__],
        "embedder": None if embedder is None else hashlib.sha256(pickle.dumps(embedder)).hexdigest(),
    }
    with PartialRows(target, loaded.encoder.width(readout), identity) as done:
        n_read, before = 0, done.n_rows
        with ProgressBar(source.name, "spectra", total, initial=before, show=progress) as bar:
            for blocks in chunks:
                # Rows embedded before are parsed and skipped: parsing is cheap compared with the encoder.
                n_chunk = sum(map(len, blocks))
                blocks = take_rows(blocks, np.arange(min(max(0, before - n_read), n_chunk), n_chunk))
                n_read += n_chunk
                if blocks:
                    if embedder is not None:
                        done.append(
                            np.concatenate([embedder.transform(b.values, wavelengths=b.wavelengths) for b in blocks])
                        )
                        bar.update(sum(map(len, blocks)))
                    else:
                        done.append(embed(loaded.encoder, whole_blocks(blocks), readout, device=device, bar=bar))
        if ids is None and stamp(source) != before_reading:
            raise SpectralInputError(f"{source.name} was written to while it was read; embed it again.")
        done.finish(readout, ids)
        return done.n_rows, done.width


def _check_target(source: Path, target: Path) -> None:
    if target.suffix not in TARGET_SUFFIXES:
        raise SpectralInputError(f"{target.name}: write to one of {', '.join(TARGET_SUFFIXES)}.")
    if not target.parent.is_dir():
        raise SpectralInputError(f"{target.parent} is not a folder; create it first.")
    if target.is_dir() or target.resolve() == source.resolve():
        raise SpectralInputError(f"{target} would be overwritten; name another file.")
    if target.suffix == ".parquet":
        with needed_by(f"writing {target.name}", "pyarrow"):
            import pyarrow  # noqa: F401


class PartialRows:
    """Growing float32 rows in ``.<name>.partial``, a ``.npy`` file whose header is completed last.

    `identity` describes the source and the settings; existing rows of another identity are discarded. Raises
    `BlockingIOError` if another process is writing the same file.
    """

    def __init__(self, target: Path, width: int, identity: Mapping[str, Any]) -> None:
        self.target, self.width = target, width
        self._path = target.with_name(f".{target.name}.partial")
        self._said = target.with_name(f".{target.name}.partial.json")
        description = json.dumps({**identity, "width": width}, sort_keys=True)
        self._file = self._locked()
        earlier_description = self._said.read_text("utf-8") if self._said.exists() else ""
        self._start = len(self._header(0))
        whole = (os.fstat(self._file.fileno()).st_size - self._start) // (4 * width)
        #: Number of rows already stored.
        self.n_rows = max(0, whole) if earlier_description == description else 0
        # The order matters: if killed in between, old rows must not be mistaken for new ones.
        self._file.truncate(self._start + 4 * width * self.n_rows if self.n_rows else 0)
        if not self.n_rows:
            self._file.write(self._header(0))
            with atomic_path(self._said) as path:
                path.write_text(description, "utf-8")

    def _locked(self) -> IO[bytes]:
        """Open the file and lock it for this process until it is closed."""
        file = open_own(self._path)
        # A process that has just ended may have renamed or removed the file.
        if (
            try_lock(file.fileno())
            and self._path.exists()
            and os.path.samestat(os.fstat(file.fileno()), os.stat(self._path))
        ):
            return file
        file.close()
        raise BlockingIOError(f"{self.target.name} is being written by another process.")

    def __enter__(self) -> PartialRows:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # No rows were stored, or the source must change first: there is nothing to resume.
        if error is not None and (not self.n_rows or isinstance(error, SpectralInputError)):
            self._path.unlink(missing_ok=True)
            self._said.unlink(missing_ok=True)
        self._file.close()

    def append(self, rows: NDArray[np.float32]) -> None:
        """Append rows and flush them to disk."""
        self._file.seek(0, io.SEEK_END)
        self._file.write(np.ascontiguousarray(rows, dtype="<f4").tobytes())
        self._sync()
        self.n_rows += len(rows)

    def finish(self, column: str, ids: Sequence[str] | None = None) -> None:
        """Write the target atomically, in the format of its suffix; in tables `ids` are the first column."""
        self._file.seek(0)
        self._file.write(self._header(self.n_rows))
        self._sync()
        if self.target.suffix != ".npy":
            # The lock is held until the end, so that no other process changes the rows.
            with atomic_path(self.target) as path:
                self._convert(path, [f"{column}{i}" for i in range(self.width)], ids)
        self._said.unlink(missing_ok=True)
        if sys.platform == "win32":  # open files cannot be renamed or removed
            self._file.close()
        if self.target.suffix == ".npy":
            os.replace(self._path, self.target)
        else:
            self._path.unlink()

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def _convert(self, path: Path, columns: list[str], ids: Sequence[str] | None) -> None:
        import pandas as pd

        rows = np.load(self._path, mmap_mode="r", allow_pickle=False)
        size = max(1, _ROWS_AT_A_TIME // self.width)

        def frame_at(start: int) -> pd.DataFrame:
            frame = pd.DataFrame(np.asarray(rows[start : start + size]), columns=columns)
            if ids is not None:
                frame.insert(0, "id", list(ids[start : start + size]))
            return frame

        frames = map(frame_at, range(0, len(rows), size))
        if self.target.suffix == ".csv":
            with open(path, "w", encoding="utf-8", newline="") as file:
                for i, frame in enumerate(frames):
                    frame.to_csv(file, index=False, header=i == 0, float_format="%.7g")
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        named = [] if ids is None else [("id", pa.string())]
        schema = pa.schema([*named, *((name, pa.float32()) for name in columns)])
        with pq.ParquetWriter(path, schema) as writer:
            for frame in frames:
                writer.write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False))

    def _header(self, n_rows: int) -> bytes:
        buffer = io.BytesIO()
        # numpy pads the header, so that the number of rows can grow.
        described = {"descr": "<f4", "fortran_order": False, "shape": (n_rows, self.width)}
        np.lib.format.write_array_header_1_0(buffer, described)
        return buffer.getvalue()
