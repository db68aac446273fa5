"""Instrument files (OPUS, SPC, JCAMP-DX, ASD, ...) as absorbance on axes in nm."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import SpectralAxisError, SpectralInputError
from .data import Spectra, to_nanometres
from .instrument_files import first_of, flat_metadata, instrument_folder_files, is_instrument_file, known_metadata
from .instrument_files import is_instrument_path as is_instrument_path
from .instrument_files import read_records as read_records
from .signal import check_values

#: Upper limit of the points of a spectrum.
_MOST_POINTS = 50_000
#: Axes are the same if their points differ by less than this share of a step: the axis of
#: an FT instrument depends on its laser.
_SAME = 1e-3
#: Reflectance with a 95th percentile above this is in percent; beyond it as a fraction, it is not
#: reflectance.
_PERCENT = 2.0
#: Largest share of non-positive points in reflectance or transmittance.
_MOST_NON_POSITIVE = 0.2
#: Spectra per chunk.
_CHUNK = 512
_CONVERTED = ("reflectance", "transmittance")
_ABSORBANCE_UNITS = ("a", "abs", "absorbance", "au", "log(1/r)", "log 1/r", "log(1/t)")
_GENERIC_NAME = re.compile(r"(?:subfile|record|row|spectrum|sample|signal)?[_ ]?\d*", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class InstrumentSpectra:
    """Spectra of one or several instrument files.

    Attributes
    ----------
    ids : list of str
        Unique ids: the stem of the file, or its name or path if stems repeat. In a file with
        several spectra, the name of the spectrum, or the id of the file with a number.
    wavelengths : list of ndarray, float64
        One axis per spectrum in nm, ascending. Axes that agree up to a thousandth of a step are the
        same object.
    values : list of ndarray, float64
        Absorbance; NaN marks a missing point.
    axis_unit : {"nm", "cm-1", "um"}
        Most frequent unit in the files.
    signal : str
        Most frequent signal in the files: ``"absorbance"``, ``"reflectance"`` or
        ``"transmittance"``.
    metadata : list of dict
        Per spectrum: ``mode`` (signal of `values`, ``"absorbance"``), ``measured_as`` (signal in
        the file) and ``format``; ``instrument``, ``serial``, ``date``, ``title`` and ``resolution``
        if available.
    notes : list of str
        Conversions, missing points and skipped files, one sentence each.
    sources : list of Path
        Files that were read.
    """

    ids: list[str]
    wavelengths: list[NDArray[np.float64]]
    values: list[NDArray[np.float64]]
    axis_unit: str
    signal: str
    metadata: list[dict[str, str]]
    notes: list[str]
    sources: list[Path]

    def __len__(self) -> int:
        return len(self.ids)

    def has_one_axis(self) -> bool:
        """Return whether all spectra are on the same axis."""
        return all(axis is self.wavelengths[0] for axis in self.wavelengths)

    def chunks(self) -> Iterator[list[Spectra]]:
        """Yield lists of blocks in order; consecutive spectra on one axis form a block."""
        for start in range(0, len(self), _CHUNK):
            blocks: list[tuple[NDArray[np.float64], list[NDArray[np.float64]]]] = []
            chunk = slice(start, start + _CHUNK)
            for axis, row in zip(self.wavelengths[chunk], self.values[chunk], strict=True):
                if not blocks or blocks[-1][0] is not axis:
                    blocks.append((axis, []))
                blocks[-1][1].append(row)
            yield [Spectra(np.stack(rows), axis) for axis, rows in blocks]

    def sha256(self) -> str:
        """Return the SHA-256 of ids, axes and values."""
        digest = hashlib.sha256("\n".join(self.ids).encode("utf-8", "surrogateescape"))
        for axis, row in zip(self.wavelengths, self.values, strict=True):
            digest.update(axis.tobytes())
            digest.update(row.tobytes())
        return digest.hexdigest()


def read_instruments(path: str | os.PathLike[str]) -> InstrumentSpectra:
    """Read an instrument file, or all in a folder and its subfolders.

    Reflectance and transmittance are converted to absorbance, log10(1/R) or log10(1/T). If a file
    has several signals, absorbance is read, or else reflectance or transmittance. Tables, documents
    and hidden files in a folder are skipped. The order of files is natural (2 before 10).

    Parameters
    ----------
    path : path
        File or folder.

    Returns
    -------
    InstrumentSpectra

    Raises
    ------
    FileNotFoundError
        No such file.
    SpectralInputError, SpectralAxisError
        A file cannot be read or holds no absorbance, reflectance or transmittance, or a folder has
        no instrument files. The message names the file and says what to do.
    """
    reading = _Reading(path := Path(path))
    if path.is_dir():
        listed = list(instrument_folder_files(path))
        files = [file for file in listed if is_instrument_file(file)]
        if not files:
            raise SpectralInputError(
                f"{path} holds no instrument files (OPUS, SPC, SPA, JCAMP-DX, ASD, SED, SIG, ...)."
            )
        read = {*files, path / "metadata.json"}
        others = [file.name for file in listed if file not in read]
        for file in files:
            reading.add(file, alone=False)
        if not reading.values:
            raise SpectralInputError(f"{path} holds white references and no sample.")
        reading.note("no instrument file, skipped", others)
    else:
        reading.add(path, alone=True)
    return reading.result()


class _Signal(NamedTuple):
    name: str
    kind: str
    array: Any
    record: Any


@dataclass
class _Reading:
    """Spectra read so far."""

    path: Path
    names: list[tuple[Path, str]] = field(default_factory=list)
    wavelengths: list[NDArray[np.float64]] = field(default_factory=list)
    values: list[NDArray[np.float64]] = field(default_factory=list)
    units: Counter[str] = field(default_factory=Counter)
    signals: Counter[str] = field(default_factory=Counter)
    metadata: list[dict[str, str]] = field(default_factory=list)
    sources: list[Path] = field(default_factory=list)
    remarks: dict[str, list[str]] = field(default_factory=dict)
    axes: dict[int, list[NDArray[np.float64]]] = field(default_factory=dict)

    def add(self, file: Path, *, alone: bool) -> None:
        """Read a file; skip a white reference, or refuse it if it is the only file (`alone`)."""
        records = read_records(file)
        if all("white_reference" in record.quality_flags for record in records):
            if alone:
                raise SpectralInputError(f"{file.name} is a white reference, not a sample; read the files of samples.")
            self.note("white reference, skipped", [file.name])
            return
        signals = [signal for record in records for signal in self._chosen(file, record)]
        percent = _in_percent(signals)
        for i, signal in enumerate(signals):
            for row in _rows(signal.array):
                axis, order = self._axis(file, signal)
                self.wavelengths.append(axis)
                self.values.append(self._absorbance(file, i, signal, row[order], percent))
                self.names.append((file, signal.name))
                constant = {"mode": "absorbance", "measured_as": signal.kind, "format": signal.record.provenance.format}
                self.metadata.append({**known_metadata(signal.record), **constant})
                self.units[signal.array.axis.unit] += 1
                self.signals[signal.kind] += 1
        self.sources.append(file)

    def note(self, sentence: str, names: list[str]) -> None:
        """Record a remark about files."""
        if names:
            self.remarks.setdefault(sentence, []).extend(names)

    def _chosen(self, file: Path, record: Any) -> list[_Signal]:
        """Return the signals of a record to read: one, or several numbered ones."""
        kinds = {name: _kind(name, array, record) for name, array in record.signals.items()}
        kind = next((kind for kind in ("absorbance", *_CONVERTED) if kind in kinds.values()), None)
        if kind is None:
            kinds_held = " and ".join(sorted({kind.replace("_", " ") for kind in kinds.values()}))
            what = f"holds {kinds_held}"
            if kinds_held == "unknown":
                _check_axis(file, next(iter(record.signals.values())).axis)
                what = "does not name the kind of its values"
            raise SpectralInputError(
                f"{file.name} {what}; absorbance, reflectance or transmittance is needed: take the ratio to the "
                "reference in the instrument software, and export that."
            )
        names = [name for name in record.signals if kinds[name] == kind]
        if not all(re.fullmatch(r"signal_\d+", name) for name in names) and len(names) > 1:
            taken = kind if kind in names else min(names, key=lambda name: (len(name), name))
            self.note(f"{taken!r} was read, one of several signals", [file.name])
            names = [taken]
        if record.signals[names[0]].signal_type == "unknown" and kind in _CONVERTED:
            self.note("the file does not name the kind of its values; they are read as reflectance", [file.name])
        title = first_of(dict(flat_metadata(record)), "sample_id sample_name title")
        return [
            _Signal(name if len(names) > 1 else title, kind, array, record)
            for name, array in record.signals.items()
            if name in names
        ]

    def _axis(self, file: Path, signal: _Signal) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Return the axis in nm, ascending, and the order of its points.

        An axis equal to an earlier one is the same object.
        """
        axis = signal.array.axis
        about = dict(flat_metadata(signal.record))
        _check_axis(file, axis)
        if any("raman" in str(about.get(key, "")).lower() for key in ("x_label", "data_type", "xunits")):
            raise SpectralAxisError(f"{file.name} is a Raman spectrum; the axis must be wavelengths or wavenumbers.")
        try:
            nm = to_nanometres(axis.values, axis.unit)
        except SpectralAxisError as error:
            raise SpectralAxisError(f"{file.name}: {error}") from error
        order = np.argsort(nm)
        nm = nm[order]
        same_size = self.axes.setdefault(nm.size, [])
        step = np.gradient(nm) if nm.size > 1 else nm
        for earlier in same_size:
            if (np.abs(earlier - nm) <= _SAME * step).all():
                return earlier, order
        same_size.append(nm)
        return nm, order

    def _absorbance(
        self, file: Path, i: int, signal: _Signal, values: NDArray[np.float64], percent: bool
    ) -> NDArray[np.float64]:
        try:
            check_values(values[np.newaxis], self.wavelengths[-1], i)
        except SpectralInputError as error:
            raise SpectralInputError(f"{file.name}: {error}") from error
        if signal.kind == "absorbance":
            return values
        level = values / 100.0 if percent else values
        if _upper(level) > _PERCENT:
            raise SpectralInputError(
                f"{file.name}: values of {_upper(values):.4g} are not {signal.kind} (counts, or a scale factor?); "
                f"export {signal.kind} in percent or as a fraction, or absorbance."
            )
        positive = level > 0
        n_lost = int(np.count_nonzero(~positive & ~np.isnan(level)))
        if n_lost > _MOST_NON_POSITIVE * level.size:
            raise SpectralInputError(
                f"{file.name}: {n_lost} of {level.size} points of the {signal.kind} are not positive and have no "
                "logarithm; check the dark and the white reference, and measure again."
            )
        if n_lost:
            self.note(f"non-positive points of the {signal.kind} are missing points", [file.name])
        scale = "percent" if percent else "fractions"
        letter = signal.kind[0].upper()
        self.note(f"{signal.kind} ({scale}) was converted to absorbance, log10(1/{letter})", [file.name])
        return np.where(positive, -np.log10(np.where(positive, level, 1.0)), np.nan)

    def result(self) -> InstrumentSpectra:
        """Return all spectra with unique ids."""
        notes = []
        for sentence, names in self.remarks.items():
            files = list(dict.fromkeys(names))
            shown = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
            notes.append(f"{shown}: {sentence}.")
        unit, signal = (counter.most_common(1)[0][0] for counter in (self.units, self.signals))
        return InstrumentSpectra(
            self._ids(), self.wavelengths, self.values, unit, signal, self.metadata, notes, self.sources
        )

    def _ids(self) -> list[str]:
        files = list(dict.fromkeys(file for file, _ in self.names))
        # The shortest unique one of stem, name and path in the folder.
        stems, full = Counter(file.stem for file in files), Counter(file.name for file in files)
        of_file = {
            file: file.stem
            if stems[file.stem] == 1
            else file.name
            if full[file.name] == 1
            else file.relative_to(self.path).as_posix()
            for file in files
        }
        counts, shared = Counter(file for file, _ in self.names), Counter(name for _, name in self.names)
        numbers, used, ids = Counter[Path](), set[str](), list[str]()
        for file, name in self.names:
            numbers[file] += 1
            candidate = of_file[file]
            if counts[file] > 1 and _GENERIC_NAME.fullmatch(name):
                candidate = f"{candidate}_{numbers[file]}"
            elif counts[file] > 1:
                candidate = name if shared[name] == 1 else f"{candidate}_{name}"
            again = (f"{candidate}_{k}" for k in itertools.count(2))
            unique = candidate if candidate not in used else next(name for name in again if name not in used)
            used.add(unique)
            ids.append(unique)
        return ids


