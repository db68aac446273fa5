"""Detection and reading of instrument files with ``nirs4all-formats``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import SpectralInputError

_INSTRUMENTS = (
    ".spa .spg .srs .spc .jdx .dx .jcm .jcamp .sp .nir .cal .da .eqa .asd .sed .sig .sli .jws .sam .dpt "
    ".ttt .trt .tat .tit .raw8 .irr8 .abs8 .rfl8 .trm .roh .procspec .jaz"
)
_OTHERS = (
    ".csv .gz .parquet .tsv .npy .npz .xlsx .xlsm .xls .ods .h5 .hdf5 .mat .nc .cdf .rdata .rds .pkl .json .yaml "
    ".yml .toml .md .rst .py .ipynb .r .m .html .pdf .doc .docx .png .jpg .jpeg .svg .tif .tiff .zip .7z .tar "
    ".safetensors .log .db .ini"
)
#: Suffixes of instrument files; suffixes of tables, documents, images and archives. The content of
#: any other file is probed.
INSTRUMENT_SUFFIXES, _OTHER_SUFFIXES = frozenset(_INSTRUMENTS.split()), frozenset(_OTHERS.split())
#: Suffixes of ENVI data files, which have the stem of their header.
_ENVI_DATA = (".sli", ".img", ".dat", ".bil", ".bip", ".bsq", "")
_NUMBERED = re.compile(r"\.\d{1,4}")
#: Formats of tables and of arbitrary content.
_GENERIC = ("candidate", "delimited", "matrix", "numpy", "parquet", "excel", "hdf5", "netcdf", "matlab", "mzml")
#: Size limit of a file, in bytes; the reader needs ten times as much memory.
_LARGEST_FILE = 1 << 27
_EXPORT = "export it as JCAMP-DX, SPC or CSV from the instrument software"
_REMEDIES = {
    **dict.fromkeys(
        (".nir", ".cal", ".da", ".eqa"),
        "only some native Foss and BUCHI files are supported; export text, CSV or JCAMP-DX from WinISI, ISIscan, "
        "Mosaic or NIRCal",
    ),
    **dict.fromkeys((".spa", ".spg", ".srs"), "save it as SPC, CSV or JCAMP-DX from OMNIC or RESULT"),
    ".spc": (
        "save it as SPC of GRAMS (new format), CSV or JCAMP-DX; a .spc of Shimadzu UVProbe is another format: "
        "export text"
    ),
    ".sp": "save it as JCAMP-DX or ASCII from Spectrum",
    ".asd": "export it as text or JCAMP-DX from RS3 or ViewSpec Pro",
    ".jws": "export it as JCAMP-DX or text from Spectra Manager",
}
#: Metadata fields, each with its names in formats, the most reliable first.
_FIELDS = {
    "instrument": "instrument_model instrument_type instrument_name instrument ins spectrometer_data_system",
    "serial": "instrument_serial serial_number serial srn",
    "date": "acquisition_start_date acquired_utc longdate date dat local",
    "title": "title sample_name snm comment",
    "resolution": "resolution res",
}


def is_instrument_path(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is an instrument file, or a folder that contains one.

    The suffix decides if it is one of instruments, tables or documents. Otherwise the content
    decides, as for OPUS files (``.0``, ``.1``).
    """
    path = Path(path)
    if path.is_dir():
        try:
            return any(map(is_instrument_file, instrument_folder_files(path)))
        except PermissionError:  # reading the folder raises it again
            return True
    return is_instrument_file(path)


def has_instrument_suffix(path: str | os.PathLike[str]) -> bool:
    """Return whether the suffix is one of instrument files."""
    return Path(path).suffix.lower() in INSTRUMENT_SUFFIXES


