"""A folder of files of spectra to a folder of files of embeddings, several at a time."""

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
#: Between two times that the record of a folder is written.
_SECONDS = 2.0


class FileResult(NamedTuple):
    """What became of a file.

    Attributes
    ----------
    source, target : Path
        The file and its embeddings.
    n_spectra : int, or None
        None where it failed, or was there already.
    error : str, or None
        What was wrong with it.
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

    Files that are done, and hold what they held, are not done again, and one that was interrupted goes on: the same
    call resumes. A file that cannot be read does not stop the others. One process at a time writes to a folder.

    Parameters
    ----------
    source : path
        Folder of ``.csv``, ``.csv.gz``, ``.parquet`` and ``.npy`` files, each on a grid of its own. Other files are let be.
    target : path
        Folder, made if need be. ``embedding.json`` in it says what made the embeddings.
    suffix : {".npy", ".parquet", ".csv"}
        Format of the embeddings.
    checkpoint, readout, axis_unit, wavelengths, drop, device
        As for `embed_file`.
    jobs : int
        Files at a time; -1 for as many as there are cores.
    scheduler : str, optional
        Address of a dask scheduler, as in ``tcp://host:8786``, whose workers see the same folders; processes of this machine without.
    progress : bool
        Show a progress bar, where the standard error is a terminal.

    Returns
    -------
    list of FileResult
        In order of name.

    Raises
    ------
    SpectralInputError
        No file of spectra; two that would become one; a target with embeddings of another checkpoint, read-out or selection
        of columns; an axis file that no file needs.
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
            f"{source} holds no .npy; the others have an axis of their own: leave --wavelengths out."
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
            # What a worker does not hand back in order waits in memory: a few numbers.
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
    """What makes the embeddings of a folder, and what each was made of: ``embedding.json``."""

    def __init__(self, path: Path, made_by: dict[str, Any], files: dict[str, Any]) -> None:
        self.path, self.made_by, self.files, self._written = path, made_by, files, 0.0

    @classmethod
    def claim(cls, target: Path, outputs: list[Path], made_by: dict[str, Any], axis_sha256: str | None) -> _Record:
        """Read the record of a folder, or begin one; a `SpectralInputError` says that something else made what is there."""
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
                # An axis that came later, or is not needed this time: arrays wait for theirs.
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
        """Tell whether a target was made of what a source holds now."""
        made_of = self.files.get(target.name)
        if not isinstance(made_of, dict) or not target.exists():
            return False
        if made_of.get("stamp") == list(stamp(source)):
            return True
        # Copied, moved or touched: what counts is what it holds.
        if made_of.get("sha256") != content_sha256(source):
            return False
        made_of["stamp"] = list(stamp(source))
        return True

    def note(self, target: Path, made_of: dict[str, Any]) -> None:
        """Note what a target was made of; on disk within seconds."""
        self.files[target.name] = made_of
        if time.monotonic() - self._written > _SECONDS:
            self.write()

    def write(self) -> None:
        """Write the record, in one step."""
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
    """Let joblib work on a dask cluster, or in processes of this machine without its address."""
    import joblib

    if scheduler is None:
        with joblib.parallel_config("loky"):
            yield
        return
    with needed_by("a dask cluster", "distributed"):
        from distributed import Client
    with Client(scheduler), joblib.parallel_config("dask", wait_for_workers_timeout=60):
        yield
