"""One file of spectra to one file of embeddings."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from ..encoder.checkpoint import DEFAULT_CHECKPOINT, load_checkpoint
from ..encoder.readouts import DEFAULT_READOUT, READOUTS
from ..errors import SpectralInputError, needed_by
from ..spectra.data import Spectra
from ..spectra.sources import open_source
from .partial import PartialRows

#: Suffixes that are written.
TARGET_SUFFIXES = (".npy", ".parquet", ".csv")


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
    progress: bool = False,
) -> tuple[int, int]:
    """Embed a file of spectra, in bounded memory whatever its size.

    What is done stays in ``.<target>.partial`` until all is: interrupted, the same call goes on from there. The
    target appears in one step. The numbers are those of ``SpectralEmbedder(adapt=False)``.

    Parameters
    ----------
    source : path
        ``.csv``, ``.csv.gz``, ``.parquet`` with the axis as header, or ``.npy`` with `wavelengths`; a row per spectrum.
    target : path
        ``.npy``, ``.parquet`` or ``.csv``; replaced if it exists.
    checkpoint : str or path
        Bundled name or ``.safetensors`` file.
    readout : str
        One of ``READOUTS``.
    axis_unit : {"auto", "nm", "cm-1", "um"}
        Unit of the axis; ``"auto"`` goes by labels, then by range.
    wavelengths : path, optional
        File with the axis of a ``.npy``.
    drop : sequence of str
        Columns of a table that are no wavelengths (ids, targets), to be passed over; rows keep their order.
    device : str
        Torch device; ``"auto"`` takes a GPU where there is one.
    progress : bool
        Show a progress bar.

    Returns
    -------
    n_spectra, n_columns : int

    Raises
    ------
    SpectralInputError, SpectralAxisError
        A file that is not what it should be; the message names it, and the line.
    CheckpointError
        No such checkpoint.
    """
    from tqdm import tqdm

    from ..version import __version__
    from .inference import embed, resolve_device

    source, target = Path(source), Path(target)
    _check_target(source, target)
    if readout not in READOUTS:
        raise ValueError(f"readout={readout!r} does not exist; use one of {', '.join(READOUTS)}.")
    opened = open_source(source, axis_unit, Path(wavelengths) if wavelengths is not None else None, drop)
    loaded, device, status = load_checkpoint(checkpoint), resolve_device(device), source.stat()
    identity = {
        "source": [status.st_size, status.st_mtime_ns],
        "axis": hashlib.sha256(opened.wavelengths.tobytes()).hexdigest(),
        "made_by": [loaded.sha256, readout, device.partition(":")[0], __version__],
    }
    with PartialRows(target, loaded.encoder.width(readout), identity) as done:
        n_read, before = 0, done.n_rows
        with tqdm(desc=source.name, unit="spectra", initial=before, disable=not progress) as bar:
            for values in opened.chunks():
                # Rows that are there are read past: parsing costs little beside the encoder.
                values, n_read = values[max(0, before - n_read) :], n_read + len(values)
                if len(values):
                    block = Spectra.on_grid(values, opened.wavelengths)
                    done.append(embed(loaded.encoder, [block], readout, device=device))
                    bar.update(len(values))
        if (source.stat().st_size, source.stat().st_mtime_ns) != (status.st_size, status.st_mtime_ns):
            raise SpectralInputError(f"{source.name} was written to while it was read; embed it again.")
        done.finish(readout)
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
