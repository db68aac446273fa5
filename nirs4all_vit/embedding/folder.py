"""Embedding of a folder of files into a folder, several files in parallel."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ..encoder.checkpoint import DEFAULT_CHECKPOINT, load_checkpoint
from ..encoder.readouts import DEFAULT_READOUT
from ..errors import CheckpointError, SpectralAxisError, SpectralInputError, needed_by
from ..files import atomic_path, content_sha256, file_sha256, lock_folder, stamp
from ..progress import ProgressBar
from ..spectra.instruments import is_instrument_path
from ..spectra.sources import SOURCE_SUFFIXES
from .file import TARGET_SUFFIXES, embed_file

_MANIFEST = "embedding.json"
#: Smallest interval between two writes of the record, in seconds.
_SECONDS = 2.0


class FileResult(NamedTuple):
    """Result of embedding one file.

    Attributes
    ----------
    source, target : Path
        The file and its embeddings.
    n_spectra : int, or None
        Number of spectra; None if embedding failed or the target existed already.
    error : str, or None
        Error message, if embedding failed.
    """

    source: Path
    target: Path
    n_spectra: int | None
    error: str | None


def embed_folder(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    suffix: str = ".npy",
    checkpoint: str | os.PathLike[str] = DEFAULT_CHECKPOINT,
    readout: str = DEFAULT_READOUT,
    axis_unit: str = "auto",
    wavelengths: str | os.PathLike[str] | None = None,
    drop: Sequence[str] = (),
    device: str = "auto",
    jobs: int = 1,
    scheduler: str | None = None,
    progress: bool = False,
) -> list[FileResult]:
    """Embed each file of a folder into a file of the same name.

    The same call resumes: completed files are skipped unless their content has changed, and interrupted files are
    continued. A file that cannot be read does not stop the others. Only one process at a time may write to a folder.

    Parameters
    ----------
    source : path
        Folder of ``.csv``, ``.csv.gz``, ``.parquet`` and ``.npy`` files, each on its own grid. Other files are ignored.
    target : path
        Output folder, created if missing. Its ``embedding.json`` records how the embeddings were made.
    suffix : {".npy", ".parquet", ".csv"}
        Format of the embeddings.
    checkpoint, readout, axis_unit, wavelengths, drop, device
        As for `embed_file`.
    jobs : int
        Number of files in parallel; -1 uses all cores.
    scheduler : str, optional
        Address of a dask scheduler, as in ``tcp://host:8786``, whose workers see the same folders. By default
        processes on this machine are used.
    progress : bool
        Show a progress bar if the standard error is a terminal.

    Returns
    -------
    list of FileResult
        Results in order of file names.

    Raises
    ------
    SpectralInputError
        There is no file of spectra, two files have the same target, the target holds embeddings of another checkpoint,
        read-out or selection of columns, or no file needs the axis file.
    BlockingIOError
        Another process is writing to the folder.
    """

    source, target = Path(source), Path(target)
    if suffix not in TARGET_SUFFIXES or jobs == 0:
        raise SpectralInputError(
            f"format {suffix}, {jobs} jobs: use one of {', '.join(TARGET_SUFFIXES)}; a number of jobs, or -1."
        )
    pairs = _pairs(source, target, suffix)
    if wavelengths is not None and not any(path.suffix.lower() == ".npy" for path, _ in pairs):
        raise SpectralInputError(
            f"{source} holds no .npy files; the others have their own axis: leave --wavelengths out."
        )
    made_by = {
        "checkpoint_sha256": load_checkpoint(checkpoint).sha256,
        "readout": readout,
        "axis_unit": axis_unit,
        "drop": sorted(drop),
    }
    options = {
        "checkpoint": checkpoint, "readout": readout, "axis_unit": axis_unit, "wavelengths": wavelengths, "drop": drop,
        "device": device,
    }  # fmt: skip
    with lock_folder(target):
        axis_sha256 = None if wavelengths is None else file_sha256(wavelengths)
        record = _Record.claim(target, [path for _, path in pairs], made_by, axis_sha256)
        return _embed_missing(pairs, record, options, jobs, scheduler, progress=progress)


def _embed_missing(
    pairs: list[tuple[Path, Path]],
    record: _Record,
    options: dict[str, Any],
    jobs: int,
    scheduler: str | None,
    *,
    progress: bool,
) -> list[FileResult]:
    import joblib

    file_results = {a: FileResult(a, b, None, None) for a, b in pairs}
    to_do = [(a, b) for a, b in pairs if not record.is_done(a, b)]
    try:
        with workers(scheduler), ProgressBar("files", "file", len(to_do), show=progress) as bar:
            tasks = (joblib.delayed(_one)(a.resolve(), b.resolve(), options) for a, b in to_do)
            # Results that arrive out of order wait in memory; each is a few numbers.
            results = joblib.Parallel(n_jobs=jobs, return_as="generator")(tasks)
            for (a, b), (n_spectra, error, made_of) in zip(to_do, results, strict=True):
                file_results[a] = FileResult(a, b, n_spectra, error)
                if made_of is not None:
                    record.note(b, made_of)
                bar.update()
    finally:
        record.write()
    return list(file_results.values())


def _pairs(source: Path, target: Path, suffix: str) -> list[tuple[Path, Path]]:
    if source.resolve() == target.resolve():
        raise SpectralInputError(f"{target} is the folder of the spectra; name another one.")
    if not target.is_dir() and (target.exists() or target.suffix in TARGET_SUFFIXES):
        raise SpectralInputError(f"{target} names a file; spectra of a folder are embedded into a folder.")
    pairs: dict[Path, Path] = {}
    for path in sorted(source.iterdir()):
        ending = next((s for s in SOURCE_SUFFIXES if path.name.lower().endswith(s)), None)
        if ending is None or path.name.startswith(".") or not path.is_file():
            continue
        goal = target / (path.name[: -len(ending)] + suffix)
        if goal in pairs:
            raise SpectralInputError(f"{pairs[goal].name} and {path.name} would both become {goal.name}; rename one.")
        pairs[goal] = path
    if not pairs:
        if is_instrument_path(source):
            raise SpectralInputError(
                f"{source} holds instrument files, which make one table: name a file, {target}.csv."
            )
        raise SpectralInputError(f"{source} holds no spectra ({', '.join(SOURCE_SUFFIXES)}).")
    return [(path, goal) for goal, path in pairs.items()]


class _Record:
    """Record of the settings and source files of the embeddings in a folder: ``embedding.json``."""

    def __init__(self, path: Path, made_by: dict[str, Any], files: dict[str, Any]) -> None:
        self.path, self.made_by, self.files, self._written = path, made_by, files, 0.0

    @classmethod
    def claim(cls, target: Path, outputs: list[Path], made_by: dict[str, Any], axis_sha256: str | None) -> _Record:
        """Read or create the record of a folder; raises `SpectralInputError` if its settings differ."""
        path = target / _MANIFEST
        record: dict[str, Any] = {**made_by, "wavelengths_sha256": axis_sha256}
        files: Any = {}
        try:
            earlier: Any = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            earlier = record
            if any(output.exists() for output in outputs):
                raise SpectralInputError(
                    f"{target} holds files that would be overwritten; name another folder."
                ) from None
        except ValueError:
            earlier = None
        if isinstance(earlier, dict):
            files = earlier.pop("files", {})
            if None in (axis_sha256, earlier.get("wavelengths_sha256", "")):
                # The axis file may be given later or omitted when it is not needed.
                record["wavelengths_sha256"] = axis = axis_sha256 or earlier["wavelengths_sha256"]
                earlier["wavelengths_sha256"] = axis
        if earlier != record or not isinstance(files, dict):
            raise SpectralInputError(
                f"{target} holds embeddings of another checkpoint, read-out, axis or choice of columns ({_MANIFEST}); "
                "name another folder."
            )
        claimed = cls(path, record, files)
        claimed.write()
        return claimed

    def is_done(self, source: Path, target: Path) -> bool:
        """Return whether a target was made from the current content of its source."""
        made_of = self.files.get(target.name)
        if not isinstance(made_of, dict) or not target.exists():
            return False
        if made_of.get("stamp") == list(stamp(source)):
            return True
        # A copied, moved or touched file is unchanged if its content is the same.
        if made_of.get("sha256") != content_sha256(source):
            return False
        made_of["stamp"] = list(stamp(source))
        return True

    def note(self, target: Path, made_of: dict[str, Any]) -> None:
        """Record the source of a target; written to disk within seconds."""
        self.files[target.name] = made_of
        if time.monotonic() - self._written > _SECONDS:
            self.write()

    def write(self) -> None:
        """Write the record atomically."""
        with atomic_path(self.path) as path:
            path.write_text(json.dumps({**self.made_by, "files": self.files}, indent=1) + "\n", "utf-8")
        self._written = time.monotonic()


def _one(source: Path, target: Path, options: dict[str, Any]) -> tuple[int | None, str | None, dict[str, Any] | None]:
    wavelengths = options["wavelengths"] if source.suffix.lower() == ".npy" else None
    try:
        made_of = {"stamp": list(stamp(source)), "sha256": content_sha256(source)}
        return embed_file(source, target, **{**options, "wavelengths": wavelengths})[0], None, made_of
    except (SpectralInputError, SpectralAxisError, CheckpointError, OSError) as error:
        return None, str(error), None


@contextmanager
def workers(scheduler: str | None = None) -> Iterator[None]:
    """Run joblib on the dask cluster of `scheduler`, or in processes on this machine if None."""
    import joblib

    if scheduler is None:
        with joblib.parallel_config("loky"):
            yield
        return
    with needed_by("a dask cluster", "distributed"):
        from distributed import Client
    with Client(scheduler), joblib.parallel_config("dask", wait_for_workers_timeout=60):
        yield
