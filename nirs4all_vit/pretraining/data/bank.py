"""A bank of unlabelled spectra: a file or a folder per dataset."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import tempfile
import warnings
import weakref
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ...errors import SpectralAxisError, SpectralInputError
from ...files import file_sha256
from ...tables import TABLE_SUFFIXES, open_table, warn_if_cut
from .dataset import SpectralDataset
from .folders import (
    METADATA,
    SPECTRA,
    WAVELENGTHS,
    check_counts,
    needs_conversion,
    read_folder,
    read_json,
    write_folder,
)

#: Prefix of temporary folders; key and file by which a parsed copy is known to be sound.
_SPOOL, _PARSED, _CHECKSUM = "x_bank-", "parsed_from", "spectra.sha256"


class LeftOut(NamedTuple):
    """A dataset that could not be read."""

    name: str
    reason: str


class XBank(list[SpectralDataset]):
    """Datasets of a bank, with a report of what was left out.

    Attributes
    ----------
    left_out : list of LeftOut
        Datasets that ``on_error="skip"`` passed over, with the reason.
    """

    def __init__(self, datasets: Iterable[SpectralDataset] = (), left_out: Iterable[LeftOut] = ()) -> None:
        super().__init__(datasets)
        self.left_out = list(left_out)


def load_x_bank(
    folder: str | Path,
    names: Sequence[str] | None = None,
    *,
    on_error: str = "raise",
    cache: str | Path | None = None,
    progress: bool = True,
) -> XBank:
    """Load the datasets of a folder.

    Each is either a table, ``<dataset_id>.csv``, ``.csv.gz`` or ``.parquet`` (header = axis in nm or
    cm-1, either direction; delimiter ``,`` or ``;``; a row per spectrum) with, optionally,
    ``<dataset_id>.json`` beside it, or a folder ``<dataset_id>/`` of arrays (`read_folder`). What is not
    a float32 array on an ascending axis is parsed once, block by block, into one that is memory-mapped.

    Parameters
    ----------
    folder : path
        The bank.
    names : sequence of str, optional
        Dataset ids to load, in that order; all by default, sorted.
    on_error : {"raise", "skip"}, default="raise"
        Stop at the first dataset that cannot be read, or go on without it: a warning lists what was left
        out, and so does `XBank.left_out`.
    cache : path, optional
        Folder to keep parsed tables in, so that the next run only maps them: a subfolder per dataset,
        made again when its file changes. Without it they lie in a temporary folder until the bank is
        no longer used.
    progress : bool, default=True
        Show a progress bar.

    Returns
    -------
    XBank
        A list of SpectralDataset.

    Raises
    ------
    FileNotFoundError
        No such folder, no dataset in it, or no dataset of one of the names.
    SpectralInputError, SpectralAxisError
        A dataset that cannot be read; the message names its file and line.
    """
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error={on_error!r}; use 'raise' or 'skip'.")
    sources = _sources(Path(folder))
    missing = [name for name in names or () if name not in sources]
    if missing:
        raise FileNotFoundError(f"no dataset {missing[0]!r} in {folder}; there are: {', '.join(sources)}.")
    spool = _Spool(cache)
    bank = XBank()
    for name in tqdm(sorted(sources) if names is None else names, desc="loading spectra", unit="set", disable=not progress):
        try:
            if len(sources[name]) > 1:
                files = ", ".join(path.name for path in sources[name])
                raise SpectralInputError(f"{name} occurs more than once: {files}; keep one.")
            bank.append(spool.load(sources[name][0], name))
        except (SpectralInputError, SpectralAxisError) as error:
            if on_error == "raise":
                raise
            bank.left_out.append(LeftOut(name, str(error)))
    if bank.left_out:
        reasons = "\n".join(f"  {name}: {reason}" for name, reason in bank.left_out)
        warnings.warn(f"{len(bank.left_out)} of {len(sources)} datasets were left out:\n{reasons}", stacklevel=2)
    return bank


def bank_hash(datasets: Sequence[SpectralDataset]) -> str:
    """Return one hash for a bank: names and contents, in order."""
    digest = hashlib.sha256()
    for dataset in datasets:
        digest.update(f"{dataset.name}:{dataset.content_hash}\n".encode())
    return digest.hexdigest()


class _TemporaryFolder:
    """A folder that goes with the last object that refers to it."""

    def __init__(self) -> None:
        _sweep()
        self.name = tempfile.mkdtemp(prefix=f"{_SPOOL}{socket.gethostname()}-{os.getpid()}-")
        weakref.finalize(self, shutil.rmtree, self.name, ignore_errors=True)


def _sweep() -> None:
    """Remove what killed processes of this machine left."""
    for path in Path(tempfile.gettempdir()).glob(f"{_SPOOL}{socket.gethostname()}-*-*"):
        pid = path.name.rsplit("-", 2)[1]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            shutil.rmtree(path, ignore_errors=True)


class _Spool:
    """Parsed datasets as memory maps, in a folder that lasts or in one that goes with them."""

    def __init__(self, cache: str | Path | None) -> None:
        self._temporary = _TemporaryFolder() if cache is None else None
        self._folder = Path(self._temporary.name if self._temporary else str(cache))

    def load(self, path: Path, name: str) -> SpectralDataset:
        """Read a dataset; whatever is wrong with it is a typed error that names its file."""
        try:
            if path.is_dir():
                return self._spooled(path, name) if needs_conversion(path) else read_folder(path)
            return self._spooled(path, name)
        except (SpectralInputError, SpectralAxisError):
            raise
        except Exception as error:  # a damaged file fails in as many ways as there are libraries below
            reason = " ".join(str(error).split())[:300]
            raise SpectralInputError(f"{path.name} cannot be read: {type(error).__name__}: {reason}") from error

    def _spooled(self, path: Path, name: str) -> SpectralDataset:
        """Parse a dataset, or map what an earlier run parsed."""
        beside = path / METADATA if path.is_dir() else path.parent / f"{name}.json"
        source = read_json(beside) if beside.exists() or beside.is_symlink() else {}
        key = self._key(path, source)
        target = self._folder / name
        dataset = self._parsed(target, key)
        if dataset is None:
            if path.is_dir():
                whole = read_folder(path)
                chunks, wavelengths = _blocks(whole), whole.wavelengths
            else:
                table = open_table(path, source.get("axis_unit") or "auto")
                check_counts(path.name, (None, table.wavelengths.size), table.wavelengths, source)
                chunks, wavelengths = table.chunks(), table.wavelengths
            write_folder(target, chunks, wavelengths, {**source, _PARSED: key})
            (target / _CHECKSUM).write_text(file_sha256(target / SPECTRA), "utf-8")
            try:
                dataset = read_folder(target)
            except SpectralInputError as error:
                # The parsed copy is sound; what disagrees with the metadata is the file.
                raise SpectralInputError(str(error).replace(f"{name}/{SPECTRA}", path.name)) from None
            if path.is_dir():
                dataset.baseline = whole.baseline
        elif path.is_file():
            warn_if_cut(path)
        dataset.metadata.source.pop(_PARSED, None)
        dataset.owner = self._temporary
        return dataset

    def _parsed(self, target: Path, key: str) -> SpectralDataset | None:
        try:
            if (target / _CHECKSUM).read_text("utf-8") != file_sha256(target / SPECTRA):
                return None
            dataset = read_folder(target)
        except (SpectralInputError, SpectralAxisError, OSError, UnicodeDecodeError):
            return None
        return dataset if dataset.metadata.source.get(_PARSED) == key else None

    @staticmethod
    def _key(path: Path, source: dict[str, Any]) -> str:
        digest = hashlib.sha256(json.dumps(source, sort_keys=True).encode())
        files = [path / SPECTRA, path / WAVELENGTHS] if path.is_dir() else [path]
        for file in files:
            digest.update(file_sha256(file).encode())
        return digest.hexdigest()


def _blocks(dataset: SpectralDataset) -> Iterator[NDArray[np.float32]]:
    step = max(1, 2_000_000 // dataset.wavelengths.size)
    for start in range(0, len(dataset), step):
        yield dataset.values[start : start + step]


def _sources(folder: Path) -> dict[str, list[Path]]:
    """Return the files and folders of a bank by dataset id."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}; pass the folder of the x-bank.")
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "_")):
            continue
        suffix = next((suffix for suffix in TABLE_SUFFIXES if path.name.lower().endswith(suffix)), None)
        if suffix:  # also a link to nowhere, or a folder of that name: reading it will say so
            found.setdefault(path.name[: -len(suffix)], []).append(path)
        elif path.is_dir() and _is_dataset(path):
            found.setdefault(path.name, []).append(path)
    if not found:
        raise FileNotFoundError(f"no <dataset_id>.csv, .csv.gz, .parquet or <dataset_id>/{SPECTRA} in {folder}.")
    return found


def _is_dataset(folder: Path) -> bool:
    try:
        return any((folder / file).exists() for file in (SPECTRA, WAVELENGTHS, METADATA))
    except OSError:  # a folder that may not be opened: reading it will say so
        return True
