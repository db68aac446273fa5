"""A bank of unlabelled spectra: a file or a folder per dataset."""

from __future__ import annotations

import hashlib
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from ...errors import SpectralAxisError, SpectralInputError
from ...tables import TABLE_SUFFIXES, open_table
from .dataset import SpectralDataset
from .folders import METADATA, SPECTRA, WAVELENGTHS, check_counts, read_folder, read_json, write_folder


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
    ``<dataset_id>.json`` beside it, or a folder ``<dataset_id>/`` of arrays (`read_folder`). Tables are
    parsed once, in bounded memory, into memory-mapped float32.

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
    for name in tqdm(names or sorted(sources), desc="loading spectra", unit="set", disable=not progress):
        try:
            if len(sources[name]) > 1:
                files = ", ".join(path.name for path in sources[name])
                raise SpectralInputError(f"{name} occurs more than once: {files}; keep one.")
            path = sources[name][0]
            bank.append(read_folder(path) if path.is_dir() else spool.table(path, name))
        except (SpectralInputError, SpectralAxisError, OSError) as error:
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


class _Spool:
    """Parsed tables as memory maps, in a folder that lasts or in one that goes with its datasets."""

    def __init__(self, cache: str | Path | None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="x_bank-") if cache is None else None
        self._folder = Path(self._temporary.name if self._temporary else str(cache))

    def table(self, path: Path, name: str) -> SpectralDataset:
        """Parse a table, or map what an earlier run parsed."""
        beside = path.parent / f"{name}.json"
        source = read_json(beside) if beside.exists() else {}
        digest = hashlib.sha256(str(sorted(source.items())).encode())
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
        key = {"parsed_from": digest.hexdigest()}
        target = self._folder / name
        try:
            dataset = read_folder(target)
        except (SpectralInputError, SpectralAxisError):
            dataset = None
        if dataset is None or dataset.metadata.source.get("parsed_from") != key["parsed_from"]:
            table = open_table(path, source.get("axis_unit") or "auto")
            check_counts(path.name, (None, table.wavelengths.size), table.wavelengths, source)
            write_folder(target, table.chunks(), table.wavelengths, {**source, **key})
            try:
                dataset = read_folder(target)
            except SpectralInputError as error:
                # The parsed copy is sound; what disagrees with the metadata is the table.
                raise SpectralInputError(str(error).replace(f"{name}/{SPECTRA}", path.name)) from None
        dataset.owner = self._temporary
        return dataset


def _sources(folder: Path) -> dict[str, list[Path]]:
    """Return the files and folders of a bank by dataset id."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}; pass the folder of the x-bank.")
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "_")):
            continue
        suffix = next((suffix for suffix in TABLE_SUFFIXES if path.name.endswith(suffix)), None)
        if path.is_dir() and any((path / file).exists() for file in (SPECTRA, WAVELENGTHS, METADATA)):
            found.setdefault(path.name, []).append(path)
        elif path.is_file() and suffix:
            found.setdefault(path.name.removesuffix(suffix), []).append(path)
    if not found:
        raise FileNotFoundError(f"no <dataset_id>.csv, .csv.gz, .parquet or <dataset_id>/{SPECTRA} in {folder}.")
    return found
