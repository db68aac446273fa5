"""A bank of unlabelled spectra: a file or a folder per dataset."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
import warnings
import weakref
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from ...errors import SpectralAxisError, SpectralInputError
from ...files import file_sha256, lock_folder, read_checked, write_checksum
from ...progress import tracked
from ...spectra.instruments import is_instrument_path, read_instruments
from ...spectra.lines import warn_if_cut
from ...spectra.tables import TABLE_SUFFIXES, open_table
from .dataset import SpectralDataset, row_blocks
from .folders import METADATA, SPECTRA, WAVELENGTHS, check_counts, read_folder, read_json, write_folder

#: Prefix of temporary folders; key by which a parsed copy knows its table.
_SPOOL, _PARSED = "nirs4all_vit-x_bank-", "parsed_from"
#: Seconds without a lock after which a temporary folder is what a killed process left.
_ABANDONED = 60.0


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
    cm-1, in any order; delimiter ``,``, ``;`` or a tab; a row per spectrum) with, optionally,
    ``<dataset_id>.json`` beside it, a folder ``<dataset_id>/`` of arrays (`read_folder`), or one of instrument files
    (`read_instruments`) with, optionally, ``metadata.json``; their instrument comes along, and their mode is absorbance. What is not
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
        Show a progress bar, where the standard error is a terminal.

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
    for name in tracked(sorted(sources) if names is None else names, "loading spectra", "set", show=progress):
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
    """A folder that goes with the last object that refers to it, in the process that made it."""

    def __init__(self) -> None:
        _sweep()
        self.name = tempfile.mkdtemp(prefix=_SPOOL)
        weakref.finalize(self, _remove, self.name, os.getpid(), lock_folder(Path(self.name)))


def _remove(name: str, owner: int, held: IO[bytes]) -> None:
    # A forked child that ends must leave its parent the folder.
    if os.getpid() == owner:
        shutil.rmtree(name, ignore_errors=True)
        held.close()


def _sweep() -> None:
    """Remove what killed processes left: folders whose lock nobody holds, in whatever container."""
    for path in Path(tempfile.gettempdir()).glob(f"{_SPOOL}*"):
        with suppress(OSError):
            # One that was made this moment has no lock yet.
            if time.time() - path.stat().st_mtime > _ABANDONED:
                with lock_folder(path):
                    shutil.rmtree(path, ignore_errors=True)


class _Spool:
    """Parsed datasets as memory maps, in a folder that lasts or in one that goes with them."""

    def __init__(self, cache: str | Path | None) -> None:
        self._temporary = _TemporaryFolder() if cache is None else None
        self._folder = Path(self._temporary.name if self._temporary else str(cache))

    def load(self, path: Path, name: str) -> SpectralDataset:
        """Read a dataset; whatever is wrong with it is a typed error that names its file."""
        try:
            if path.is_dir() and not (path / SPECTRA).exists() and is_instrument_path(path):
                return self._instruments(path)
            return self._folder_of_arrays(path) if path.is_dir() else self._table(path, name)
        except SpectralInputError:
            raise
        except SpectralAxisError as error:
            if "axis_unit" not in str(error):
                raise
            beside = f"{name}/{METADATA}" if path.is_dir() else f"{name}.json"
            raise SpectralAxisError(f"{error} (The axis_unit of a dataset stands in {beside}.)") from error
        except Exception as error:  # a damaged file fails in as many ways as there are libraries below
            reason = " ".join(str(error).split())[:300]
            raise SpectralInputError(f"{path.name} cannot be read: {type(error).__name__}: {reason}") from error

    def _folder_of_arrays(self, path: Path) -> SpectralDataset:
        """Map the arrays of a folder; those that had to be converted are written out and mapped, too."""
        dataset = read_folder(path)
        if isinstance(dataset.values, np.memmap):
            return dataset
        target, blocks = self._folder / path.name, row_blocks(*dataset.values.shape)
        write_folder(
            target, (dataset.values[rows] for rows in blocks), dataset.wavelengths, dict(dataset.metadata.source)
        )
        mapped = read_folder(target)
        mapped.baseline, mapped.owner = dataset.baseline, self._temporary
        return mapped

    def _instruments(self, path: Path) -> SpectralDataset:
        """Read the instrument files of a folder, write out what they hold as arrays, and map them."""
        spectra = read_instruments(path)
        if not spectra.has_one_axis():
            raise SpectralAxisError(
                f"{path.name}: the files are on {len({id(axis) for axis in spectra.wavelengths})} different axes, and a dataset has "
                "one; make a folder for each."
            )
        for note in spectra.notes:
            warnings.warn(f"{path.name}: {note}", stacklevel=4)
        instruments = {fields.get("instrument", "") for fields in spectra.metadata}
        about = {"instrument": instruments.pop() if len(instruments) == 1 else "", "measured_as": spectra.signal}
        beside = read_json(path / METADATA) if (path / METADATA).exists() else {}
        # What metadata say of the files no longer holds of their values.
        source = {**about, **beside, "mode": "absorbance"}
        axis, target = spectra.wavelengths[0], self._folder / path.name
        check_counts(path.name, (len(spectra), axis.size), axis, source)
        blocks = (block.values for blocks in spectra.chunks() for block in blocks)
        write_folder(target, blocks, axis, source)
        dataset = read_folder(target)
        dataset.owner = self._temporary
        return dataset

    def _table(self, path: Path, name: str) -> SpectralDataset:
        """Parse a table, or map what an earlier run parsed."""
        beside = path.parent / f"{name}.json"
        source = read_json(beside) if beside.exists() or beside.is_symlink() else {}
        key = hashlib.sha256(f"{json.dumps(source, sort_keys=True)}{file_sha256(path)}".encode()).hexdigest()
        target = self._folder / name
        dataset = self._parsed(target, key)
        if dataset is not None:
            warn_if_cut(path)
        else:
            table = open_table(path, source.get("axis_unit") or "auto", drop=None)
            check_counts(path.name, (None, table.wavelengths.size), table.wavelengths, source)
            write_folder(target, table.chunks(), table.wavelengths, {**source, _PARSED: key})
            write_checksum(target / SPECTRA)
            try:
                dataset = read_folder(target)
            except SpectralInputError as error:
                # The parsed copy is sound; what disagrees with the metadata is the file.
                raise SpectralInputError(str(error).replace(f"{name}/{SPECTRA}", path.name)) from None
        dataset.metadata.source.pop(_PARSED, None)
        dataset.owner = self._temporary
        return dataset

    @staticmethod
    def _parsed(target: Path, key: str) -> SpectralDataset | None:
        if read_checked(target / SPECTRA) is None:
            return None
        try:
            dataset = read_folder(target)
        except (SpectralInputError, SpectralAxisError):
            return None
        return dataset if dataset.metadata.source.get(_PARSED) == key else None


def _sources(folder: Path) -> dict[str, list[Path]]:
    """Return the files and folders of a bank by dataset id."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}; pass the folder of the x-bank.")
    paths: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "_")):
            continue
        suffix = next((suffix for suffix in TABLE_SUFFIXES if path.name.lower().endswith(suffix)), None)
        if suffix:  # also a link to nowhere, or a folder of that name: reading it will say so
            paths.setdefault(path.name[: -len(suffix)], []).append(path)
        elif path.is_dir() and (_is_dataset(path) or is_instrument_path(path)):
            paths.setdefault(path.name, []).append(path)
    if not paths:
        raise FileNotFoundError(
            f"no <dataset_id>.csv, .csv.gz, .parquet, <dataset_id>/{SPECTRA} or folder of instrument files in {folder}."
        )
    return paths


def _is_dataset(folder: Path) -> bool:
    try:
        return any((folder / file).exists() for file in (SPECTRA, WAVELENGTHS, METADATA))
    except OSError:  # a folder that may not be opened: reading it will say so
        return True
