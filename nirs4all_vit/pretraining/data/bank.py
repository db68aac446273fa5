"""Bank of unlabelled spectra, with one file or folder per dataset."""

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

#: Prefix of temporary folders; metadata key with the hash of the table of a parsed copy.
_SPOOL, _PARSED = "nirs4all_vit-x_bank-", "parsed_from"
#: Age in seconds after which an unlocked temporary folder is considered abandoned.
_ABANDONED_AFTER = 60.0


class LeftOut(NamedTuple):
    """A dataset that could not be read."""

    name: str
    reason: str


class XBank(list[SpectralDataset]):
    """Datasets of a bank, with a report of the datasets that could not be read.

    Attributes
    ----------
    left_out : list of LeftOut
        Datasets skipped because of ``on_error="skip"``, with the reason.
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

    A dataset is one of:

    - a table, ``<dataset_id>.csv``, ``.csv.gz`` or ``.parquet``, with one row per spectrum. The
      header is the axis in nm or cm-1, in any order; the delimiter is ``,``, ``;`` or a tab.
      Metadata in ``<dataset_id>.json`` beside it are optional.
    - a folder ``<dataset_id>/`` of arrays (`read_folder`).
    - a folder of instrument files (`read_instruments`), with optional ``metadata.json``. The
      instrument is read from the files; the mode is absorbance.

    Spectra are memory-mapped. Anything other than a float32 array on an ascending axis is first
    converted to one, block by block.

    Parameters
    ----------
    folder : path
        Folder of the bank.
    names : sequence of str, optional
        Dataset ids to load, in this order; by default all, sorted.
    on_error : {"raise", "skip"}, default="raise"
        ``raise`` stops at the first dataset that cannot be read. ``skip`` continues without it; a
        warning and `XBank.left_out` list the skipped datasets.
    cache : path, optional
        Folder in which converted datasets are cached, one subfolder per dataset; a table is
        converted again when its file changes. By default a temporary folder that is removed with
        the last dataset.
    progress : bool, default=True
        Show a progress bar if standard error is a terminal.

    Returns
    -------
    XBank
        A list of SpectralDataset.

    Raises
    ------
    FileNotFoundError
        The folder does not exist, contains no dataset, or lacks one of `names`.
    SpectralInputError, SpectralAxisError
        A dataset cannot be read; the message names its file and line.
    ValueError
        Unknown `on_error`.
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
    """Return a hash of the names and contents of a bank, in order."""
    digest = hashlib.sha256()
    for dataset in datasets:
        digest.update(f"{dataset.name}:{dataset.content_hash}\n".encode())
    return digest.hexdigest()


class _TemporaryFolder:
    """Temporary folder, removed with the last reference in the process that created it."""

    def __init__(self) -> None:
        _sweep()
        self.name = tempfile.mkdtemp(prefix=_SPOOL)
        weakref.finalize(self, _remove, self.name, os.getpid(), lock_folder(Path(self.name)))


def _remove(name: str, owner: int, held: IO[bytes]) -> None:
    # A forked child must not remove the folder of its parent.
    if os.getpid() == owner:
        shutil.rmtree(name, ignore_errors=True)
        held.close()


def _sweep() -> None:
    """Remove temporary folders of killed processes: those without a lock, from any container."""
    for path in Path(tempfile.gettempdir()).glob(f"{_SPOOL}*"):
        with suppress(OSError):
            # A new folder may not be locked yet.
            if time.time() - path.stat().st_mtime > _ABANDONED_AFTER:
                with lock_folder(path):
                    shutil.rmtree(path, ignore_errors=True)


class _Spool:
    """Converted datasets as memory maps, in a cache or in a temporary folder."""

    def __init__(self, cache: str | Path | None) -> None:
        self._temporary = _TemporaryFolder() if cache is None else None
        self._folder = Path(self._temporary.name if self._temporary else str(cache))

    def load(self, path: Path, name: str) -> SpectralDataset:
        """Read a dataset; any failure becomes a typed error that names the file."""
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
            raise SpectralAxisError(f"{error} (Set axis_unit in {beside}.)") from error
        except Exception as error:  # damaged files raise arbitrary errors in libraries
            reason = " ".join(str(error).split())[:300]
            raise SpectralInputError(f"{path.name} cannot be read: {type(error).__name__}: {reason}") from error

    def _folder_of_arrays(self, path: Path) -> SpectralDataset:
        """Map the arrays of a folder; converted arrays are written to the spool first."""
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
        """Read the instrument files of a folder, write their spectra as arrays and map them."""
        spectra = read_instruments(path)
        if not spectra.has_one_axis():
            raise SpectralAxisError(
                f"{path.name}: the files are on {len({id(axis) for axis in spectra.wavelengths})} different "
                "axes; make one folder per axis."
            )
        for note in spectra.notes:
            warnings.warn(f"{path.name}: {note}", stacklevel=4)
        instruments = {fields.get("instrument", "") for fields in spectra.metadata}
        about = {"instrument": instruments.pop() if len(instruments) == 1 else "", "measured_as": spectra.signal}
        beside = read_json(path / METADATA) if (path / METADATA).exists() else {}
        # The values were converted: the mode in metadata.json no longer applies.
        source = {**about, **beside, "mode": "absorbance"}
        axis, target = spectra.wavelengths[0], self._folder / path.name
        check_counts(path.name, (len(spectra), axis.size), axis, source)
        blocks = (block.values for blocks in spectra.chunks() for block in blocks)
        write_folder(target, blocks, axis, source)
        dataset = read_folder(target)
        dataset.owner = self._temporary
        return dataset

    def _table(self, path: Path, name: str) -> SpectralDataset:
        """Parse a table, or map its copy from an earlier run."""
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
                # Name the table, not its parsed copy, which has the same contents.
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
    """Return the files and folders of a bank, by dataset id."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}; give the folder of the x-bank.")
    paths: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "_")):
            continue
        suffix = next((suffix for suffix in TABLE_SUFFIXES if path.name.lower().endswith(suffix)), None)
        if suffix:  # reading reports broken links and folders of that name
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
    except OSError:  # no permission: reading reports it
        return True
