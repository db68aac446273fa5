"""A folder of files of spectra to a folder of files of embeddings, several at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ..encoder.checkpoint import DEFAULT_CHECKPOINT, load_checkpoint
from ..encoder.readouts import DEFAULT_READOUT
from ..errors import CheckpointError, SpectralAxisError, SpectralInputError, needed_by
from ..files import atomic_path, file_sha256
from ..spectra.sources import SOURCE_SUFFIXES
from .file import TARGET_SUFFIXES, embed_file

_MANIFEST = "embedding.json"


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

    Files that are done, and have not changed since, are not done again, and one that was interrupted goes on: the same
    call resumes. A file that cannot be read does not stop the others.

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
        Show a progress bar.

    Returns
    -------
    list of FileResult
        In order of name.

    Raises
    ------
    SpectralInputError
        No file of spectra; two that would become one; a target with embeddings of another checkpoint or read-out.
    """
    import joblib
    from tqdm import tqdm

    source, target = Path(source), Path(target)
    if suffix not in TARGET_SUFFIXES or jobs == 0:
        raise SpectralInputError(
            f"format {suffix}, {jobs} jobs: use one of {', '.join(TARGET_SUFFIXES)}; a number of jobs, or -1."
        )
    pairs = _pairs(source, target, suffix)
    target.mkdir(parents=True, exist_ok=True)
    made_by = {"checkpoint_sha256": load_checkpoint(checkpoint).sha256, "readout": readout, "axis_unit": axis_unit}
    _claim(target, [path for _, path in pairs], made_by, None if wavelengths is None else file_sha256(wavelengths))
    options = {
        "checkpoint": checkpoint, "readout": readout, "axis_unit": axis_unit, "wavelengths": wavelengths, "drop": drop,
        "device": device,
    }  # fmt: skip
    file_results = {a: FileResult(a, b, None, None) for a, b in pairs}
    to_do = [(a, b) for a, b in pairs if not _is_done(a, b)]
    with workers(scheduler), tqdm(total=len(to_do), desc="files", disable=not progress) as bar:
        tasks = (joblib.delayed(_one)(a.resolve(), b.resolve(), options) for a, b in to_do)
        # What a worker does not hand back in order waits in memory: a few numbers.
        results = joblib.Parallel(n_jobs=jobs, return_as="generator")(tasks)
        for (a, b), (n_spectra, error) in zip(to_do, results, strict=True):
            file_results[a] = FileResult(a, b, n_spectra, error)
            bar.update()
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
        raise SpectralInputError(f"{source} holds no spectra ({', '.join(SOURCE_SUFFIXES)}).")
    return [(path, goal) for goal, path in pairs.items()]


def _claim(target: Path, outputs: list[Path], made_by: dict[str, str], axis_sha256: str | None) -> None:
    """Write down what makes the embeddings of a folder, or check that it is the same."""
    manifest = target / _MANIFEST
    record: dict[str, Any] = {**made_by, "wavelengths_sha256": axis_sha256}
    try:
        earlier_record: Any = json.loads(manifest.read_text("utf-8"))
    except FileNotFoundError:
        earlier_record = record
        if any(path.exists() for path in outputs):
            raise SpectralInputError(f"{target} holds files that would be overwritten; name another folder.") from None
    except ValueError:
        earlier_record = None
    if isinstance(earlier_record, dict) and None in (axis_sha256, earlier_record.get("wavelengths_sha256", "")):
        # An axis that came later, or is not needed this time: arrays wait for theirs.
        record["wavelengths_sha256"] = axis = axis_sha256 or earlier_record["wavelengths_sha256"]
        earlier_record = {**earlier_record, "wavelengths_sha256": axis}
    if earlier_record != record:
        raise SpectralInputError(
            f"{target} holds embeddings of another checkpoint, read-out or axis ({_MANIFEST}); name another folder."
        )
    if not manifest.exists() or json.loads(manifest.read_text("utf-8")) != record:
        with atomic_path(manifest) as path:
            path.write_text(json.dumps(record, indent=1) + "\n", "utf-8")


def _is_done(source: Path, target: Path) -> bool:
    return target.exists() and target.stat().st_mtime_ns >= source.stat().st_mtime_ns


def _one(source: Path, target: Path, options: dict[str, Any]) -> tuple[int | None, str | None]:
    try:
        return embed_file(source, target, **options)[0], None
    except (SpectralInputError, SpectralAxisError, CheckpointError, OSError) as error:
        return None, str(error)


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