def instrument_folder_files(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and its subfolders in natural order.

    Hidden files are skipped, and so are ENVI data files that have a header.
    """
    for path in sorted(folder.iterdir(), key=_natural):
        if path.name.startswith((".", "__MACOSX")) or path.name.lower() in ("thumbs.db", "desktop.ini"):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from instrument_folder_files(path)
        elif path.is_file() and not (path.suffix.lower() in _ENVI_DATA and path.with_suffix(".hdr").is_file()):
            yield path


def _natural(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def is_instrument_file(path: Path) -> bool:
    """Return whether a file is an instrument file, by its suffix or else by its content."""
    suffix = path.suffix.lower()
    if suffix in _OTHER_SUFFIXES:
        return False
    if suffix in INSTRUMENT_SUFFIXES or _envi_data(path) or _probed(path):
        return True
    if not _NUMBERED.fullmatch(suffix) or not path.is_file():
        return False
    # A damaged OPUS file must not be ignored silently; text files may have numeric suffixes too.
    with open(path, "rb") as file:
        head = file.read(4096)
    return not head or b"\0" in head


def _envi_data(header: Path) -> list[Path]:
    """Return the data files of an ENVI header, which have the same stem."""
    if header.suffix.lower() != ".hdr":
        return []
    return [path for path in map(header.with_suffix, _ENVI_DATA) if path.is_file()]


def _probed(path: Path) -> str:
    """Return the format of a file's content, or an empty string."""
    import nirs4all_formats

    if not path.is_file() or not 0 < path.stat().st_size <= _LARGEST_FILE:
        return ""
    probes, _ = _guarded(nirs4all_formats.probe_path, path)
    formats = [str(probe["format"]) for probe in probes or () if probe["confidence"] in ("definite", "likely")]
    return next((name for name in formats if not any(word in name for word in _GENERIC)), "")


def _guarded(function: Callable[[Path], Any], path: Path) -> tuple[Any, str]:
    """Return the result of a reader's function, or the reason why it failed.

    Panics of the reader, written in Rust, are BaseExceptions.
    """
    try:
        return function(path), ""
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except Exception as error:
        text = " ".join(str(error).replace(f"{path}: ", "").replace(str(path), "").split())
        return None, text.removeprefix("invalid spectral record: ").removesuffix(".").strip()
    except BaseException:
        return None, "the reader failed"


def read_records(path: Path) -> list[Any]:
    """Read the records of an instrument file.

    A `SpectralInputError` says in one sentence why a file cannot be read and what to do.
    """
    import nirs4all_formats

    with open(path, "rb"):  # raise OSError if the file is missing or locked
        size = sum(part.stat().st_size for part in (path, *_envi_data(path)))
    if not size:
        raise SpectralInputError(f"{path.name} is empty; copy or export it again.")
    if size > _LARGEST_FILE:
        raise SpectralInputError(
            f"{path.name}: {size:,} bytes, and {_LARGEST_FILE:,} are read at most; export its spectra as CSV."
        )
    records, reason = _guarded(nirs4all_formats.open_recordset, path)
    if records is not None and not len(records):
        reason = "there is no spectrum in it"
    for record in records or ():
        for warning in record.provenance.warnings:
            counts = re.search(r"point_count_mismatch:declared=(\d+):parsed=(\d+)", warning)
            if "shorter_than_declared" in warning or (counts and int(counts[2]) < int(counts[1])):
                reason = "it has fewer points than its header says"
            drift = re.search(r"x_checkpoint_drift.* abs=([\d.eE+-]+)", warning)
            axis = next(iter(record.signals.values())).axis.values
            # The form (X++(Y..Y)) of JCAMP-DX implies even steps; some software writes uneven ones
            # with it, which the reader turns into a wrong axis.
            if drift and axis.size > 1 and float(drift[1]) > 1.5 * abs(axis[-1] - axis[0]) / (axis.size - 1):
                reason = "the x of its lines are not the even steps that its header states, which is not supported"
    if not reason:
        return list(records)
    remedy = _REMEDIES.get(path.suffix.lower(), _EXPORT)
    format_name = _probed(path)
    if not format_name and reason.startswith("unsupported format"):
        raise SpectralInputError(f"{path.name} cannot be read: its content is of no known format; {remedy}.")
    # A fresh copy does not help if the format or variant is not supported.
    doubt = "" if "support" in reason or "implemented" in reason else " (damaged or cut?); copy it again, or"
    raise SpectralInputError(
        f"{path.name} cannot be read{f' ({format_name})' if format_name else ''}: "
        f"{reason[:200]}{doubt or ';'} {remedy}."
    )


def known_metadata(record: Any) -> dict[str, str]:
    """Return the available instrument, serial number, date, title and resolution of a record."""
    flat = dict(flat_metadata(record))
    fields = {name: first_of(flat, names) for name, names in _FIELDS.items()}
    return {name: value[:200] for name, value in fields.items() if value}


def flat_metadata(record: Any) -> Iterator[tuple[str, Any]]:
    """Yield names and values of nested metadata; the outermost come last and take precedence."""
    yield from _flat(record.metadata)


def first_of(flat: Mapping[str, Any], names: str) -> str:
    """Return the first non-empty entry of several names, as one line of text."""
    for name in names.split():
        text = " ".join(str(flat.get(name, "")).split())
        # A number instead of the instrument's name is of no use.
        if text and not (name == "instrument" and text.isdigit()):
            return text
    return ""


def _flat(metadata: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[str, Any]]:
    for value in metadata.values():
        if isinstance(value, Mapping) and depth < 5:
            yield from _flat(value, depth + 1)
    for key, value in metadata.items():
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            yield str(key).lower(), value