def _check_axis(file: Path, axis: Any) -> None:
    if axis.unit not in ("nm", "cm-1", "um"):
        raise SpectralAxisError(
            f"{file.name}: the axis is {axis.kind} ({axis.unit}), not wavelength or wavenumber; export a spectrum."
        )
    if axis.values.size > _MOST_POINTS:
        raise SpectralAxisError(f"{file.name}: {axis.values.size:,} points; a spectrum has {_MOST_POINTS:,} at most.")


def _rows(array: Any) -> NDArray[np.float64]:
    """Return the spectra of a signal (n, n_wavelengths)."""
    values = np.moveaxis(array.values, array.dims.index("x"), -1)
    return np.asarray(values.reshape(-1, array.axis.values.size), dtype=np.float64)


def _kind(name: str, array: Any, record: Any) -> str:
    """Return the kind of a signal by its type, or else by its name and unit."""
    words = f"{name} {array.role} {array.unit}".lower()
    if "derivative" in words:
        return "derivative"
    if array.signal_type != "unknown":
        return str(array.signal_type)
    if str(array.unit or "").strip().lower() in _ABSORBANCE_UNITS or "log_reflectance" in words or "log(1/" in words:
        return "absorbance"
    # ENVI libraries and images usually hold reflectance.
    return "reflectance" if array.unit == "%" or record.provenance.format.startswith("envi-") else "unknown"


def _in_percent(signals: list[_Signal]) -> bool:
    """Return whether the spectra of a file are in percent, not fractions."""
    arrays = [signal.array for signal in signals if signal.kind in _CONVERTED]
    if any(array.unit == "%" for array in arrays):
        return True
    return bool(arrays) and float(np.median([_upper(array.values) for array in arrays])) > _PERCENT


def _upper(values: NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(np.quantile(finite, 0.95)) if finite.size else 0.0
